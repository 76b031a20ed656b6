"""Sound files to 16 kHz mono, and 16 kHz mono to log-mel features.

Everything behind `load_audio` sees one form of sound: float32, mono, 16 kHz, in [-1, 1].
"""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any, overload

import numpy as np
import soundfile
import torch
import torchaudio
from torch import Tensor, nn

from core.errors import UserError

SAMPLE_RATE = 16_000  # Hz
WINDOW = SAMPLE_RATE * 25 // 1000  # samples: 25 ms
HOP = SAMPLE_RATE * 10 // 1000  # samples: 10 ms
FRAME_RATE = SAMPLE_RATE // HOP  # frames per second
N_MELS = 80
LOWEST_RATE = 4_000  # Hz; below it nothing of speech but the first formant is left

DYNAMIC_RANGE = 8.0 * math.log(
    10.0
)  # nats of power, 80 dB: what lies further below the clip's peak is silence
SMALLEST_POWER = 1e-10  # keeps the logarithm of digital silence finite
FEATURE_SCALE = 0.25  # brings the mean-normalised log power to about unit variance
QUIET = 1e-3  # RMS (-60 dB of full scale) below which a window holds no speech

FORMATS = "wav, flac, ogg, opus or mp3"


def load_audio(path: Path | str, max_seconds: float = 60.0) -> np.ndarray:
    """Read a sound file of any rate and channel count -> float32 (S,) at 16 kHz, mono, in [-1, 1].

    Raises UserError where the file is missing, a folder, empty, truncated, no sound, without samples, or longer
    than `max_seconds`; the length is taken from the header, so a long file is refused without being read.
    """
    path = Path(path)
    size = _size_of_file(path)
    try:
        header = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        raise UserError(f"{path} is not a sound file that can be read; give a {FORMATS} file") from error
    seconds = header.frames / header.samplerate
    if seconds > max_seconds:
        raise UserError(
            f"{path} lasts {_duration(seconds)}, "
            f"at most {_duration(max_seconds)} can be heard at once; cut out the sentence"
        )
    if header.samplerate < LOWEST_RATE:
        raise UserError(
            f"{path} is sampled at {header.samplerate} Hz, speech needs at least {LOWEST_RATE} Hz; record it again"
        )
    if _is_cut_short(path, size, header.format):
        raise _truncated(path)
    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)  # (S, channels)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _truncated(path) from error
    if header.format in ("WAV", "FLAC", "AIFF") and len(samples) < header.frames:
        raise _truncated(path)
    if len(samples) == 0:
        raise UserError(f"{path} holds no samples; record it again")
    return resample(clean(samples).mean(axis=1), rate)


def clean(samples: np.ndarray) -> np.ndarray:
    """Replace what is not a number by silence, and bring what exceeds full scale (float files may) back to 1."""
    if not np.isfinite(samples).all():
        samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    peak = np.abs(samples).max(initial=0.0)
    return samples / peak if peak > 1.0 else samples


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples (S,) at `rate` Hz -> float32 (S,) at 16 kHz."""
    if rate == SAMPLE_RATE or len(samples) == 0:
        return np.ascontiguousarray(samples, dtype=np.float32)
    # The filter's table grows with the reduced ratio: an odd rate such as 44101 Hz would need gigabytes. A ratio
    # of small numbers errs by less than one part in a million.
    ratio = Fraction(rate, SAMPLE_RATE).limit_denominator(1000)
    sound = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    return torchaudio.functional.resample(sound, ratio.numerator, ratio.denominator).numpy()


def loudest_window(samples: np.ndarray) -> float:
    """The RMS of the loudest 25 ms of samples (S,), 0 to 1."""
    count = max(len(samples) // WINDOW, 1)
    windows = (
        np.resize(samples, (1, len(samples)))
        if count == 1
        else samples[: count * WINDOW].reshape(count, WINDOW)
    )
    return float(np.sqrt(np.square(windows, dtype=np.float64).mean(axis=1)).max()) if len(samples) else 0.0


def _size_of_file(path: Path) -> int:
    if path.is_dir():
        raise UserError(f"{path} is a folder, a sound file was expected ({FORMATS})")
    if not path.exists():
        raise UserError(f"no sound file at {path}; give the path of a {FORMATS} file")
    if not path.is_file():
        raise UserError(f"{path} is not an ordinary file, a sound file was expected ({FORMATS})")
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"{path} is empty (0 bytes); record it again")
    return size


def _is_cut_short(path: Path, size: int, kind: str) -> bool:
    """Whether the container says that more should follow; libsndfile itself hides it by shortening the header."""
    with open(path, "rb") as file:
        if kind == "WAV":
            head = file.read(8)
            declared = int.from_bytes(head[4:8], "little") + 8
            # what is streamed (ffmpeg to a pipe, arecord) declares some 2 or 4 GiB because it could not know
            return head[:4] == b"RIFF" and size < declared - 1 and declared < 0x7FFF0000
        if kind == "OGG":
            file.seek(max(size - 65_536, 0))
            tail = file.read()
            page = tail.rfind(b"OggS")
            return page < 0 or page + 5 >= len(tail) or not tail[page + 5] & 4  # the last page is flagged
    return False


def _truncated(path: Path) -> UserError:
    return UserError(
        f"{path} is truncated or damaged: its header promises more sound than it holds; copy or record it again"
    )


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds > 90 else f"{seconds:.0f} seconds"


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


class LogMel(nn.Module):
    """Log-mel features, normalised by each clip's own mean and peak, so that loudness and channel drop out.

    No window reaches beyond a clip's end and the statistics are over its own frames: padding changes nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mel = torchaudio.transforms.MelSpectrogram(
            SAMPLE_RATE, n_fft=WINDOW, win_length=WINDOW, hop_length=HOP, f_min=20.0, f_max=SAMPLE_RATE / 2 - 400.0,
            n_mels=N_MELS, center=False, mel_scale="slaney",
        )  # fmt: skip

    @torch.no_grad()
    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """samples (B, S) in [-1, 1], lengths (B,) in samples -> features (B, T, 80), is_pad (B, T)."""
        with torch.autocast(samples.device.type, enabled=False):
            samples = samples.float()
            if samples.shape[1] < WINDOW:
                samples = nn.functional.pad(samples, (0, WINDOW - samples.shape[1]))
            beyond = torch.arange(samples.shape[1], device=samples.device) >= lengths[:, None]  # (B, S)
            power = self.mel(samples.masked_fill(beyond, 0.0)).transpose(1, 2)  # (B, T, 80)
            T = power.shape[1]
            is_pad = torch.arange(T, device=samples.device) >= count_frames(lengths)[:, None]  # (B, T)
            log = power.clamp(min=SMALLEST_POWER).log()
            peak = log.masked_fill(is_pad[..., None], -torch.inf).amax(dim=(1, 2), keepdim=True)  # (B, 1, 1)
            log = torch.maximum(log, peak - DYNAMIC_RANGE).masked_fill(is_pad[..., None], 0.0)
            mean = log.sum(dim=1, keepdim=True) / (~is_pad).sum(dim=1)[:, None, None]  # (B, 1, 80)
            features = (log - mean) * FEATURE_SCALE
        return features.masked_fill(is_pad[..., None], 0.0), is_pad


def pad_samples(clips: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Clips (S,) of several lengths -> samples (B, S) filled with silence, lengths (B,)."""
    lengths = [len(clip) for clip in clips]
    samples = torch.zeros(len(clips), max(lengths))
    for row, clip in zip(samples, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    return samples, torch.tensor(lengths)
