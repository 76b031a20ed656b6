"""flite (CMU, BSD-like), the small engine of unit selection and diphones, as a command: `apt install flite`."""

import tempfile
from pathlib import Path

import numpy as np

from data.synthesis.command import read_wav, run

VOICES = ("awb", "slt", "kal16", "kal", "rms")


def synthesize(text: str, voice: str, tempo: float = 1.0) -> tuple[np.ndarray, int]:
    """Speak `text`: samples (S,) int16 and the rate in Hz. Raises UserError where flite or the voice is not there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        stretch = f"duration_stretch={1 / tempo:.4f}"
        run(["flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", str(path)], "apt install flite")
        return read_wav(path)
