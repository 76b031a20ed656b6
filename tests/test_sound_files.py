"""One reader of sound: cut files of every container, streams, rates, channels, arrays, and what ffmpeg reads."""

import importlib
import io
import os
import shutil
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio import SAMPLE_RATE, UnreadableSound, as_samples, load_audio, resample
from core.errors import UserError

CONTAINERS = {
    "wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"), "aiff": ("AIFF", "PCM_16"), "au": ("AU", "PCM_16"), "w64": ("W64", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
}  # fmt: skip


def noise(seconds: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(int(seconds * rate))).astype(np.float32)


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    """Two seconds of noise in every container."""
    content = {}
    for suffix, (kind, subtype) in CONTAINERS.items():
        buffer = io.BytesIO()
        soundfile.write(buffer, noise(2.0), SAMPLE_RATE, format=kind, subtype=subtype)
        content[suffix] = buffer.getvalue()
    return content


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_what_is_cut_short_is_refused_and_what_is_whole_is_read(whole, suffix, tmp_path):
    content = whole[suffix]
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    for source in (path, str(path), content, io.BytesIO(content)):
        assert abs(len(load_audio(source)) - 2 * SAMPLE_RATE) < 3000  # mp3 adds some silence
    for kept in (len(content) - 10, len(content) // 2, len(content) // 3):
        with pytest.raises(UnreadableSound) as caught:
            load_audio(content[:kept])
        assert caught.value.reason == "cut short", (suffix, kept, str(caught.value))
    for kept in (1, 12, 40):
        with pytest.raises(UserError):
            load_audio(content[:kept])


def page_checksum(page: bytes) -> int:
    """CRC-32 of an Ogg page (RFC 3533): polynomial 04c11db7, not reflected."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


def test_an_ogg_without_the_end_flag_is_whole(whole):
    content = bytearray(whole["ogg"])
    last = content.rfind(b"OggS")
    assert content[last + 5] & 4
    content[last + 5] &= ~4
    content[last + 22 : last + 26] = bytes(4)
    content[last + 22 : last + 26] = page_checksum(content[last:]).to_bytes(4, "little")
    assert abs(len(load_audio(bytes(content))) - 2 * SAMPLE_RATE) < 3000


@pytest.mark.parametrize("sizes", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"])
def test_a_streamed_wav_says_no_sizes(whole, sizes):
    content = bytearray(whole["wav"])
    content[4:8] = content[40:44] = sizes
    assert len(load_audio(bytes(content))) == 2 * SAMPLE_RATE
    assert len(load_audio(bytes(content[: len(content) // 2]))) > SAMPLE_RATE // 2  # nobody can know
    with pytest.raises(UserError, match="no samples"):
        load_audio(bytes(content[:44]))
    with pytest.raises(UserError, match="lasts 2 seconds"):
        load_audio(bytes(content), max_seconds=1.0)


def with_rate(rate: int, count: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(1.0)[:count], SAMPLE_RATE, format="WAV", subtype="PCM_16")
    content = bytearray(buffer.getvalue())
    content[24:32] = rate.to_bytes(4, "little") + (2 * rate & 0xFFFFFFFF).to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize("rate", [7_999, 15_999, 44_101, 99_991, 767_999])
def test_any_rate_needs_little_memory(rate):
    load_audio(with_rate(8000, 100))  # what is imported late
    tracemalloc.start()
    samples = load_audio(with_rate(rate, 16_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert abs(len(samples) - 16_000 * SAMPLE_RATE / rate) < 2
    assert peak < 60e6


@pytest.mark.parametrize(
    ("rate", "said"), [(1000, "at least 4000 Hz"), (1, "at least"), (2**31 - 1, "at most 768000 Hz")]
)
def test_rates_that_are_none(rate, said):
    with pytest.raises(UserError, match=said):
        load_audio(with_rate(rate, 16_000))
    with pytest.raises(UserError, match="Hz"):
        resample(noise(0.1), 999)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_the_resampler_is_torchaudios(rate):
    functional = pytest.importorskip("torchaudio.functional")
    import torch

    sound = noise(0.3, rate)
    expected = functional.resample(torch.from_numpy(sound), rate, SAMPLE_RATE).numpy()
    np.testing.assert_allclose(resample(sound, rate), expected, atol=3e-5)


def test_opposite_phase_is_heard_and_silent_channels_are_averaged():
    sound = noise(0.5)
    mixed = {1.0: sound, 0.0: 0.5 * sound, -1.0: sound, -0.99: sound}
    for other, expected in mixed.items():
        np.testing.assert_allclose(as_samples(np.stack([sound, other * sound], axis=1)), expected, atol=1e-6)


def test_arrays_of_every_kind():
    sound = noise(0.5)
    int16, int32 = (sound * 32_768).astype(np.int16), (sound.astype(np.float64) * 2**31).astype(np.int32)
    for array in (int16, int32, np.stack([sound, sound]), np.stack([sound, sound], axis=1), sound[:, None]):
        np.testing.assert_allclose(as_samples(array), sound, atol=2 / 32_768)
        np.testing.assert_allclose(as_samples((SAMPLE_RATE, array)), sound, atol=2 / 32_768)
    assert len(as_samples((48_000, np.zeros((48_000, 2), np.int16)))) == SAMPLE_RATE
    assert np.abs(as_samples(np.full(9, 128, np.uint8))).max() == 0
    for wrong in (np.zeros((2, 2, 9)), np.zeros(9, np.int64), np.array("a"), (0, sound), (10**9, sound)):
        with pytest.raises(UserError, match=r"expected"):
            as_samples(wrong)


def test_names_that_no_file_has_and_files_that_are_none(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for name, said in (
        ("x" * 300, "no sound file"),
        ("a\0b", "no sound file"),
        ("pipe.wav", "not an ordinary file"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            load_audio(tmp_path / name)
        assert str(caught.value).isprintable()
    latin = os.fsdecode(b"\xff.wav")
    soundfile.write(io.BytesIO(), noise(0.1), SAMPLE_RATE, format="WAV")
    with open(tmp_path / latin, "wb") as file:
        soundfile.write(file, noise(0.1), SAMPLE_RATE, format="WAV")
    assert len(load_audio(tmp_path / latin)) == 1600
    with pytest.raises(UserError, match="is empty"):
        load_audio(b"")


def test_a_seeded_thousandth_of_all_damages(whole):
    """Bytes flipped, cut out and repeated: a sound, or one line."""
    rng = np.random.default_rng(0)
    for suffix, content in whole.items():
        for _ in range(12):
            damaged = bytearray(content)
            for _ in range(rng.integers(1, 6)):
                damaged[rng.integers(min(len(damaged), 200))] = rng.integers(256)
            if rng.random() < 0.3:
                damaged = damaged[: rng.integers(len(damaged))]
            try:
                assert np.isfinite(load_audio(bytes(damaged))).all()
            except UserError as error:
                assert "\n" not in str(error), suffix


# --- ffmpeg ---

WEBM = b"\x1aE\xdf\xa3\x81\0" + b"\x18S\x80g\x8a" + bytes(10)
MP4 = (24).to_bytes(4, "big") + b"ftypM4A " + bytes(12)

FFMPEG = """#!{python}
import pathlib, sys
pathlib.Path({log!r}).write_text("\\n".join(sys.argv))
sys.stdout.buffer.write(pathlib.Path({wav!r}).read_bytes())
sys.exit({code})
"""


def fake_ffmpeg(folder: Path, wav: bytes, code: int = 0) -> None:
    (folder / "sound").write_bytes(wav)
    program = folder / "ffmpeg"
    program.write_text(
        FFMPEG.format(python=sys.executable, log=str(folder / "log"), wav=str(folder / "sound"), code=code)
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_browser_and_phone_recordings_go_through_ffmpeg(tmp_path, monkeypatch, whole):
    stream = bytearray(whole["wav"])
    stream[4:8] = stream[40:44] = b"\xff\xff\xff\xff"  # as ffmpeg writes to a pipe
    monkeypatch.setenv("PATH", str(tmp_path))
    for content in (WEBM, MP4):
        with pytest.raises(UserError, match="needs the program ffmpeg"):
            load_audio(content)
    fake_ffmpeg(tmp_path, bytes(stream))
    for content, demuxer in ((WEBM, "matroska"), (MP4, "mov")):
        assert len(load_audio(content)) == 2 * SAMPLE_RATE
        words = (tmp_path / "log").read_text().split("\n")
        assert words[words.index("-protocol_whitelist") + 1] == "file,pipe"
        assert words.index("-f") < words.index("-i") and words[words.index("-f") + 1] == demuxer
    for cut in (MP4[:20], WEBM[:-1]):
        with pytest.raises(UserError, match="truncated"):
            load_audio(cut)
    unknown = WEBM[:10] + b"\xff" + bytes(5)  # a browser's stream does not know its length
    assert len(load_audio(unknown)) == 2 * SAMPLE_RATE
    fake_ffmpeg(tmp_path, b"", code=1)
    with pytest.raises(UserError, match="ffmpeg cannot read"):
        load_audio(WEBM)


# as they are recorded: Chrome and Firefox (a stream that knows no length), Safari (fragments), phones
RECORDED = {
    "chrome.webm": "-c:a libopus -ar 48000 -ac 2 -f webm -live 1 -cluster_time_limit 250",
    "safari.mp4": "-c:a aac -movflags +frag_keyframe+empty_moov+default_base_moof -frag_duration 250000",
    "phone.m4a": "-c:a aac -ar 44100",
    "phone.3gp": "-c:a aac -ar 16000",
    "stream.aac": "-c:a aac -ar 22050",
    "firefox.ogg": "-c:a libopus -ar 48000 -f ogg",
}


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("name", RECORDED)
def test_recordings_of_browsers_and_phones_are_read(tmp_path, root, name):
    clip = root / "samples" / "blue_bird.ogg"
    path = tmp_path / name
    command = ["ffmpeg", "-v", "error", "-i", str(clip), *RECORDED[name].split(), str(path)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this ffmpeg has no such encoder")
    expected = load_audio(clip)
    for source in (path, path.read_bytes()):
        samples = load_audio(source)
        assert abs(len(samples) - len(expected)) < 0.1 * SAMPLE_RATE
        # the same sound, some milliseconds later: a codec's delay
        spectra = [np.fft.rfft(one, 1 << 17) for one in (samples, expected)]
        likeness = np.fft.irfft(spectra[0] * spectra[1].conj())
        assert likeness.max() > 0.9 * np.linalg.norm(samples) * np.linalg.norm(expected)
        delay = int(likeness.argmax())
        assert min(delay, len(likeness) - delay) < 0.1 * SAMPLE_RATE
    if name == "chrome.webm":  # the page was closed while it recorded: what there is of it is read
        part = load_audio(path.read_bytes()[: path.stat().st_size // 2])
        assert 0.3 * len(expected) < len(part) < 0.7 * len(expected)
        with pytest.raises(UserError, match="ffmpeg cannot read") as caught:
            load_audio(path.read_bytes()[:110])  # a quick tap
        assert "\n" not in str(caught.value)


def test_hearing_needs_no_torchaudio(root, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "asr"]:
        monkeypatch.delitem(sys.modules, name)  # they are imported anew
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    recognizer = importlib.import_module("asr.recognizer").Recognizer.load(
        root / "weights" / "recognizer"
    )
    heard = recognizer.transcribe(root / "samples" / "blue_bird.ogg", beam=2)
    assert heard.text == "a small blue bird with a white breast and an orange beak"
