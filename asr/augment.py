"""Augmentation of training sounds: speed, noise, reverberation, masks; all drawn from the generator handed in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.audio import SAMPLE_RATE, resample
from asr.features import FRAME_RATE, N_MELS
from core.fields import bounded


def pair(default: tuple[float, float], low: float, high: float) -> Any:
    """The two ends of a range."""
    return field(default=default, metadata={"count": (2, 2), "range": (low, high)})


@dataclass
class Augmentation:
    speed: bool = True  # one of SPEEDS, changing pitch as well
    noise: float = bounded(0.5, 0.0, 1.0)  # probability of added noise ...
    snr: tuple[float, float] = pair((5.0, 40.0), -60.0, 120.0)  # ... of this signal-to-noise ratio, dB
    reverb: float = bounded(0.2, 0.0, 1.0)  # probability of a room ...
    decay: tuple[float, float] = pair(
        (0.05, 0.4), 0.001, 10.0
    )  # ... in which sound falls by 60 dB in this time, seconds
    silence: float = bounded(
        0.01, 0.0, 1.0
    )  # probability that a clip is replaced by noise alone, with no text
    mel_masks: int = bounded(2, 0, 100)  # SpecAugment (Park et al. 2019): stripes of frequency ...
    mel_width: int = bounded(15, 0, N_MELS)  # ... of at most this many channels
    time_masks: int = bounded(2, 0, 100)  # and of time ...
    time_width: float = bounded(0.25, 0.0, 60.0)  # ... of at most this many seconds


SPEEDS = (0.9, 0.95, 1.0, 1.05, 1.1)  # Ko et al. 2015, in smaller steps


def augment(samples: np.ndarray, rng: np.random.Generator, config: Augmentation) -> tuple[np.ndarray, bool]:
    """One clip (S,) at 16 kHz -> a changed clip (S',), and whether its words are still in it."""
    if rng.random() < config.silence:
        return coloured_noise(len(samples), rng) * 10 ** rng.uniform(-3.5, -1.0), False
    if config.speed:
        samples = change_speed(samples, SPEEDS[rng.integers(len(SPEEDS))])
    if rng.random() < config.reverb:
        samples = reverberate(samples, rng, rng.uniform(*config.decay))
    if rng.random() < config.noise:
        loudness = np.sqrt(np.square(samples).mean()) * 10 ** (-rng.uniform(*config.snr) / 20)
        samples = samples + loudness * coloured_noise(len(samples), rng)
    return samples.astype(np.float32, copy=False), True


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Play samples (S,) `factor` times as fast -> (S / factor,); the pitch moves along."""
    return samples if factor == 1.0 else resample(samples, round(SAMPLE_RATE * factor))


def coloured_noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise (count,) of unit RMS whose power falls as 1 / f^a, a drawn between 0 (white) and 2 (brown)."""
    slope = rng.uniform(0.0, 2.0)
    size = 1 << max(count - 1, 1).bit_length()  # a power of two, for the transform's sake
    frequencies = np.arange(1, size // 2 + 2, dtype=np.float32)
    spectrum = rng.standard_normal((2, size // 2 + 1), dtype=np.float32)
    noise = np.fft.irfft((spectrum[0] + 1j * spectrum[1]) * frequencies ** (-slope / 2), size)[:count]
    return (noise / np.sqrt(np.square(noise).mean())).astype(np.float32)


def reverberate(samples: np.ndarray, rng: np.random.Generator, decay: float) -> np.ndarray:
    """Samples (S,) with the echo of a room: noise that falls by 60 dB in `decay` seconds follows every sound."""
    length = int(decay * SAMPLE_RATE)
    echo = rng.standard_normal(length, dtype=np.float32) * 10 ** (
        -3 * np.arange(length, dtype=np.float32) / length
    )
    echo *= rng.uniform(0.1, 0.7) / np.sqrt(np.square(echo).sum())
    echo[0] = 1.0  # the sound itself
    size = 1 << (len(samples) + length - 1).bit_length()
    mixed = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size), size)
    return mixed[: len(samples)].astype(np.float32)


def mask_features(
    features: Tensor, is_pad: Tensor, rngs: Sequence[np.random.Generator], config: Augmentation
) -> Tensor:
    """SpecAugment: set stripes of features (B, T, 80) to their mean, which is 0; is_pad (B, T), a generator a clip."""
    T = features.shape[1]
    frames = (~is_pad).sum(dim=1).tolist()
    hidden = np.zeros((len(frames), T, N_MELS), dtype=bool)
    for clip, count, rng in zip(hidden, frames, rngs, strict=True):
        for _ in range(config.mel_masks):
            width = rng.integers(config.mel_width + 1)
            start = rng.integers(N_MELS - width + 1)
            clip[:, start : start + width] = True
        for _ in range(config.time_masks):
            width = rng.integers(min(int(config.time_width * FRAME_RATE), count // 4) + 1)
            start = rng.integers(count - width + 1)
            clip[start : start + width] = True
    return features.masked_fill(torch.from_numpy(hidden).to(features.device), 0.0)
