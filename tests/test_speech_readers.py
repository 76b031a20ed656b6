"""The readers of LJSpeech and LibriSpeech: transcripts, splits, audio formats, damage, cache."""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.errors import UserError
from data.speech import chapter_split, load_speech


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    """(S,) float64, half of full scale."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def make_ljspeech(root: Path, chapters: int = 4, clips: int = 3) -> Path:
    (root / "wavs").mkdir(parents=True)
    lines = []
    for c in range(1, chapters + 1):
        for i in range(1, clips + 1):
            id = f"LJ{c:03d}-{i:04d}"
            lines.append(f"{id}|No. {i}|Number {i}, chapter {c}")
            soundfile.write(root / "wavs" / f"{id}.wav", tone(0.3 + 0.1 * i, 22_050), 22_050)
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    return root


def make_librispeech(root: Path) -> Path:
    for subset, reader in (("train-clean-100", "19"), ("train-clean-100", "26"), ("test-clean", "61")):
        folder = root / subset / reader / "198"
        folder.mkdir(parents=True)
        lines = []
        for i in range(2):
            id = f"{reader}-198-{i:04d}"
            lines.append(f"{id} READER {reader} SAYS IT'S {i}")
            soundfile.write(folder / f"{id}.flac", tone(0.5, 16_000), 16_000)
        (folder / f"{reader}-198.trans.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def lj(tmp_path) -> Path:
    return make_ljspeech(tmp_path / "LJSpeech-1.1")


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


# --- transcripts and splits ---


def test_ljspeech_by_chapters(lj, cache):
    parts = {split: load_speech(lj, split, cache) for split in ("train", "val", "test")}
    chapters = {split: {id.split("-")[0] for id in part.ids} for split, part in parts.items()}
    assert chapters == {"train": {"LJ001", "LJ002"}, "val": {"LJ003"}, "test": {"LJ004"}}
    train = parts["train"]
    assert (
        train.ids[0] == "LJ001-0001"
        and train.texts[0] == "Number 1, chapter 1"
        and set(train.speakers) == {"LJ"}
    )
    assert train.missing == train.too_long == 0 and train.damaged == {}
    assert train.lengths.dtype == np.int64 and train.lengths[0] == pytest.approx(0.4 * 16_000, abs=2)


def test_chapter_split_counts():
    ids = [f"LJ{c:03d}-{i:04d}" for c in range(1, 51) for i in range(3)]
    parts = chapter_split(ids)
    assert {name: len(part) // 3 for name, part in parts.items()} == {"train": 44, "val": 1, "test": 5}
    assert sorted(sum(parts.values(), [])) == sorted(ids)
    assert list(chapter_split(["a-1", "b-1"])) == ["train", "test"]
    assert chapter_split(["a-1", "a-2"]) == {}


def test_ljspeech_by_files(lj, cache):
    (lj / "splits").mkdir()
    (lj / "splits" / "train.txt").write_text("LJ004-0001\nLJ001-0003\n\n")
    (lj / "splits" / "test_voices.txt").write_text("LJ002-0001\n")
    assert load_speech(lj, "train", cache).ids == ["LJ004-0001", "LJ001-0003"]
    assert load_speech(lj, "test_voices", cache).ids == ["LJ002-0001"]
    assert len(load_speech(lj, "train", cache, split_by="chapters")) == 6
    assert load_speech(lj, "train", cache).ids == ["LJ004-0001", "LJ001-0003"]
    with pytest.raises(UserError, match=r'no split "trian".*did you mean "train".*holds test_voices, train'):
        load_speech(lj, "trian", cache)
    (lj / "splits" / "val.txt").write_text("LJ999-0001\n")
    with pytest.raises(
        UserError, match=r"splits/val\.txt names \"LJ999-0001\", which metadata.csv does not list"
    ):
        load_speech(lj, "val", cache)


def test_unknown_splits_and_layouts(lj, cache, tmp_path):
    with pytest.raises(UserError, match='no split "dev".*chapters with audio give train, val, test'):
        load_speech(lj, "dev", cache)
    with pytest.raises(UserError, match="splits/ holds no file at all"):
        load_speech(lj, "train", cache, split_by="files")
    with pytest.raises(UserError, match="no way to split"):
        load_speech(lj, "train", cache, split_by="voice")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no layout"):
        load_speech(lj, "train", cache, layout="ljspech")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"no speech set at .*did you mean .*LJSpeech-1\.1"):
        load_speech(tmp_path, "train", cache)
    with pytest.raises(UserError, match="no speech set at .*expected LJSpeech"):
        load_speech(tmp_path / "nothing", "train", cache)


def test_metadata_without_quoting_and_without_normalised_text(tmp_path, cache):
    root = make_ljspeech(tmp_path / "own", chapters=2, clips=2)
    (root / "metadata.csv").write_text(
        '\ufeffLJ001-0001|"Open|"open\nLJ001-0002|plain|\r\nLJ002-0001|two columns\nLJ002-0002|b|a "b" \u201cc\u201d\n'
    )
    assert load_speech(root, "train", cache).texts == ['"open', "plain"]
    assert load_speech(root, "test", cache).texts == ["two columns", 'a "b" \u201cc\u201d']
    for bad in ("LJ001-0001\n", "a|b|c|d\n", "|text\n"):
        (root / "metadata.csv").write_text(bad)
        with pytest.raises(UserError, match=r"metadata\.csv:1 is .*expected: id\|text"):
            load_speech(root, "train", cache)
    (root / "metadata.csv").write_text("a|b\na|c\n")
    with pytest.raises(UserError, match="metadata.csv:2 lists a a second time"):
        load_speech(root, "train", cache)


def test_librispeech(tmp_path, cache):
    root = make_librispeech(tmp_path / "LibriSpeech")
    train = load_speech(root, "train-clean-100", cache)
    assert train.ids == ["19-198-0000", "19-198-0001", "26-198-0000", "26-198-0001"]
    assert train.texts[2] == "READER 26 SAYS IT'S 0" and train.speakers == ["19", "19", "26", "26"]
    assert train.lengths.tolist() == [8000] * 4
    assert load_speech(root, "test-clean", cache, layout="librispeech").speakers == ["61", "61"]
    with pytest.raises(
        UserError, match='no split "test-claen".*mean "test-clean".*test-clean, train-clean-100'
    ):
        load_speech(root, "test-claen", cache)


# --- sound ---


def test_any_rate_channels_and_format_become_16_khz_mono(tmp_path, cache):
    root = tmp_path / "own"
    (root / "wavs").mkdir(parents=True)
    wanted = tone(1.0, 16_000)
    stereo = np.stack([tone(1.0, 44_100), np.zeros(44_100)], axis=1)
    soundfile.write(root / "wavs" / "a-1.wav", wanted, 16_000, subtype="PCM_16")
    soundfile.write(root / "wavs" / "a-2.flac", tone(1.0, 22_050), 22_050)
    soundfile.write(root / "wavs" / "a-3.wav", stereo, 44_100, subtype="FLOAT")
    soundfile.write(root / "wavs" / "a-4.opus", tone(1.0, 48_000), 48_000, format="OGG", subtype="OPUS")
    soundfile.write(root / "wavs" / "a-5.mp3", tone(1.0, 32_000), 32_000, format="MP3")
    soundfile.write(root / "wavs" / "a-6.WAV", tone(1.0, 8_000), 8_000)
    soundfile.write(root / "wavs" / "b-1.wav", wanted, 16_000)
    (root / "metadata.csv").write_text("".join(f"a-{i}|text\n" for i in range(1, 7)) + "b-1|text\n")
    clips = load_speech(root, "train", cache)
    assert clips.ids == [f"a-{i}" for i in range(1, 7)]
    assert clips.samples(0).dtype == np.float32
    np.testing.assert_allclose(clips.samples(0), wanted, atol=1 / 32_768)
    for i in range(6):
        sound = clips.samples(i)
        assert len(sound) == clips.lengths[i] == pytest.approx(16_000, abs=3000 if i == 4 else 1)
        middle = sound[6000:10_000].astype(np.float64)
        gain = 0.5 if i == 2 else 1.0  # one silent channel of two
        assert np.sqrt((middle**2).mean()) == pytest.approx(gain * 0.5 / np.sqrt(2), rel=0.08), clips.ids[i]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(4000)))
        assert spectrum.argmax() * 4 == 440, clips.ids[i]


def test_16_bit_samples_are_kept_exactly(tmp_path, cache):
    root = make_ljspeech(tmp_path / "own", chapters=2, clips=1)
    values = np.random.default_rng(0).integers(-32_768, 32_768, 5000).astype(np.int16)
    soundfile.write(root / "wavs" / "LJ001-0001.wav", values, 16_000)
    np.testing.assert_array_equal(load_speech(root, "train", cache).samples(0) * 32_768, values)


def test_long_clips_are_dropped_and_counted(lj, cache, caplog):
    soundfile.write(lj / "wavs" / "LJ001-0002.wav", tone(5.0, 22_050), 22_050)
    assert "LJ001-0002" in load_speech(lj, "train", cache).ids
    with caplog.at_level(logging.WARNING):
        clips = load_speech(lj, "train", cache, max_seconds=2.0)
    assert "LJ001-0002" not in clips.ids and len(clips) == 5 and clips.too_long == 1
    assert "1 train clips" in caplog.text and "longer than 2 s" in caplog.text
    assert load_speech(lj, "train", cache, max_seconds=2.0).too_long == 1
    with pytest.raises(UserError, match="no usable clip of at most 0.1 s"):
        load_speech(lj, "train", cache, max_seconds=0.1)


# --- missing and damaged ---


def test_a_partial_ljspeech_goes_on_with_what_is_there(lj, cache, caplog):
    for path in (lj / "wavs").glob("LJ004*"):
        path.unlink()
    (lj / "wavs" / "LJ001-0002.wav").unlink()
    with caplog.at_level(logging.WARNING):
        (lj / "splits").mkdir()
        (lj / "splits" / "train.txt").write_text("LJ001-0001\nLJ001-0002\nLJ004-0001\n")
        train = load_speech(lj, "train", cache)
    assert train.ids == ["LJ001-0001"] and train.missing == 2 and "2 of 3 train clips" in caplog.text
    assert {id[:5] for id in load_speech(lj, "test", cache, split_by="chapters").ids} == {"LJ003"}
    (lj / "splits" / "test.txt").write_text("LJ004-0001\n")
    with pytest.raises(UserError, match="none of the 1 clips of the test split .* has audio"):
        load_speech(lj, "test", cache)
    shutil.rmtree(lj / "wavs")
    with pytest.raises(UserError, match="no audio in .*wavs for the 12 lines"):
        load_speech(lj, "train", cache)


def test_damaged_clips_are_collected_or_skipped(lj, cache, caplog):
    wavs = lj / "wavs"
    (wavs / "LJ001-0001.wav").write_text("no sound")
    (wavs / "LJ001-0002.wav").write_bytes(b"")
    soundfile.write(wavs / "LJ001-0003.wav", np.zeros(0), 22_050)
    whole = (wavs / "LJ002-0001.wav").read_bytes()
    (wavs / "LJ002-0001.wav").write_bytes(whole[: len(whole) // 2])
    bad = np.full(1000, np.nan, np.float32)
    soundfile.write(wavs / "LJ002-0002.wav", bad, 16_000, subtype="FLOAT")
    with pytest.raises(UserError) as caught:
        load_speech(lj, "train", cache)
    message = str(caught.value)
    assert "5 of 6 train clips" in message and "LJ001-0001" in message and "and 2 more" in message
    assert "--skip-damaged" in message and "\n" not in message and "no sound in it" in message
    assert not list(cache.glob("*.bin"))

    with caplog.at_level(logging.WARNING):
        clips = load_speech(lj, "train", cache, on_damaged="skip")
    assert clips.ids == ["LJ002-0003"] and list(clips.damaged) == [
        "LJ001-0001",
        "LJ001-0002",
        "LJ001-0003",
        "LJ002-0001",
        "LJ002-0002",
    ]
    assert clips.damaged["LJ002-0001"] == "cut short"
    assert clips.texts == ["Number 3, chapter 2"] and "5 of 6" in caplog.text
    np.testing.assert_array_equal(
        load_speech(lj, "train", cache, on_damaged="skip").samples(0), clips.samples(0)
    )
    with pytest.raises(UserError, match="5 of 6"):
        load_speech(lj, "train", cache)


def test_librispeech_without_audio_or_text_is_damage(tmp_path, cache):
    root = make_librispeech(tmp_path / "LibriSpeech")
    folder = root / "train-clean-100" / "19" / "198"
    (folder / "19-198-0000.flac").unlink()
    (folder / "19-198.trans.txt").write_text("19-198-0000 A\n19-198-0001\n")
    with pytest.raises(UserError, match="2 of 4 .*19-198-0000: no audio; 19-198-0001: no transcript"):
        load_speech(root, "train-clean-100", cache)
    clips = load_speech(root, "train-clean-100", cache, on_damaged="skip")
    assert clips.ids == ["26-198-0000", "26-198-0001"]
    for path in root.glob("*/*/*/*.flac"):
        path.unlink()
    with pytest.raises(UserError, match="none of the 2 clips of the test-clean split"):
        load_speech(root, "test-clean", cache, on_damaged="skip")


def test_cache_is_used_again_and_rebuilt_on_change(lj, cache):
    first = load_speech(lj, "train", cache)
    values = next(cache.glob("*-train.bin"))
    stamp = values.stat().st_mtime_ns
    (lj / "metadata.csv").write_text((lj / "metadata.csv").read_text().replace("Number 1, chapter 1", "One"))
    again = load_speech(lj, "train", cache)
    assert values.stat().st_mtime_ns == stamp and again.texts[0] == "One"  # texts are never from the cache
    soundfile.write(lj / "wavs" / "LJ001-0001.wav", tone(0.9, 22_050), 22_050)
    changed = load_speech(lj, "train", cache)
    assert changed.lengths[0] == pytest.approx(0.9 * 16_000, abs=2)
    np.testing.assert_array_equal(changed.samples(1), first.samples(1))
    values.write_bytes(values.read_bytes()[:-2])
    np.testing.assert_array_equal(load_speech(lj, "train", cache).samples(5), first.samples(5))


def test_a_cache_knows_its_set_and_the_version_of_each_file(tmp_path, cache):
    one, other = (make_ljspeech(tmp_path / name / "LJ", chapters=2, clips=1) for name in "ab")
    path = other / "wavs" / "LJ001-0001.wav"
    soundfile.write(path, -tone(0.4, 22_050), 22_050)  # as long as the one set's
    first, second = (load_speech(root, "train", cache).samples(0) for root in (one, other))
    np.testing.assert_allclose(first, -second, atol=2 / 32_768)
    stamp = {bin: bin.stat().st_mtime_ns for bin in cache.glob("*.bin")}
    assert len(stamp) == 2  # neither set has to pack its clips again because of the other
    load_speech(one, "train", cache)
    assert {bin: bin.stat().st_mtime_ns for bin in cache.glob("*.bin")} == stamp
    # recorded again, of the same length; then changed by a program that sets the old time
    soundfile.write(path, tone(0.4, 22_050, 300.0), 22_050)
    third = load_speech(other, "train", cache).samples(0)
    assert np.abs(third - second).max() > 0.5
    status = path.stat()
    soundfile.write(path, tone(0.4, 22_050, 200.0), 22_050)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert np.abs(load_speech(other, "train", cache).samples(0) - third).max() > 0.5


def test_ids_may_have_their_folder_and_suffix(tmp_path, cache):
    root = make_ljspeech(tmp_path / "own", chapters=2, clips=1)
    (root / "metadata.csv").write_text("wavs/LJ001-0001.wav|one\nLJ002-0001.WAV|two\n")
    assert load_speech(root, "train", cache).ids == ["LJ001-0001"]
    assert load_speech(root, "test", cache).texts == ["two"]
    (root / "metadata.csv").write_text("wavs\\LJ001-0001.wav|one\nLJ001-0001|again\n")
    with pytest.raises(UserError, match="csv:2 lists LJ001-0001 a second time"):
        load_speech(root, "train", cache)


def test_lists_are_read_in_the_encodings_of_editors_and_refused_in_others(tmp_path, cache):
    root = make_ljspeech(tmp_path / "own", chapters=2, clips=1)
    text = "LJ001-0001|caf\u00e9\nLJ002-0001|na\u00efve\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (root / "metadata.csv").write_bytes(text.encode(encoding))
        assert load_speech(root, "train", cache).texts == ["caf\u00e9"], encoding
    (root / "metadata.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"metadata\.csv:1 is not UTF-8"):
        load_speech(root, "train", cache)
    (root / "metadata.csv").write_text(text)
    (root / "splits").mkdir()
    for content, said in (
        (b"LJ001-0001\n\xe9\n", "train.txt:2 is not UTF-8"),
        (b"LJ\0001\n", "NUL"),
        (b"", "empty"),
    ):
        (root / "splits" / "train.txt").write_bytes(content)
        with pytest.raises(UserError, match=said):
            load_speech(root, "train", cache)
    (root / "splits" / "train.txt").write_bytes("LJ001-0001\n".encode("utf-16"))
    assert load_speech(root, "train", cache).ids == ["LJ001-0001"]


def test_librispeech_with_a_mark_a_duplicate_or_no_file(tmp_path, cache):
    root = make_librispeech(tmp_path / "LibriSpeech")
    listing = root / "test-clean" / "61" / "198" / "61-198.trans.txt"
    listing.write_bytes(b"\xef\xbb\xbf" + listing.read_bytes())
    assert load_speech(root, "test-clean", cache).ids == ["61-198-0000", "61-198-0001"]
    listing.write_text("61-198-0000 A\n61-198-0001 B\n61-198-0000 C\n")
    with pytest.raises(UserError, match=r"trans\.txt:3 lists 61-198-0000 a second time"):
        load_speech(root, "test-clean", cache)
    listing.unlink()
    listing.mkdir()
    with pytest.raises(UserError, match="cannot read .*trans.txt"):
        load_speech(root, "test-clean", cache)
    listing.rmdir()
    listing.symlink_to("nowhere")
    with pytest.raises(UserError, match="cannot read .*trans.txt"):
        load_speech(root, "test-clean", cache)


def test_folders_and_broken_links_are_no_recordings(lj, cache):
    path = lj / "wavs" / "LJ001-0001.wav"
    path.unlink()
    path.mkdir()
    (lj / "wavs" / "LJ001-0002.wav").unlink()
    (lj / "wavs" / "LJ001-0002.wav").symlink_to("nowhere")
    train = load_speech(lj, "train", cache)
    assert train.missing == 0 and "LJ001-0001" not in train.ids and len(train) == 4


@pytest.mark.parametrize("root", ["x" * 300, "a\0b"])
def test_roots_that_no_file_system_has(root, cache):
    with pytest.raises(UserError, match="speech set at"):
        load_speech(root, "train", cache)


@pytest.mark.parametrize(
    ("name", "rate"), [("a.opus", 48_000), ("a.aiff", 22_050), ("a.mp3", 22_050), ("a.flac", 44_101)]
)
def test_sound_cut_short_is_damage_in_every_format(tmp_path, cache, name, rate):
    root = make_ljspeech(tmp_path / "own", chapters=2, clips=1)
    (root / "wavs" / "LJ001-0001.wav").unlink()
    path = root / "wavs" / f"LJ001-0001{Path(name).suffix}"
    kind = {".opus": {"format": "OGG", "subtype": "OPUS"}}.get(path.suffix, {})
    soundfile.write(path, tone(1.0, rate), rate, **kind)
    assert load_speech(root, "train", cache).lengths[0] == pytest.approx(16_000, abs=3000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="LJ001-0001: cut short"):
        load_speech(root, "train", cache)


def test_random_damage_to_a_set_is_read_or_told_in_one_line(tmp_path, cache):
    root = make_ljspeech(tmp_path / "own", chapters=2, clips=2)
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("LJ001-0001\nLJ001-0002\n")
    rng = np.random.default_rng(0)
    files = [root / "metadata.csv", root / "splits" / "train.txt", root / "wavs" / "LJ001-0001.wav"]
    whole = {path: path.read_bytes() for path in files}
    told = 0
    for _ in range(25):
        path = files[rng.integers(len(files))]
        content = bytearray(whole[path])
        for _ in range(rng.integers(1, 5)):
            content[rng.integers(min(len(content), 120))] = rng.integers(256)
        path.write_bytes(content[: rng.integers(len(content))] if rng.random() < 0.3 else content)
        try:
            for on_damaged in ("skip", "error"):
                assert len(load_speech(root, "train", cache, on_damaged=on_damaged)) > 0
        except UserError as error:
            told += 1
            assert "\n" not in str(error)
        path.write_bytes(whole[path])
    assert 4 < told < 25


# --- the real sets ---


def test_real_ljspeech(realdata, tmp_path, cache):
    real, root = realdata / "speech" / "LJSpeech-1.1", tmp_path / "LJSpeech-1.1"
    (root / "wavs").mkdir(parents=True)
    os.symlink(real / "metadata.csv", root / "metadata.csv")
    os.symlink(real / "splits", root / "splits")
    kept = [path for path in (real / "wavs").iterdir() if path.stem.endswith("0") or path.suffix == ".wav"]
    for path in kept:
        os.symlink(path, root / "wavs" / path.name)
    train = load_speech(root, "train", cache)
    assert 40 < len(train) <= len(kept) and train.missing == 12_500 - len(train)
    chapters = load_speech(root, "train", cache, split_by="chapters")
    assert {id[:5] for id in chapters.ids} == {"LJ001"}
    index = chapters.ids.index("LJ001-0002")  # an original wav at 22.05 kHz
    assert chapters.texts[index] == "in being comparatively modern."
    assert chapters.lengths[index] / 16_000 == pytest.approx(41_885 / 22_050, abs=0.001)
    assert 0.01 < chapters.samples(index).std() < 0.3


def test_real_librispeech(realdata, tmp_path, cache):
    real, root = realdata / "speech" / "LibriSpeech", tmp_path / "LibriSpeech"
    (root / "test-clean").mkdir(parents=True)
    for reader in ("1089", "5683"):
        os.symlink(real / "test-clean" / reader, root / "test-clean" / reader)
    clips = load_speech(root, "test-clean", cache)
    assert set(clips.speakers) == {"1089", "5683"} and len(clips) > 10
    assert clips.ids[0] == "1089-134686-0000" and clips.texts[0].startswith("HE HOPED THERE WOULD BE STEW")
    assert 150 < clips.lengths.sum() / 16_000 < 220
