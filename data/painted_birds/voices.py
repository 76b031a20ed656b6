"""Clips of the spoken captions: which sentence, in which of espeak-ng's voices, how fast, how high."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import UserError
from data.painted_birds.captions import write_caption
from data.painted_birds.grammar import Marks
from data.synthesis.clips import framed_at_level
from data.synthesis.espeak import TEST_VOICES, TRAIN_VOICES, synthesize

VERSION = 3  # raised when a change of this file, of espeak.py or of captions.py changes clips

RATES = (120.0, 200.0)  # words a minute
PITCHES = (30.0, 70.0)  # espeak's scale, 0 to 100

SPLITS = ("train", "val", "test", "test_voices")


@dataclass(frozen=True)
class Clip:
    """Everything that decides one recording."""

    text: str
    voice: str
    rate: float  # words a minute
    pitch: float  # espeak's scale
    silence: tuple[float, float]  # seconds before and after
    gain: float  # of full scale at the loudest sample


def clip(seed: int, split: str, index: int, species: Sequence[tuple[Mapping[str, str], Marks]]) -> Clip:
    """Clip `index` of a split, a caption of one of `species`, their colours and marks (of training for train and val).

    Captions are divided by a checksum of their words: a fifth of all sentences is never used in training, and the
    other splits use no others, so that a sentence heard in training is not met again.
    """
    rng = np.random.default_rng([seed, 30 + SPLITS.index(split), index])
    colours, marks = species[int(rng.integers(len(species)))]
    while True:
        text, _ = write_caption(colours, marks, rng)
        if (split == "train") != is_held_out(text):
            break
    names = TEST_VOICES if split == "test_voices" else TRAIN_VOICES
    return Clip(
        text=text,
        voice=names[int(rng.integers(len(names)))],
        rate=float(rng.uniform(*RATES)),
        pitch=float(rng.uniform(*PITCHES)),
        silence=(float(rng.uniform(0.05, 0.3)), float(rng.uniform(0.05, 0.3))),
        gain=float(rng.uniform(0.3, 0.95)),
    )


def is_held_out(text: str) -> bool:
    words = " ".join(re.findall(r"[a-z]+", text.lower()))
    return hashlib.sha256(words.encode()).digest()[0] % 5 == 0


def record(clip: Clip) -> tuple[np.ndarray, int]:
    """The samples (S,) int16 of a clip and their rate in Hz."""
    samples, rate = synthesize(clip.text, clip.voice, clip.rate, clip.pitch)
    if not samples.any():
        raise UserError(f'the voice "{clip.voice}" says nothing; reinstall espeakng-loader')
    return framed_at_level(samples, rate, clip.gain, clip.silence), rate
