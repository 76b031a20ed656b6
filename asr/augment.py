"""Augmentation of training sounds: speed, rooms, noise, microphones, levels, codecs and masks.

All are drawn from the generator handed in. They come in the order in which they happen to speech: the room, what
sounds in it, the microphone, its amplifier, and what the sound is sent through.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.audio import SAMPLE_RATE, load_audio, resample
from asr.features import FRAME_RATE, HIGHEST_HERTZ, LOWEST_HERTZ, N_MELS, hertz_to_mel, mel_to_hertz
from core.errors import UserError
from core.fields import bounded, one_of


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
    # how a room is simulated: its echo as noise that fades, or walls that reflect too (a shoebox)
    room: str = one_of("noise", ("noise", "shoebox"))
    noise_folder: str = ""  # recordings of noise ...
    recorded: float = bounded(0.0, 0.0, 1.0)  # ... that this share of the added noise is taken from
    band: float = bounded(0.0, 0.0, 1.0)  # probability of a telephone's or cheap microphone's range
    level: float = bounded(0.0, 0.0, 1.0)  # probability of another level, clipped where it is too high
    codec: float = bounded(0.0, 0.0, 1.0)  # probability of a codec's distortion
    # probability of digital silence at either end, which `Recognizer` gives every piece of a recording
    end_silence: float = bounded(0.0, 0.0, 1.0)
    silence: float = bounded(
        0.01, 0.0, 1.0
    )  # probability that a clip is replaced by noise alone, with no text
    # frequencies are stretched by up to so much, as other vocal tracts would (Jaitly and Hinton 2013, "Vocal tract
    # length perturbation")
    vocal_tract: float = bounded(0.0, 0.0, 0.5)
    mel_masks: int = bounded(2, 0, 100)  # SpecAugment (Park et al. 2019): stripes of frequency ...
    mel_width: int = bounded(15, 0, N_MELS)  # ... of at most this many channels
    time_masks: int = bounded(2, 0, 100)  # and of time ...
    time_width: float = bounded(0.25, 0.0, 60.0)  # ... of at most this many seconds


MOST_END_SILENCE = int(0.3 * SAMPLE_RATE)  # samples
SPEEDS = (0.9, 0.95, 1.0, 1.05, 1.1)  # Ko et al. 2015, in smaller steps


def augment(samples: np.ndarray, rng: np.random.Generator, config: Augmentation) -> tuple[np.ndarray, bool]:
    """One clip (S,) at 16 kHz -> a changed clip (S',), and whether its words are still in it."""
    if rng.random() < config.silence:
        return coloured_noise(len(samples), rng) * 10 ** rng.uniform(-3.5, -1.0), False
    if config.speed:
        samples = change_speed(samples, SPEEDS[rng.integers(len(SPEEDS))])
    if rng.random() < config.reverb:
        decay = rng.uniform(*config.decay)
        in_room = reverberate if config.room == "noise" else reverberate_in_shoebox
        samples = in_room(samples, rng, decay)
    if rng.random() < config.noise:
        loudness = np.sqrt(np.square(samples).mean()) * 10 ** (-rng.uniform(*config.snr) / 20)
        if _happens(config.recorded if config.noise_folder else 0.0, rng):
            noise = recorded_noise(len(samples), rng, config.noise_folder)
        else:
            noise = coloured_noise(len(samples), rng)
        samples = samples + loudness * noise
    if _happens(config.band, rng):
        samples = limit_band(samples, rng)
    if _happens(config.level, rng):
        samples = change_level(samples, rng)
    if _happens(config.codec, rng):
        samples = (companded if rng.random() < 0.3 else coded)(samples, rng)
    if _happens(config.end_silence, rng):
        samples = np.pad(samples, rng.integers(MOST_END_SILENCE + 1, size=2))
    return samples.astype(np.float32, copy=False), True


def _happens(probability: float, rng: np.random.Generator) -> bool:
    """What is switched off draws nothing, so that an older recipe's draws stay as they were."""
    return probability > 0 and rng.random() < probability


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


def reverberate_in_shoebox(samples: np.ndarray, rng: np.random.Generator, decay: float) -> np.ndarray:
    """Samples (S,) in a room with four walls, floor and ceiling in which sound falls by 60 dB in `decay` seconds.

    The first reflections are those of the image-source method (Allen and Berkley 1979) up to the third order, the rest
    is noise that fades, faster at high frequencies. The speaker is 0.2 to 2 m away.
    """
    size = rng.uniform((2.5, 2.5, 2.3), (8.0, 6.0, 3.5))  # metres
    ear = rng.uniform(0.2, 0.8, 3) * size
    direction = rng.standard_normal(3) * (1.0, 1.0, 0.3)
    mouth = ear + direction / np.linalg.norm(direction) * 10 ** rng.uniform(-0.7, 0.3)
    mouth = np.clip(mouth, 0.1, size - 0.1)
    volume, area = size.prod(), 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    kept = np.exp(-0.161 * volume / (area * decay) / 2)  # Eyring: of the pressure, by one reflection
    cells, flips = _images()
    images = 2 * cells * size + np.where(flips, -mouth, mouth)  # (N, 3)
    reflections = np.abs(2 * cells - flips).sum(axis=1)
    distance = np.linalg.norm(images - ear, axis=1)
    direct = float(distance[reflections == 0][0])
    delay = np.rint((distance - direct) / SPEED_OF_SOUND * SAMPLE_RATE).astype(np.int64)
    length = max(int(decay * SAMPLE_RATE), 1)
    echo = np.zeros(length, np.float32)
    early = (delay < min(length, EARLY)) & (reflections <= 3)
    loudness = kept**reflections * direct / distance
    np.add.at(echo, delay[early], loudness[early].astype(np.float32))
    echo[EARLY // 2 :] += _tail(length, rng)[EARLY // 2 :] * _late_level(volume, decay, direct)
    return _convolved(samples, echo / echo[0])


SPEED_OF_SOUND = 343.0  # m/s
EARLY = int(0.05 * SAMPLE_RATE)  # samples: beyond 50 ms reflections are too many to tell apart


@functools.cache
def _images() -> tuple[np.ndarray, np.ndarray]:
    """The mirror images of a source up to the third order: cells (N, 3) of the lattice, and by which axes flipped."""
    cells, flips = np.meshgrid(np.arange(-2, 3), [0, 1], indexing="ij")
    axis = np.stack([cells.ravel(), flips.ravel()], axis=1)  # (10, 2)
    axis = axis[np.abs(2 * axis[:, 0] - axis[:, 1]) <= 3]
    n = np.arange(len(axis))
    chosen = np.stack(np.meshgrid(n, n, n, indexing="ij"), axis=-1).reshape(-1, 3)
    cells, flips = axis[chosen, 0], axis[chosen, 1].astype(bool)
    near = np.abs(2 * cells - flips).sum(axis=1) <= 3
    return cells[near], flips[near]


def _tail(length: int, rng: np.random.Generator) -> np.ndarray:
    """Noise (length,) of RMS 1 at its beginning that falls by 60 dB, duller towards the end."""
    falling = 10 ** (-3 * np.arange(length, dtype=np.float32) / length)
    noise = rng.standard_normal(length, dtype=np.float32)
    dull = np.convolve(noise, np.full(4, 0.5, np.float32), "same")
    return (noise * falling + dull * (1 - falling)) * falling


def _late_level(volume: float, decay: float, distance: float) -> float:
    """The level of the tail where the direct sound is 1: the diffuse field of a room by Sabine's formula."""
    energy = 16 * np.pi * distance**2 * decay / (0.161 * volume)  # of all of the echo beside the direct sound
    per_sample = energy * 6 * np.log(10) / (decay * SAMPLE_RATE)
    return float(np.sqrt(per_sample))


def _convolved(samples: np.ndarray, echo: np.ndarray) -> np.ndarray:
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(len(samples) + len(echo) - 1, real=True)
    sound = irfft(rfft(samples.astype(np.float32, copy=False), size) * rfft(echo, size), size)
    return sound[: len(samples)]


def recorded_noise(count: int, rng: np.random.Generator, folder: str) -> np.ndarray:
    """A stretch (count,) of unit RMS from one of a folder's recordings, repeated where it is too short."""
    recordings = load_noises(folder)
    sound = recordings[rng.integers(len(recordings))]
    start = int(rng.integers(len(sound)))
    stretch = np.take(sound, np.arange(start, start + count), mode="wrap")
    loudness = np.sqrt(np.square(stretch).mean())
    return stretch / loudness if loudness > 1e-6 else coloured_noise(count, rng)


@functools.cache
def load_noises(folder: str) -> tuple[np.ndarray, ...]:
    """Every recording of a folder, float32 (S,) at 16 kHz. Raises UserError where there is none."""
    place = Path(folder)
    try:
        paths = sorted(path for path in place.iterdir() if path.is_file() and path.suffix.lower() in NOISES)
    except OSError as error:
        raise UserError(f"cannot read augment.noise_folder={folder}: {error.strerror}") from error
    sounds = tuple(sound for path in paths if len(sound := load_audio(path, MOST_NOISE)) and sound.any())
    if not sounds:
        raise UserError(
            f"augment.noise_folder={folder} holds no recording ({', '.join(NOISES)}) with a sound in it"
        )
    return sounds


NOISES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
MOST_NOISE = 600.0  # seconds of a recording


def limit_band(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Samples (S,) through a telephone (300 to 3,400 Hz), or through a microphone with low and high cuts of its own."""
    from scipy.signal import sosfilt

    if rng.random() < 0.3:
        low, high = 300, 3400
    else:
        low = int(rng.choice((50, 100, 150, 200, 300, 400)))
        high = int(rng.choice((2500, 3000, 3500, 4000, 5000, 6000, 7000)))
    return sosfilt(_band(low, high), samples).astype(np.float32)


@functools.cache
def _band(low: int, high: int) -> np.ndarray:
    """A Butterworth filter of second order on either side, as second-order sections."""
    from scipy.signal import butter

    return butter(2, (low, high), "bandpass", fs=SAMPLE_RATE, output="sos").astype(np.float32)


def change_level(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Samples (S,) with a peak 40 dB below to 12 dB above full scale, cut off there, in steps of 16 bits."""
    peak = np.abs(samples).max(initial=0.0)
    if peak == 0:
        return samples
    scaled = samples * np.float32(10 ** (rng.uniform(-40.0, 12.0) / 20) / peak)
    return np.rint(np.clip(scaled, -1.0, 1.0) * 32767) / np.float32(32767)


def companded(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Samples (S,) in the 8 bits of G.711's mu-law."""
    x = np.clip(samples, -1.0, 1.0).astype(np.float32, copy=False)
    steps = np.rint(np.log1p(255 * np.abs(x)) * np.float32(127 / np.log(256)))
    return np.copysign(np.expm1(steps * np.float32(np.log(256) / 127)) / 255, x)


WINDOW = 512  # samples of a block of `coded`
BLOCK_BANDS = 20  # of frequency, even on the mel scale


def coded(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Samples (S,) as a codec of few bits leaves them: in every block and band coarse steps, none where it is quiet.

    A stand-in for Opus or MP3 at 8 to 24 kbit/s, which take twenty times as long.
    """
    hop = WINDOW // 2
    window = np.sin(np.pi * (np.arange(WINDOW, dtype=np.float32) + 0.5) / WINDOW).astype(np.float32)
    blocks = -(-len(samples) // hop) + 1
    padded = np.zeros((blocks + 1) * hop, np.float32)
    padded[hop : hop + len(samples)] = samples
    framed = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::hop] * window  # (blocks, WINDOW)
    from scipy.fft import irfft, rfft

    spectrum = rfft(framed, axis=1)
    edges = _band_edges()
    power = np.add.reduceat(np.square(np.abs(spectrum[:, : edges[-1]])), edges[:-1], axis=1) / np.diff(edges)
    step = np.sqrt(power) * np.float32(10 ** rng.uniform(-0.3, 0.4))  # of about one level to two a value
    quiet = power < power.max(axis=1, keepdims=True) * 10 ** -rng.uniform(3.0, 5.0)
    step = np.repeat(np.where(quiet, np.inf, np.maximum(step, 1e-9)), np.diff(edges), axis=1)
    parts = spectrum[:, : edges[-1]].view(np.float32).reshape(blocks, -1, 2)
    rounded = np.rint(parts / step[..., None]) * np.where(np.isinf(step), 0, step)[..., None]
    spectrum[:] = 0
    spectrum[:, : edges[-1]] = rounded.astype(np.float32).reshape(blocks, -1).view(np.complex64)
    out = irfft(spectrum, WINDOW, axis=1) * window
    whole = np.zeros_like(padded).reshape(-1, hop)
    whole[:-1] += out[:, :hop]
    whole[1:] += out[:, hop:]
    return whole.ravel()[hop : hop + len(samples)]


@functools.cache
def _band_edges() -> np.ndarray:
    """Bins (BLOCK_BANDS + 1,) of a block's spectrum between which a band lies; the last is below 8 kHz."""
    mel = np.linspace(0, 2595 * np.log10(1 + 7600 / 700), BLOCK_BANDS + 1)
    return np.unique(np.rint(700 * (10 ** (mel / 2595) - 1) / SAMPLE_RATE * WINDOW).astype(np.int64))


def warp_frequencies(features: Tensor, rngs: Sequence[np.random.Generator], config: Augmentation) -> Tensor:
    """Features (B, T, 80) of speakers whose vocal tracts are longer or shorter, a generator a clip."""
    if not config.vocal_tract:
        return features
    most = config.vocal_tract
    warps = np.stack([warp_matrix(rng.uniform(1 - most, 1 + most)) for rng in rngs])  # (B, 80, 80)
    return features @ torch.from_numpy(warps).to(features)


def warp_matrix(factor: float) -> np.ndarray:
    """(80, 80), float32: what of each mel channel goes to each where all frequencies are `factor` times as high; from
    7/8 of the highest on they are squeezed so that all stay in the range (Jaitly and Hinton 2013, Eq. 1)."""
    mel = np.linspace(hertz_to_mel(np.array(LOWEST_HERTZ)), hertz_to_mel(np.array(HIGHEST_HERTZ)), N_MELS + 2)
    hertz, knee = mel_to_hertz(mel[1:-1]), 7 / 8 * HIGHEST_HERTZ
    bend = knee * min(factor, 1.0)  # after the warp; before it this was at bend / factor
    source = np.interp(hertz, [0.0, bend, HIGHEST_HERTZ], [0.0, bend / factor, HIGHEST_HERTZ])
    place = np.clip((hertz_to_mel(source) - mel[1]) / (mel[1] - mel[0]), 0, N_MELS - 1)
    # between two channels a share of each
    return np.maximum(0.0, 1 - np.abs(np.arange(N_MELS)[:, None] - place)).astype(np.float32)


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
