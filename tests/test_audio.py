"""Sound files of every kind, good and bad, and the log-mel front end."""

import time

import numpy as np
import pytest
import soundfile
import torch

from asr.audio import SAMPLE_RATE, load_audio, resample
from asr.features import (
    FRAME_RATE,
    HOP,
    RUNNING_SECONDS,
    WINDOW,
    LiveFeatures,
    LogMel,
    RunningMoments,
    count_frames,
    pad_samples,
    running_normalised,
)
from core.errors import UserError

FORMATS = [
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAV", "PCM_24"),
    ("wav", "WAV", "FLOAT"),
    ("wav", "WAV", "PCM_U8"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
]


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def loudest_hertz(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * SAMPLE_RATE / len(samples))


@pytest.mark.parametrize(("suffix", "kind", "subtype"), FORMATS)
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_becomes_16_khz_mono(tmp_path, suffix, kind, subtype, rate, channels):
    if subtype == "OPUS" and rate == 44_100:
        pytest.skip("Opus has no 44.1 kHz")
    path = tmp_path / f"a.{suffix}"
    sound = np.stack([tone(1.0, rate)] * channels, axis=1)
    soundfile.write(path, sound, rate, format=kind, subtype=subtype)
    samples = load_audio(path)
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert abs(len(samples) - SAMPLE_RATE) < 0.15 * SAMPLE_RATE  # mp3 adds some silence
    assert abs(loudest_hertz(samples) - 440) < 5
    assert 0.3 < np.abs(samples[4000:12_000]).max() < 0.5


@pytest.mark.parametrize("rate", [11_025, 22_050, 44_101, 96_000, 192_000])
def test_odd_rates(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(0.5, rate), rate)
    samples = load_audio(tmp_path / "a.wav")
    assert abs(len(samples) - SAMPLE_RATE // 2) <= 2
    assert abs(loudest_hertz(samples) - 440) < 5
    assert len(resample(np.zeros(0, np.float32), rate)) == 0


def test_channels_are_averaged_unless_they_cancel(tmp_path):
    left = tone(0.5, SAMPLE_RATE)
    for right, mixed in ((0.5 * left, 0.75 * left), (0 * left, 0.5 * left), (-0.99 * left, left)):
        soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), SAMPLE_RATE, subtype="FLOAT")
        np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), mixed, atol=1e-6)


def test_numbers_that_are_none_and_overdriven_samples(tmp_path):
    sound = 3 * tone(0.5, SAMPLE_RATE)
    sound[100:200] = np.nan
    sound[300] = np.inf
    soundfile.write(tmp_path / "a.wav", sound, SAMPLE_RATE, subtype="FLOAT")
    samples = load_audio(tmp_path / "a.wav")
    assert np.isfinite(samples).all() and np.abs(samples).max() == pytest.approx(1.0)
    assert not samples[100:200].any() and samples[300] == 0


def bad_files(folder):
    """(file, what the message says) for everything that is no usable sound."""
    sound = tone(2.0, SAMPLE_RATE) + 0.1 * np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE).astype(
        "f4"
    )
    (folder / "folder.wav").mkdir()
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("this is not a sound\n" * 50)
    (folder / "noise.mp3").write_bytes(np.random.default_rng(0).bytes(500))
    soundfile.write(folder / "none.wav", np.zeros(0, np.float32), SAMPLE_RATE)
    soundfile.write(folder / "slow.wav", sound, 1000)
    for suffix in ("wav", "flac", "ogg"):
        soundfile.write(folder / f"whole.{suffix}", sound, SAMPLE_RATE)
        content = (folder / f"whole.{suffix}").read_bytes()
        (folder / f"cut.{suffix}").write_bytes(content[: len(content) * 6 // 10])
        (folder / f"head.{suffix}").write_bytes(content[:20])
    return [
        ("missing.wav", "no sound file at"), ("folder.wav", "is a folder"), ("empty.wav", "is empty"),
        ("text.wav", "not a sound file"), ("noise.mp3", "sound"), ("none.wav", "no samples"),
        ("slow.wav", "1000 Hz"), ("cut.wav", "truncated"), ("cut.flac", "truncated"), ("cut.ogg", "truncated"),
        ("head.wav", "sound"), ("head.flac", "sound"), ("head.ogg", "sound"),
    ]  # fmt: skip


def test_bad_files_are_named_in_one_line(tmp_path):
    for name, said in bad_files(tmp_path):
        with pytest.raises(UserError) as error:
            load_audio(tmp_path / name)
        message = str(error.value)
        assert said in message and name in message and "\n" not in message, message
    for suffix in ("wav", "flac", "ogg"):
        assert len(load_audio(tmp_path / f"whole.{suffix}")) == 2 * SAMPLE_RATE


def test_streamed_wav_whose_length_was_unknown(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.5, SAMPLE_RATE), SAMPLE_RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    assert len(load_audio(tmp_path / "a.wav")) == SAMPLE_RATE // 2


def test_two_hours_are_refused_at_once(tmp_path):
    rate, seconds = 8000, 7200
    with soundfile.SoundFile(tmp_path / "long.flac", "w", rate, 1, "PCM_16") as file:
        for _ in range(seconds // 600):
            file.write(np.zeros(600 * rate, np.int16))
    # a wav of as many bytes, which the file system need not store
    soundfile.write(tmp_path / "long.wav", np.zeros(10, np.float32), rate, subtype="PCM_U8")
    head = bytearray((tmp_path / "long.wav").read_bytes()[:44])
    head[4:8] = (36 + rate * seconds).to_bytes(4, "little")
    head[40:44] = (rate * seconds).to_bytes(4, "little")
    with open(tmp_path / "long.wav", "wb") as file:
        file.write(head)
        file.truncate(44 + rate * seconds)
    for name in ("long.flac", "long.wav"):
        started = time.monotonic()
        with pytest.raises(UserError, match="2.0 hours"):
            load_audio(tmp_path / name)
        assert time.monotonic() - started < 0.5


def test_real_recordings_are_read(realdata):
    folder = realdata / "speech" / "LJSpeech-1.1" / "wavs"
    paths = sorted(folder.glob("*.opus"))[:4] + sorted(folder.glob("*.wav"))[:2]
    if not paths:
        pytest.skip(f"no recordings in {folder}")
    for path in paths:
        samples = load_audio(path)
        info = soundfile.info(str(path))
        assert abs(len(samples) / SAMPLE_RATE - info.duration) < 0.01 and samples.std() > 0.005


@pytest.mark.parametrize("samples", [1, 159, 399, 400, 401, 559, 560, 16_000, 16_159, 16_160])
def test_number_of_frames(samples):
    features, is_pad = LogMel()(torch.randn(1, samples), torch.tensor([samples]))
    assert features.shape == (1, count_frames(samples), 80) and not is_pad.any()
    assert count_frames(samples) == 1 + (max(samples, WINDOW) - WINDOW) // HOP
    assert int(count_frames(torch.tensor(samples))) == count_frames(samples)


def test_features_do_not_see_padding_or_loudness():
    rng = np.random.default_rng(0)
    clips = [rng.standard_normal(n).astype(np.float32) * 0.1 for n in (9000, 16_000, 333)]
    samples, lengths = pad_samples(clips)
    samples = torch.nn.functional.pad(samples, (0, 3333))
    for row, length in zip(samples, lengths, strict=True):
        row[length:] = 0.9  # what lies there must not matter
    together, is_pad = LogMel()(samples, lengths)
    for clip, row, pad in zip(clips, together, is_pad, strict=True):
        alone, _ = LogMel()(torch.from_numpy(clip)[None], torch.tensor([len(clip)]))
        torch.testing.assert_close(row[~pad], alone[0], rtol=1e-4, atol=1e-4)
        assert not row[pad].any()
    quiet, _ = LogMel()(torch.from_numpy(clips[1])[None] * 0.01, lengths[1:2])
    torch.testing.assert_close(quiet[0], together[1][~is_pad[1]], rtol=1e-3, atol=1e-3)
    assert abs(together[1][~is_pad[1]].mean()) < 1e-4


def test_every_mel_channel_hears_something():
    assert (LogMel().filters.sum(dim=0) > 0).all()


def test_digital_silence_gives_finite_features():
    features, _ = LogMel()(torch.zeros(1, 8000), torch.tensor([8000]))
    assert features.isfinite().all() and not features.any()


@pytest.mark.parametrize("sizes", [[100, 3000, 399, 1, 5000, 161, 7339], [16_000], [400] * 40])
def test_running_features_of_a_stream_are_those_of_the_whole(sizes):
    rng = np.random.default_rng(0)
    samples = torch.from_numpy((rng.standard_normal(16_000) * np.linspace(0, 0.3, 16_000)).astype(np.float32))
    front_end = LogMel("running")
    whole, _ = front_end(samples[None], torch.tensor([16_000]))
    live = LiveFeatures(front_end)
    pieces = [live.feed(piece) for piece in samples.split(sizes)]
    torch.testing.assert_close(torch.cat(pieces), whole[0], rtol=1e-4, atol=1e-4)
    # what comes later changes nothing before it
    start, _ = front_end(samples[None, :8000], torch.tensor([8000]))
    torch.testing.assert_close(start[0], whole[0, : start.shape[1]], rtol=1e-4, atol=1e-4)


def test_running_moments_by_hand():
    log = torch.randn(1, 4, 2, dtype=torch.float64) * 5
    features, _ = running_normalised(log, RunningMoments.empty(log))
    decay = np.exp(-1 / (RUNNING_SECONDS * FRAME_RATE))
    for t in range(4):
        weights = torch.tensor(decay ** np.arange(t, -1, -1))[:, None]
        past = log[0, : t + 1]
        mean = (weights * past).sum(0) / weights.sum()
        variance = ((weights * past.square()).sum(0) / weights.sum() - mean.square()).clamp(min=1.0)
        torch.testing.assert_close(features[0, t], (past[-1] - mean) / variance.sqrt())
    with pytest.raises(UserError, match='no normalisation "global"'):
        LogMel("global")
    with pytest.raises(ValueError, match="whole clip"):
        LiveFeatures(LogMel())


def test_mel_channels_are_torchaudios():
    transforms = pytest.importorskip("torchaudio.transforms")
    mel = transforms.MelSpectrogram(
        SAMPLE_RATE, n_fft=WINDOW, win_length=WINDOW, hop_length=HOP, f_min=20.0, f_max=SAMPLE_RATE / 2 - 400.0,
        n_mels=80, center=False, mel_scale="slaney",
    )  # fmt: skip
    samples = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    expected, front_end = mel(samples).transpose(1, 2), LogMel()
    torch.testing.assert_close(front_end.power(samples), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(front_end.filters, mel.mel_scale.fb, rtol=1e-4, atol=2e-5)
