"""Voices: the same bytes in any process and any order, files as LJSpeech's, training and test kept apart."""

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.errors import UserError
from data.painted_birds import recordings, voices
from data.painted_birds.grammar import PARTS, Marks, named_colours
from data.painted_birds.recordings import ensure_spoken_captions
from data.painted_birds.species import species_list
from data.speech import load_speech

SMALL = {"train_species": 20, "test_species": 10, "train": 6, "val": 2, "test": 3, "test_voices": 3}


def test_voices_are_many_and_kept_apart():
    assert len(set(voices.TRAIN_VOICES)) >= 16 and len(set(voices.TEST_VOICES)) >= 6
    assert not set(voices.TRAIN_VOICES) & set(voices.TEST_VOICES)


@pytest.mark.parametrize("voice", voices.TRAIN_VOICES + voices.TEST_VOICES)
def test_every_voice_speaks(voice):
    samples, rate = voices.synthesize("a red bird with black wings", voice)
    assert rate == 22050 and samples.dtype == np.int16
    assert 0.8 < len(samples) / rate < 4
    assert np.abs(samples).max() > 2000


def test_rate_pitch_and_voice_are_heard():
    text = "this bird has a white belly and a black crown"
    plain, _ = voices.synthesize(text, "en-us+m3", 160, 50)
    fast, _ = voices.synthesize(text, "en-us+m3", 200, 50)
    high, _ = voices.synthesize(text, "en-us+m3", 160, 70)
    other, _ = voices.synthesize(text, "en-us+f1", 160, 50)
    assert len(fast) < 0.92 * len(plain)
    assert high.tobytes() != plain.tobytes() != other.tobytes()


def test_threads_take_turns():
    words = ["a red bird", "a blue bird", "white wings", "a grey tail"] * 2
    alone = [voices.synthesize(text, "en-us+m3")[0].tobytes() for text in words]
    with ThreadPoolExecutor(4) as pool:
        assert [
            s.tobytes() for s, _ in pool.map(lambda text: voices.synthesize(text, "en-us+m3"), words)
        ] == alone


@pytest.mark.parametrize("text", ["a\0b", "a \udcff bird"])
def test_texts_that_cannot_be_spoken(text):
    with pytest.raises(UserError, match="cannot speak"):
        voices.synthesize(text, "en-us+m3")


@pytest.mark.parametrize("voice", ["en-us+nobody", "en-atlantis", "xx+f1"])
def test_an_unknown_voice_is_named(voice):
    with pytest.raises(UserError, match=voice.replace("+", r"\+")):
        voices.synthesize("a bird", voice)


SPEAK_ALL = """
import hashlib, json, sys
from data.painted_birds import voices
names = list(voices.TRAIN_VOICES + voices.TEST_VOICES)
order = names[::-1] if sys.argv[1] == "backwards" else names
sums = {}
for name in order:
    i = names.index(name)
    samples, _ = voices.synthesize("a small bird with a gray breast", name, 120 + 2 * i, 30 + i)
    sums[name] = hashlib.sha256(samples.tobytes()).hexdigest()
print(json.dumps(sums))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only here is the library known to unload wholly")
def test_bytes_are_the_same_in_another_process_and_order(root: Path):
    runs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", SPEAK_ALL, order],
                cwd=root, env={"PYTHONPATH": str(root), "MALLOC_PERTURB_": perturb}, check=True, capture_output=True,
            ).stdout
        )
        for order, perturb in (("forwards", "0"), ("backwards", "85"))
    ]  # fmt: skip
    assert len(runs[0]) == len(voices.TRAIN_VOICES + voices.TEST_VOICES)
    assert runs[0] == runs[1]


def test_sentences_of_training_are_not_met_again():
    train, test = ([(colours, Marks()) for colours in split] for split in species_list(0, 200, 50))
    heard = {voices.clip(0, "train", i, train).text.strip(".") for i in range(100)}
    assert not any(map(voices.is_held_out, heard))
    for split, species in (("val", train), ("test", test), ("test_voices", test)):
        clips = [voices.clip(0, split, i, species) for i in range(40)]
        assert not heard & {clip.text.strip(".") for clip in clips}
        # captions are so many that none would be met again by chance: how they are divided is asked, too
        assert all(voices.is_held_out(clip.text) for clip in clips)
        assert all(voices.is_held_out(f"{clip.text.upper()}!") for clip in clips)
        assert any(named_colours(clip.text) for clip in clips)
        expected = voices.TEST_VOICES if split == "test_voices" else voices.TRAIN_VOICES
        assert {clip.voice for clip in clips} <= set(expected)
    assert voices.clip(0, "train", 7, train) == voices.clip(0, "train", 7, train)
    assert voices.clip(0, "train", 7, train) != voices.clip(1, "train", 7, train)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> Path:
    return ensure_spoken_captions(tmp_path_factory.mktemp("datasets"), settings=SMALL)


def checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "cache" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_set_has_the_layout_of_ljspeech(spoken: Path, tmp_path: Path):
    texts = dict(line.split("|")[:2] for line in (spoken / "metadata.csv").read_text().splitlines())
    speakers = dict(line.split("|") for line in (spoken / "speakers.csv").read_text().splitlines())
    assert len(texts) == len(speakers) == 14
    for split, count in (("train", 6), ("val", 2), ("test", 3), ("test_voices", 3)):
        clips = load_speech(spoken, split, tmp_path)
        assert len(clips) == count
        for i, id in enumerate(clips.ids):
            assert clips.texts[i] == texts[id]
            assert np.abs(clips.samples(i)).max() > 0.2
            assert (speakers[id] in voices.TEST_VOICES) == (split == "test_voices")
    info = soundfile.info(next((spoken / "wavs").iterdir()))
    assert (info.samplerate, info.channels, info.subtype, info.format) == (22050, 1, "PCM_16", "FLAC")


def test_only_what_is_missing_is_made_and_comes_out_the_same(spoken: Path, tmp_path: Path):
    before = checksums(spoken)
    clips = sorted((spoken / "wavs").iterdir())
    kept = clips[1].stat().st_mtime_ns
    clips[0].unlink()
    (spoken / "splits" / "val.txt").unlink()
    ensure_spoken_captions(spoken.parent)
    assert checksums(spoken) == before
    assert clips[1].stat().st_mtime_ns == kept
    alone = ensure_spoken_captions(tmp_path, ("test",), SMALL)
    wavs = {name: checksum for name, checksum in checksums(alone).items() if name.startswith("wavs")}
    assert len(wavs) == 3 and all(before[name] == checksum for name, checksum in wavs.items())


def test_a_missing_library_is_a_users_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match="pip install espeakng-loader"):
        voices.synthesize("a bird", "en-us+m3")


def test_another_engine_that_is_not_there_is_asked_for(monkeypatch, tmp_path):
    from recipes import flite_captions

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no program flite on the PATH; install it"):
        flite_captions.main()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_while_captions_are_spoken(tmp_path, monkeypatch):
    """libsndfile would say "System error."; the line names the file and the reason."""

    def full(path, content):
        raise UserError(
            f"cannot write {path}: No space left on device; free some space or choose another path"
        )

    monkeypatch.setattr("data.synthesis.clips.write_bytes", full)
    clip = voices.clip(0, "train", 0, [({part: "red" for part in PARTS}, Marks())])
    with pytest.raises(UserError, match="a.flac: No space left on device"):
        recordings._record_clip((tmp_path / "a.flac", clip))
    assert list(tmp_path.iterdir()) == []
