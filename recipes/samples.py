"""Speak the sentences of samples/: `python -m recipes.samples` (Ogg Vorbis, 16 kHz, one file a sentence).

espeak-ng's samples repeat to the bit; the Ogg file around them holds a serial number of its own.
"""

from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from asr.audio import SAMPLE_RATE as RATE
from asr.audio import resample
from core.errors import run_cli
from core.files import write_atomically
from data.painted_birds.voices import synthesize

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
SENTENCES = {
    "red_crown": ("this bird has a red crown, a yellow belly and black wings", "en-gb-scotland+f1", 150, 50),
    "blue_bird": ("a small blue bird with a white breast and an orange beak", "en-us+m3", 150, 50),
    "green_tail": ("the bird is brown with a green tail and a purple head", "en-us+m5", 150, 50),
}


def main() -> int:
    for name, (text, voice, rate, pitch) in SENTENCES.items():
        sound = to_16k(*synthesize(text, voice, rate, pitch))
        path = SAMPLES / f"{name}.ogg"
        write_atomically(path, partial(write_ogg, sound))
        print(f"{path.name}: {len(sound) / RATE:.1f} s, {path.stat().st_size / 1024:.0f} KB, {voice}: {text}")
    return 0


def to_16k(samples: np.ndarray, rate: int) -> np.ndarray:
    """int16 samples (S,) at `rate` Hz -> float (S,) at 16 kHz, a quarter of a second of silence at either end."""
    sound = resample(samples.astype(np.float32) / 32768, rate)
    return np.pad(sound * (0.8 / max(np.abs(sound).max(), 1e-9)), RATE // 4)


def write_ogg(samples: np.ndarray, path: Path) -> None:
    soundfile.write(path, samples, RATE, format="OGG", subtype="VORBIS")


if __name__ == "__main__":
    run_cli(main)
