"""The one reader and resampler of sound: files, bytes and arrays -> float32, mono, 16 kHz, in [-1, 1].

wav, flac, ogg, opus, mp3, aiff, au, caf and w64 are read by libsndfile; what browsers and phones record (webm, m4a,
mp4, aac) by ffmpeg, where it is installed. Rates from 1 to 768 kHz are resampled, in bounded memory.
"""

import functools
import io
import os
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from asr.containers import is_cut_short, kind_of, size_of, streamed_wav, with_size
from core.errors import UserError, printable

SAMPLE_RATE = 16_000  # Hz
RATES = (1_000, 768_000)  # Hz, what `resample` takes
LOWEST_RATE = 4_000  # Hz; below it nothing of speech but the first formant is left
MOST_CHANNELS = 32
LONGEST = 600.0  # seconds that are read at once
MOST_VALUES = 1 << 26  # of all channels together, read at once: 256 MiB, ten minutes of stereo at 48 kHz
MOST_BYTES = 1 << 29  # of a file that comes through a pipe

FORMATS = "wav, flac, ogg, opus or mp3"
QUIET = 1e-3  # RMS (-60 dB of full scale) below which a window holds no speech
CANCELLED = 0.1  # of a channel's RMS: a mean below it is not the channels' sum but their opposition

Source = Path | str | bytes | BinaryIO
Sound = Source | np.ndarray | tuple[int, np.ndarray]


class UnreadableSound(UserError):
    """A sound file that cannot be used; `reason` says why in a few words."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Recording(NamedTuple):
    samples: np.ndarray  # (S, channels) float32 as they were stored, at most the limit
    rate: int  # Hz
    seconds: float  # of the whole file, as far as is known


def load_audio(source: Source, max_seconds: float = LONGEST) -> np.ndarray:
    """Read a sound of any rate and channel count -> float32 (S,) at 16 kHz, mono, in [-1, 1].

    source: a path, an open binary file (standard input, say), or a file's bytes. Raises UnreadableSound, a UserError,
    where it is missing, a folder, empty, cut short, no sound, without samples, or longer than `max_seconds`; where the
    header has the length, a long file is refused without being read.
    """
    name = name_of(source)
    recording = read_recording(source, max_seconds)
    if recording.seconds > max_seconds:
        raise UnreadableSound(
            "too long",
            f"{name} lasts {_duration(recording.seconds)}, "
            f"at most {_duration(max_seconds)} can be heard at once; cut out the sentence",
        )
    return resample(mix(clean(recording.samples)), recording.rate)


def read_recording(source: Source, max_seconds: float) -> Recording:
    """Decode a sound file, hardly more of it than `max_seconds`. Raises UnreadableSound as `load_audio` does.

    One that its header says is longer comes without samples.
    """
    name = name_of(source)
    with _opened(source) as file:
        if size_of(file) == 0:
            raise UnreadableSound("empty file", f"{name} is empty (0 bytes); record it again")
        first = streamed_wav(file)
        if first is not None:
            file = with_size(file, first, _bytes_of_wav(file, max_seconds))
        elif kind_of(file) in ("mp4", "matroska", "aac"):
            from asr.ffmpeg import decode

            file = decode(file, kind_of(file), name, max_seconds)
        return _decode(file, name, max_seconds)


def _decode(file: BinaryIO, name: str, max_seconds: float) -> Recording:
    try:
        import soundfile
    except ImportError as error:
        raise UserError("reading recordings needs soundfile; install it (pip install soundfile)") from error
    file.seek(0)
    try:
        sound = soundfile.SoundFile(file)
    except MemoryError:
        raise
    except Exception as error:  # libsndfile's errors, and those of its wrapper on odd headers
        if is_cut_short(file):
            raise _truncated(name) from error
        said = " ".join(str(getattr(error, "error_string", error)).split())[:80]
        raise UnreadableSound(
            said or "not a sound file",
            f"{name} is not a sound file that can be read; give a {FORMATS} file",
        ) from error
    with sound:
        rate, frames, channels = sound.samplerate, sound.frames, sound.channels
        _check_header(rate, channels, name)
        is_known = 0 <= frames < 2**62  # above: a stream that could not know its length
        if is_known and frames / rate > max_seconds:
            return Recording(np.zeros((0, channels), np.float32), rate, frames / rate)
        limit = int(max_seconds * rate) + 1  # one more than may be used says that it is too long
        if min(limit, frames) * channels > MOST_VALUES:
            raise UnreadableSound(
                "too large",
                f"{name} has {channels} channels at {rate} Hz, too much to be read at once; "
                "convert it to mono at 16 kHz",
            )
        try:
            samples = sound.read(limit, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise _truncated(name) from error
    if is_cut_short(file) or (
        is_known and kind_of(file) != "mp3" and len(samples) < frames
    ):  # mp3's is a guess
        raise _truncated(name)
    if len(samples) == 0:
        raise UnreadableSound("no sound in it", f"{name} holds no samples; record it again")
    return Recording(samples, rate, len(samples) / rate)


def _check_header(rate: int, channels: int, name: str) -> None:
    if rate < LOWEST_RATE:
        raise UnreadableSound(
            f"sampled at {rate} Hz",
            f"{name} is sampled at {rate} Hz, speech needs at least {LOWEST_RATE} Hz; record it again",
        )
    if rate > RATES[1]:
        raise UnreadableSound(
            f"sampled at {rate} Hz",
            f"{name} says that it is sampled at {rate} Hz, at most {RATES[1]} Hz can be read; mend its header",
        )
    if channels > MOST_CHANNELS:
        raise UnreadableSound(
            f"{channels} channels",
            f"{name} has {channels} channels, at most {MOST_CHANNELS} can be read; mix it",
        )


def _bytes_of_wav(file: BinaryIO, seconds: float) -> int:
    """How many bytes of a wav's samples to read for one second more than `seconds`."""
    file.seek(0)
    head = file.read(4096)
    place = head.find(b"fmt ")
    per_second = int.from_bytes(head[place + 16 : place + 20], "little") if place > 0 else 0
    return int(min((seconds + 1) * max(per_second, 1), MOST_BYTES))


def name_of(source: Source) -> str:
    """What to call a source in a line to the user."""
    if isinstance(source, str | Path):
        return _short(source)
    name = None if isinstance(source, bytes) else getattr(source, "name", None)
    return "standard input" if name in (0, "<stdin>") else _short(name or "the recording")


def _short(name: object) -> str:
    shown = printable(name)
    return shown if len(shown) <= 200 else f"{shown[:197]}..."


def _opened(source: Source) -> BinaryIO:
    """A seekable file."""
    if not isinstance(source, str | Path):
        content = source if isinstance(source, bytes) else source.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UnreadableSound(
                "too large", f"{name_of(source)} is larger than {MOST_BYTES >> 20} MB; shorten it"
            )
        return _Bytes(content)
    name = name_of(source)
    try:
        if os.path.isdir(source):
            raise UnreadableSound("a folder", f"{name} is a folder, a sound file was expected ({FORMATS})")
        if not os.path.exists(source):
            raise UnreadableSound(
                "no such file", f"no sound file at {name}; give the path of a {FORMATS} file"
            )
        if not os.path.isfile(source):
            raise UnreadableSound(
                "no ordinary file", f"{name} is not an ordinary file, a sound file was expected ({FORMATS})"
            )
        return _File(open(source, "rb", buffering=0))  # noqa: SIM115
    except OSError as error:  # no permission, a name too long, a disk that fails
        raise UnreadableSound(str(error.strerror), f"cannot read {name}: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise UnreadableSound("no such file", f"no sound file at {name}: {error}") from error


class _StaysInside:
    """Damaged headers make libsndfile look before the file's beginning, of which Python would complain aloud."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)  # type: ignore[misc]
        except (OSError, ValueError):
            return self.tell()  # type: ignore[attr-defined]


class _Bytes(_StaysInside, io.BytesIO):
    pass


class _File(_StaysInside, io.BufferedReader):
    pass


def clean(samples: np.ndarray) -> np.ndarray:
    """Replace what is not a number by silence, and bring what exceeds full scale (float files may) back to 1."""
    if not np.isfinite(samples).all():
        samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    peak = np.abs(samples).max(initial=0.0)
    return samples / peak if peak > 1.0 else samples


def mix(samples: np.ndarray) -> np.ndarray:
    """Channels (S, C) -> their mean (S,), or the loudest of them where they cancel, being of opposite phase."""
    if samples.shape[1] == 1 or not len(samples):
        return samples.mean(axis=1)
    mean = samples.mean(axis=1)
    loudness = np.sqrt(np.square(samples, dtype=np.float64).mean(axis=0))  # (C,)
    is_cancelled = np.sqrt(np.square(mean, dtype=np.float64).mean()) < CANCELLED * loudness.max()
    return samples[:, loudness.argmax()] if is_cancelled and np.count_nonzero(loudness) > 1 else mean


# --- rates ---

ZEROS = 6  # of the windowed sinc, on either side
MOST_TERM = 20_000  # of the ratio of two rates
ROLLOFF = 0.99  # of the lower Nyquist frequency: where the filter cuts


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples (S,) at `rate` Hz -> float32 (S,) at 16 kHz, S * 16000 / rate of them rounded up.

    A sinc of 6 zeros on either side under a squared cosine (Smith, "Digital Audio Resampling", 2002; torchaudio's
    default), as a polyphase filter. Raises UserError for a rate outside RATES.
    """
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if rate == SAMPLE_RATE or len(samples) == 0:
        return samples
    check_rate(rate)
    from scipy.signal import resample_poly  # late: it takes a quarter of a second, and 16 kHz need it not

    up, down, window = rate_change(rate)
    return resample_poly(samples, up, down, window=window).astype(np.float32, copy=False)


def check_rate(rate: int) -> None:
    """Raises UserError for a rate in Hz outside RATES."""
    if not RATES[0] <= rate <= RATES[1]:
        raise UserError(f"a rate of {rate} Hz was given, {RATES[0]} to {RATES[1]} Hz can be resampled")


def rate_change(rate: int) -> tuple[int, int, np.ndarray]:
    """From `rate` Hz to 16 kHz: the factors up and down, and the low-pass filter between them; see `resample`."""
    # The filter grows with the terms of the ratio: an odd rate such as 767999 Hz would need gigabytes. The nearest
    # ratio of terms up to MOST_TERM is exact up to 20 kHz, and errs by less than one part in 20,000 above.
    most = min(MOST_TERM, MOST_TERM * SAMPLE_RATE // rate)
    ratio = 1 / Fraction(rate, SAMPLE_RATE).limit_denominator(most)
    up, down = ratio.numerator, ratio.denominator
    return up, down, _sinc(up, down)


@functools.lru_cache(maxsize=16)
def _sinc(up: int, down: int) -> np.ndarray:
    """The low-pass filter of a change of rate by up / down, sampled at the rate times `up`; its sum is about 1."""
    cut = min(up, down) * ROLLOFF
    half = int(np.ceil(ZEROS * up * down / cut))
    t = np.clip(np.arange(-half, half + 1) * (cut / (up * down)), -ZEROS, ZEROS)
    return np.sinc(t) * np.cos(t * (np.pi / ZEROS / 2)) ** 2 * (cut / (up * down))


# --- arrays ---


def as_samples(sound: "Sound", max_seconds: float = LONGEST) -> np.ndarray:
    """Whatever holds one sound -> float32 (S,) at 16 kHz in [-1, 1].

    A path, bytes or an open file, as `load_audio` reads them; an array of float in [-1, 1], int16, int32 or uint8, of
    the shape (S,), (S, channels) or (channels, S), at 16 kHz; or (rate in Hz, array), as Gradio has it. Raises
    UserError where it is none of these, and as `load_audio` does.
    """
    if isinstance(sound, str | Path | bytes) or hasattr(sound, "read"):
        return load_audio(sound, max_seconds)  # type: ignore[arg-type]
    rate = SAMPLE_RATE
    if isinstance(sound, tuple | list) and len(sound) == 2 and isinstance(sound[0], int | np.integer):
        rate, sound = int(sound[0]), sound[1]
    samples = clean(as_channels(as_float(np.asarray(sound))))
    if not RATES[0] <= rate <= RATES[1]:
        raise UserError(f"a rate of {rate} Hz was given, {RATES[0]} to {RATES[1]} Hz was expected")
    if len(samples) / rate > max_seconds:
        raise UserError(
            f"the samples last {_duration(len(samples) / rate)}, "
            f"at most {_duration(max_seconds)} can be heard at once; cut out the sentence"
        )
    return resample(mix(samples), rate)


def as_float(sound: np.ndarray) -> np.ndarray:
    """Samples of float, int16, int32 or uint8, any shape -> float32 in [-1, 1]. Raises UserError for other types."""
    if sound.dtype == np.uint8:
        return (sound.astype(np.float32) - 128.0) / 128.0
    if sound.dtype in (np.int16, np.int32):
        return (sound / -float(np.iinfo(sound.dtype).min)).astype(np.float32)
    if not np.issubdtype(sound.dtype, np.floating):
        raise UserError(
            f"samples of type {sound.dtype} were given, float in [-1, 1], int16, int32 or uint8 was expected"
        )
    return sound.astype(np.float32)


def as_channels(sound: np.ndarray) -> np.ndarray:
    """(S,), (S, C) or (C, S) -> (S, C), the longer side being time. Raises UserError for other shapes."""
    if sound.ndim == 1:
        return sound[:, None]
    if sound.ndim != 2 or min(sound.shape) > MOST_CHANNELS:
        raise UserError(
            f"samples of shape {sound.shape} were given, (S,), (S, channels) or (channels, S) was expected"
        )
    return sound if sound.shape[1] <= sound.shape[0] else sound.T


def _truncated(name: str) -> UnreadableSound:
    return UnreadableSound(
        "cut short",
        f"{name} is truncated or damaged: its header promises more sound than it holds; copy or record it again",
    )


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds > 90 else f"{seconds:.0f} seconds"
