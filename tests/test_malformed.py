"""Some hundred damaged sound files and model folders, drawn by seed: one line of error or an answer, never more.

Each may take seconds and a gigabyte at most. What is damaged: bytes are turned, cut out, doubled or cut off, values of
a JSON file are replaced by others of any type and size, keys are lost, added or renamed.
"""

import contextlib
import io
import json
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from asr.audio import load_audio
from asr.model import ModelConfig, SpeechModel
from asr.recognizer import Recognizer
from asr.tokenizer import Tokenizer
from core.errors import UserError
from evaluation.part_classifier import PartClassifier, PartClassifierConfig
from t2i.encoders.char_cnn_rnn import CharEncoder, CharEncoderConfig
from t2i.encoders.damsm import Damsm, DamsmConfig
from t2i.families.attngan import AttnGanConfig, Generator
from t2i.painter import Painter, painter_of
from t2i.vocabulary import Vocabulary

SECONDS, BYTES = 10, 2**30  # that one damaged file may take


@contextlib.contextmanager
def within_bounds() -> Iterator[None]:
    """An error where more time or memory is taken."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    old = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def survives(action: Callable[[], object], what: str) -> bool:
    """Whether there was an answer; fails where there was neither answer nor one line of error."""
    try:
        with within_bounds():
            action()
    except UserError as error:
        assert "\n" not in str(error), what
        assert str(error).isprintable(), what
        return False
    except Exception as error:
        pytest.fail(f"{type(error).__name__}: {str(error)[:200]} of {what}")
    return True


# ---- damage ----


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes turned, a piece cut out, doubled or zeroed, or the end cut off; half of it near the beginning."""
    data = bytearray(content)
    most = len(data) if rng.random() < 0.5 else min(64, len(data))
    at = int(rng.integers(most))
    length = int(rng.integers(1, 1 + min(200, len(data) - at)))
    match int(rng.integers(5)):
        case 0:
            for place in rng.integers(most, size=rng.integers(1, 9)):
                data[place] ^= 1 << int(rng.integers(8))
        case 1:
            del data[at : at + length]
        case 2:
            data[at:at] = data[at : at + length]
        case 3:
            data[at : at + length] = bytes(length)
        case _:
            del data[at:]
    return bytes(data)


STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 1.5, -0.5, 10**6, 10**9, 2**63, 2**70, 1e300, float("inf"), float("nan"), "",
    "x", "a\nb\x1b[31m", "ß" * 300, "lstm", "7", [], {}, [1], ["a", "a"], [[[[]]]], {"a": {"b": None}}, [0.5] * 1000,
)  # fmt: skip


def altered(value: Any, rng: np.random.Generator) -> Any:
    """A copy of what JSON holds with one thing wrong somewhere inside."""
    inside = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    if not inside or rng.random() < 0.1:
        return STRANGE[rng.integers(len(STRANGE))]
    key = inside[rng.integers(len(inside))]
    changed = value.copy()
    if isinstance(value, dict):
        match int(rng.integers(8)):
            case 0:
                del changed[key]
                return changed
            case 1:
                changed[f"{key}_"] = changed.pop(key)
                return changed
            case 2:
                changed[f"{key}_"] = STRANGE[rng.integers(len(STRANGE))]
                return changed
    elif rng.random() < 0.3:
        del changed[key]
        return changed
    changed[key] = altered(value[key], rng)
    return changed


# ---- sound ----


def in_format(kind: str, subtype: str) -> bytes:
    """A quarter of a second, stereo, at 22,050 Hz."""
    t = np.arange(5512)[:, None] / 22_050
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * t * [440, 660]), 22_050, subtype, format=kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["ogg", "wav", "float", "flac", "aiff"])
def test_damaged_sound_is_refused_in_one_line_or_read(kind: str, root: Path, tmp_path: Path):
    whole = {
        "ogg": lambda: (root / "samples" / "blue_bird.ogg").read_bytes(),
        "wav": lambda: in_format("WAV", "PCM_16"),
        "float": lambda: in_format("WAV", "FLOAT"),
        "flac": lambda: in_format("FLAC", "PCM_16"),
        "aiff": lambda: in_format("AIFF", "PCM_24"),
    }[kind]()
    path = tmp_path / f"sound.{kind}"

    def read() -> None:
        samples = load_audio(path)
        assert samples.ndim == 1 and np.isfinite(samples).all() and np.abs(samples).max(initial=0) <= 1.5

    path.write_bytes(whole)
    read()  # which also loads what is loaded once
    count, answers = 50, 0
    for case in range(count):
        rng = np.random.default_rng([1, case])
        path.write_bytes(damaged(whole, rng))
        answers += survives(read, f"{kind}, case {case}")
    assert answers < count  # most of it is noticed


# ---- model folders ----


def damsm(folder: Path) -> None:
    config = DamsmConfig(embedding=8, word_width=4, image_width=2, image_size=32)
    Damsm(config, Vocabulary.build(["a red bird with black wings"])).save(folder, "# card", {"steps": 3})


def char_encoder(folder: Path) -> None:
    config = CharEncoderConfig(embedding=8, first_width=4, width=4, image_width=2, image_size=32)
    CharEncoder(config).save(folder, "# card", {"steps": 3})


def painter(folder: Path) -> None:
    config = AttnGanConfig(
        stages=1, width=2, discriminator_width=2, embedding=8, condition=4, noise=3, residual_blocks=1
    )
    reads = DamsmConfig(embedding=8, word_width=4, image_width=2, image_size=32)
    encoder = Damsm(reads, Vocabulary.build(["a red bird with black wings"]))
    painter_of(Generator(config), encoder).save(folder, "# card", {"encoder": "abc"})


def recognizer(folder: Path) -> None:
    config = ModelConfig(width=8, heads=2, encoder_layers=1, decoder_layers=1, feed_forward=8, kernel=3)
    tokenizer = Tokenizer()
    Recognizer(SpeechModel(config, len(tokenizer)), tokenizer).save(folder, "# card", {"steps": 3})


def part_classifier(folder: Path) -> None:
    from core.model_folder import save_model

    config = PartClassifierConfig(["head", "wings"], ["red", "blue"], width=2, size=32)
    save_model(folder, PartClassifier.kind, PartClassifier(config).state_dict(), asdict(config), "# card")


TONE = (0.1 * np.sin(np.arange(4000) / 5)).astype(np.float32)
KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {  # how one is written and used
    "damsm": (damsm, lambda folder: Damsm.load(folder).encode(["a red bird"])),
    "char-encoder": (char_encoder, lambda folder: CharEncoder.load(folder).encode(["a red bird"])),
    "painter": (painter, lambda folder: Painter.load(folder).paint(["a red bird"], [0])),
    "recognizer": (recognizer, lambda folder: Recognizer.load(folder).transcribe_batch([TONE])),
    "part classifier": (
        part_classifier,
        lambda folder: PartClassifier.load(folder)(torch.zeros(1, 3, 32, 32)),
    ),
}


CHECKED = tuple(KINDS)


@pytest.mark.parametrize("kind", CHECKED)
def test_a_damaged_model_folder_is_refused_in_one_line_or_used(kind: str, tmp_path: Path):
    torch.manual_seed(0)
    write, use = KINDS[kind]
    write(tmp_path / "whole")
    use(tmp_path / "whole")  # which also loads what is loaded once
    texts = [path for path in sorted((tmp_path / "whole").iterdir()) if path.suffix == ".json"]
    shutil.copytree(tmp_path / "whole", folder := tmp_path / "damaged")
    count, answers = 60, 0
    for case in range(count):
        rng = np.random.default_rng([2, case])
        path = texts[rng.integers(len(texts))] if case % 4 else texts[0]  # config.json is the first
        content = path.read_bytes()
        if rng.random() < 0.25:
            content = damaged(content, rng)
        else:
            content = json.dumps(altered(json.loads(content), rng)).encode()
        (folder / path.name).write_bytes(content)
        answers += survives(lambda: use(folder), f"{kind}, case {case}: {path.name} {content[:600]!r}")
        (folder / path.name).write_bytes(path.read_bytes())
    assert answers < count


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_weights_are_refused_in_one_line_or_used(kind: str, tmp_path: Path):
    torch.manual_seed(0)
    write, use = KINDS[kind]
    write(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    use(tmp_path)
    for case in range(20):
        path.write_bytes(damaged(whole, np.random.default_rng([3, case])))
        survives(lambda: use(tmp_path), f"{kind}, case {case}")
