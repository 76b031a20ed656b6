"""16 kHz mono to log-mel features, normalised over the whole clip or running.

The values are those of torchaudio's MelSpectrogram with Slaney's scale (Auditory Toolbox, 1998), in torch alone.
"""

import math
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor, nn

from asr.audio import SAMPLE_RATE
from core.errors import UserError

WINDOW = SAMPLE_RATE * 25 // 1000  # samples: 25 ms
HOP = SAMPLE_RATE * 10 // 1000  # samples: 10 ms
FRAME_RATE = SAMPLE_RATE // HOP  # frames per second
N_MELS = 80
LOWEST_HERTZ, HIGHEST_HERTZ = 20.0, SAMPLE_RATE / 2 - 400.0  # of the mel channels

DYNAMIC_RANGE = 8.0 * math.log(10.0)  # nats of power, 80 dB: what is further below the clip's peak is silence
SMALLEST_POWER = 1e-10  # keeps the logarithm of digital silence finite
FEATURE_SCALE = 0.25  # brings the mean-normalised log power to about unit variance

NORMALISATIONS = ("clip", "running")
RUNNING_SECONDS = 3.0  # time constant of the running mean and variance
SMALLEST_DEVIATION = 1.0  # nats; a channel that hardly changes is not blown up


@overload
def count_frames(samples: int) -> int: ...
@overload
def count_frames(samples: Tensor) -> Tensor: ...
def count_frames(samples: Any) -> Any:
    """Frames T of a clip of S samples: T = 1 + (max(S, WINDOW) - WINDOW) // HOP, windows wholly inside the clip.

    A clip shorter than a window is filled up with silence to one.
    """
    if isinstance(samples, Tensor):
        return 1 + (samples.clamp(min=WINDOW) - WINDOW) // HOP
    return 1 + (max(samples, WINDOW) - WINDOW) // HOP


def hertz_to_mel(hertz: np.ndarray) -> np.ndarray:
    """Slaney's mel scale: linear below 1 kHz, 15 mel; logarithmic above it, 27 mel for a factor of 6.4."""
    log = 15.0 + np.log(np.maximum(hertz, 1000.0) / 1000.0) * (27.0 / math.log(6.4))
    return np.where(hertz < 1000.0, hertz * (3.0 / 200.0), log)


def mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    log = 1000.0 * np.exp((np.maximum(mel, 15.0) - 15.0) * (math.log(6.4) / 27.0))
    return np.where(mel < 15.0, mel * (200.0 / 3.0), log)


def mel_filters() -> Tensor:
    """Triangular filters (WINDOW / 2 + 1, 80) from the spectrum's bins to mel channels, of height 1."""
    bins = np.linspace(0.0, SAMPLE_RATE / 2, WINDOW // 2 + 1)[:, None]
    low, high = hertz_to_mel(np.array([LOWEST_HERTZ, HIGHEST_HERTZ]))
    edges = mel_to_hertz(np.linspace(low, high, N_MELS + 2))
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    return torch.from_numpy(np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32))


class LogMel(nn.Module):
    """Log-mel features, normalised so that loudness and channel drop out.

    normalisation "clip": by each clip's own mean and peak; "running": by the mean and variance of what was heard so far
    (time constant RUNNING_SECONDS), so that a live stream has the features of the whole recording: `LiveFeatures`.
    No window reaches beyond a clip's end and the statistics are over its own frames: padding changes nothing.
    Raises UserError for another normalisation.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, normalisation: str = "clip") -> None:
        super().__init__()
        if normalisation not in NORMALISATIONS:
            raise UserError(
                f'no normalisation "{normalisation}" of features; it is {" or ".join(NORMALISATIONS)}'
            )
        self.normalisation = normalisation
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("filters", mel_filters(), persistent=False)  # (WINDOW / 2 + 1, 80)

    def power(self, samples: Tensor) -> Tensor:
        """samples (B, S) with S >= WINDOW -> power of the mel channels (B, T, 80)."""
        frames = samples.unfold(1, WINDOW, HOP) * self.window  # (B, T, WINDOW)
        return torch.fft.rfft(frames).abs().square() @ self.filters

    @torch.no_grad()
    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """samples (B, S) in [-1, 1], lengths (B,) in samples -> features (B, T, 80), is_pad (B, T)."""
        with torch.autocast(samples.device.type, enabled=False):
            samples = samples.float()
            if samples.shape[1] < WINDOW:
                samples = nn.functional.pad(samples, (0, WINDOW - samples.shape[1]))
            beyond = torch.arange(samples.shape[1], device=samples.device) >= lengths[:, None]  # (B, S)
            log = self.power(samples.masked_fill(beyond, 0.0)).clamp(min=SMALLEST_POWER).log()  # (B, T, 80)
            T = log.shape[1]
            is_pad = torch.arange(T, device=samples.device) >= count_frames(lengths)[:, None]  # (B, T)
            if self.normalisation == "running":
                features, _ = running_normalised(log, RunningMoments.empty(log))
            else:
                features = clip_normalised(log, is_pad)
        return features.masked_fill(is_pad[..., None], 0.0), is_pad


def clip_normalised(log: Tensor, is_pad: Tensor) -> Tensor:
    """Log power (B, T, 80), is_pad (B, T) -> that above each clip's mean, nothing lower than 80 dB below its peak."""
    peak = log.masked_fill(is_pad[..., None], -torch.inf).amax(dim=(1, 2), keepdim=True)  # (B, 1, 1)
    log = torch.maximum(log, peak - DYNAMIC_RANGE).masked_fill(is_pad[..., None], 0.0)
    mean = log.sum(dim=1, keepdim=True) / (~is_pad).sum(dim=1)[:, None, None]  # (B, 1, 80)
    return (log - mean) * FEATURE_SCALE


class RunningMoments(NamedTuple):
    """Exponentially weighted sums over the frames so far."""

    weight: Tensor  # (B, 1)
    total: Tensor  # (B, 80) of the values
    squares: Tensor  # (B, 80) of their squares

    @classmethod
    def empty(cls, log: Tensor) -> "RunningMoments":
        return cls(log.new_zeros(len(log), 1), *(log.new_zeros(len(log), log.shape[2]) for _ in range(2)))


def running_normalised(log: Tensor, moments: RunningMoments) -> tuple[Tensor, RunningMoments]:
    """Log power (B, T, 80) -> (log - mean) / deviation of the frames up to each, and the moments after the last.

    Frame by frame, so that a recording in pieces has, to the last bit, the values of the whole.
    """
    decay = math.exp(-1.0 / (RUNNING_SECONDS * FRAME_RATE))
    weight, total, squares = moments
    features = torch.empty_like(log)
    for t in range(log.shape[1]):
        frame = log[:, t]
        weight, total, squares = (
            decay * weight + 1.0,
            decay * total + frame,
            decay * squares + frame.square(),
        )
        mean = total / weight
        variance = (squares / weight - mean.square()).clamp(min=SMALLEST_DEVIATION**2)
        features[:, t] = (frame - mean) / variance.sqrt()
    return features, RunningMoments(weight, total, squares)


class LiveFeatures:
    """The running features of a stream that comes in pieces."""

    def __init__(self, front_end: LogMel) -> None:
        """Raises ValueError for a front end that needs the whole clip."""
        if front_end.normalisation != "running":
            raise ValueError("features normalised over the whole clip cannot be made while it is recorded")
        self.front_end = front_end
        self._rest = torch.zeros(0, device=front_end.window.device)  # samples of the frames to come
        self._moments = RunningMoments.empty(torch.zeros(1, 1, N_MELS, device=front_end.window.device))

    @torch.no_grad()
    def feed(self, samples: Tensor) -> Tensor:
        """The next samples (S,) at 16 kHz -> the features (T, 80) that they complete, T >= 0."""
        sound = torch.cat([self._rest, samples.to(self._rest)])
        if len(sound) < WINDOW:
            self._rest = sound
            return sound.new_zeros(0, N_MELS)
        log = self.front_end.power(sound[None]).clamp(min=SMALLEST_POWER).log()
        self._rest = sound[log.shape[1] * HOP :]
        features, self._moments = running_normalised(log, self._moments)
        return features[0]


def pad_samples(clips: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Clips (S,) of several lengths -> samples (B, S) filled with silence, lengths (B,)."""
    lengths = [len(clip) for clip in clips]
    samples = torch.zeros(len(clips), max(lengths))
    for row, clip in zip(samples, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    return samples, torch.tensor(lengths)
