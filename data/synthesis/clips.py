"""What every synthetic clip goes through after its engine: level, silence at the ends, a FLAC file."""

import io
from pathlib import Path

import numpy as np

from core.files import write_bytes


def framed_at_level(samples: np.ndarray, rate: int, gain: float, silence: tuple[float, float]) -> np.ndarray:
    """samples (S,) int16, not all 0 -> (S',) int16 whose loudest sample is at `gain` of full scale, with `silence`
    seconds before and after. rate in Hz."""
    sound = samples.astype(np.float64)
    sound *= gain * 32767 / np.abs(sound).max()
    before, after = (np.zeros(round(seconds * rate)) for seconds in silence)
    return np.concatenate([before, sound, after]).round().astype(np.int16)


def write_flac(path: Path, samples: np.ndarray, rate: int) -> None:
    """samples (S,) int16 at `rate` Hz, whole or not at all. Raises UserError where the disk refuses."""
    import soundfile

    encoded = io.BytesIO()  # in memory first: libsndfile hides the reason when its own writing fails
    soundfile.write(encoded, samples, rate, format="FLAC", subtype="PCM_16")
    write_bytes(path, encoded.getbuffer())
