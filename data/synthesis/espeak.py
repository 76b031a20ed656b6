"""espeak-ng through its library: one call from text to samples, or to phonemes.

The library keeps settings, filter states and a noise generator between calls, and starting it again resets only some
of them. So `synthesize` unloads and loads it for every clip, which costs 2 ms, and seeds its noise: the samples are a
function of the arguments alone, in any process and after any other clip.
"""

import _ctypes
import ctypes
import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError, printable

_ACCENTS = ("en-us", "en", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-gb-x-gbclan")
TRAIN_VOICES = tuple(
    f"{accent}+{variant}"
    for accent, variants in zip(
        _ACCENTS,
        (
            "m1 m3 m7 f1 f3 adam",
            "m2 m4 f2 f4 linda",
            "m1 m6 f1 f3",
            "m3 f2 edward",
            "m7 f4 m2",
            "m4 f1 belinda",
        ),
        strict=True,
    )
    for variant in variants.split()
)
# never heard in training, neither the accent with this variant nor, for most, the variant at all
TEST_VOICES = (
    "en-us+m5", "en-us+f5", "en+m8", "en+steph", "en-us-nyc+travis", "en-gb-x-gbcwmd+anika",
    "en-gb-scotland+quincy", "en-029+shelby",
)  # fmt: skip


_SYNCHRONOUS = 2  # samples go to the callback during the call
_UTF8, _CHARACTERS = 1, 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4

_library: Any = None
_sample_rate = 0
_received: list[np.ndarray] = []
_lock = threading.Lock()


def synthesize(text: str, voice: str, rate: float = 160, pitch: float = 50) -> tuple[np.ndarray, int]:
    """Speak `text`: samples (S,) int16 and the sample rate in Hz.

    voice: "accent+variant" as espeak-ng names them, e.g. "en-us+f3"; rate in words a minute; pitch from 0 to 100.
    Raises UserError where the library or the voice is not there, or the text holds a NUL or lone surrogates. Threads
    take turns: the library has one voice a process.
    """
    data = _bytes_of(text)
    with _lock:
        return _synthesize(data, voice, rate, pitch)


def _bytes_of(text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"espeak-ng cannot speak {printable(text[:40])!r}: it is not UTF-8") from error
    if b"\0" in data:
        raise UserError(f"espeak-ng cannot speak {printable(text[:40])!r}: a NUL in it would end it")
    return data


def _synthesize(data: bytes, voice: str, rate: float, pitch: float) -> tuple[np.ndarray, int]:
    _start()
    code = _library.espeak_SetVoiceByName(voice.encode())
    accent, _, variant = voice.partition("+")
    if code != 0 or (variant and not (_data_folder() / "voices" / "!v" / variant).is_file()):
        raise UserError(f'espeak-ng has no voice "{voice}"; reinstall espeakng-loader, or name another voice')
    for parameter, value in ((_RATE, rate), (_VOLUME, 100), (_PITCH, pitch), (_RANGE, 50)):
        _library.espeak_SetParameter(parameter, int(round(value)), 0)
    _received.clear()
    code = _library.espeak_Synth(data, len(data) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
    if code != 0:
        raise UserError(f'espeak-ng could not speak "{data[:40].decode(errors="replace")}" (code {code})')
    samples = np.concatenate(_received) if _received else np.zeros(0, np.int16)
    _received.clear()
    return samples, _sample_rate


def _data_folder() -> Path:
    import espeakng_loader

    return Path(espeakng_loader.get_data_path())


def _start() -> None:
    """Load the library, unloading one that has spoken: only that puts all of its state back to the beginning."""
    global _library, _sample_rate
    if _library is not None:
        _library.espeak_Terminate()
        getattr(_ctypes, "dlclose" if os.name == "posix" else "FreeLibrary")(_library._handle)
        _library = None
    try:
        import espeakng_loader

        _library = ctypes.CDLL(espeakng_loader.get_library_path())
    except (ImportError, OSError) as error:
        raise UserError(f"espeak-ng is not there ({error}); pip install espeakng-loader") from error
    _sample_rate = _library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(_data_folder().parent), 0)
    if _sample_rate <= 0:
        _library = None
        raise UserError("espeak-ng could not start; pip install --force-reinstall espeakng-loader")
    _library.espeak_SetSynthCallback(_callback)
    _library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # of the breath; by default the time of day


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
def _callback(samples: Any, count: int, _events: Any) -> int:
    if count > 0 and samples:
        _received.append(np.ctypeslib.as_array(samples, (count,)).copy())
    return 0


_IPA_WITH_TIES = 0x02 | 0x80 | ord("^") << 8


def phonemes(text: str, accent: str) -> str:
    """`text` in the International Phonetic Alphabet, letters of one sound joined by "^", punctuation left out.

    Raises UserError as `synthesize` does.
    """
    data = _bytes_of(text)
    with _lock:
        _start()
        if _library.espeak_SetVoiceByName(accent.encode()) != 0:
            raise UserError(f'espeak-ng has no accent "{accent}"; reinstall espeakng-loader')
        _library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        rest = ctypes.c_void_p(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value)
        clauses = []
        while rest.value:  # one clause a call
            clauses.append(_library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA_WITH_TIES) or b"")
    ipa = " ".join(clause.decode(errors="replace") for clause in clauses)
    return " ".join(re.sub(r"\([^)]*\)", "", ipa).split())  # without the marks of words of other languages
