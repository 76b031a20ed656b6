"""Sets of speech joined: clips in order, speakers told apart, readers of validation never those of training."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.errors import UserError
from data.speech import load_speech, read_clip
from data.speech_layouts import list_clips
from data.speech_mix import (
    SpeechMix,
    check_speakers_apart,
    choose_clips,
    is_validation_reader,
    shared_speakers,
)


def write_clip(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(round(16_000 * seconds), 0.25), 16_000)


def librispeech(root: Path, readers: dict[str, list[str]]) -> Path:
    for subset, names in readers.items():
        for reader in names:
            folder = root / subset / reader / "1"
            for i in range(2):
                write_clip(folder / f"{reader}-1-{i:04d}.flac", 0.5)
            (folder / f"{reader}-1.trans.txt").write_text(
                "".join(f"{reader}-1-{i:04d} {subset} {reader} {i}\n" for i in range(2))
            )
    return root


def ljspeech(root: Path, ids: list[str], splits: dict[str, list[str]]) -> Path:
    for i, id in enumerate(ids):
        write_clip(root / "wavs" / f"{id}.wav", 0.5 + 0.1 * i)
    (root / "metadata.csv").write_text("".join(f"{id}|text of {id}\n" for id in ids))
    (root / "splits").mkdir()
    for split, of in splits.items():
        (root / "splits" / f"{split}.txt").write_text("\n".join(of))
    return root


def test_a_mix_reads_as_its_parts_do(tmp_path):
    libri = librispeech(tmp_path / "LibriSpeech", {"train": ["a", "b"]})
    own = ljspeech(tmp_path / "own", ["x1-1", "x1-2", "x1-3"], {"train": ["x1-1", "x1-3"]})
    first, second = (load_speech(root, "train", tmp_path / "cache") for root in (libri, own))
    mix = SpeechMix(
        [
            choose_clips(libri, "train", first, leave_out=["b-*"]),
            choose_clips(own, "train", second, weight=3.0),
        ]
    )
    assert mix.ids == [
        "LibriSpeech/train/a-1-0000", "LibriSpeech/train/a-1-0001", "own/train/x1-1", "own/train/x1-3",
    ]  # fmt: skip
    assert mix.texts == ["train a 0", "train a 1", "text of x1-1", "text of x1-3"]
    assert mix.speakers == ["LibriSpeech:a", "LibriSpeech:a", "own:x", "own:x"]
    assert mix.lengths.tolist() == [8000, 8000, 8000, 11200] and len(mix) == 4
    assert mix.part_of.tolist() == [0, 0, 1, 1] and mix.weights.tolist() == [1, 1, 3, 3]
    assert [len(mix.samples(i)) for i in range(4)] == mix.lengths.tolist()
    np.testing.assert_array_equal(mix.samples(3), second.samples(1))


def test_one_set_twice_keeps_ids_apart(tmp_path):
    own = ljspeech(tmp_path / "own", ["x1-1"], {"train": ["x1-1"]})
    speech = load_speech(own, "train", tmp_path / "cache")
    part = choose_clips(own, "train", speech)
    assert len(set(SpeechMix([part, part]).ids)) == 2


def test_clips_are_chosen_by_reader_and_id(tmp_path):
    names = [str(i) for i in range(60)]
    root = librispeech(tmp_path / "LibriSpeech", {"train": names})
    speech = load_speech(root, "train", tmp_path / "cache")
    chosen = {
        readers: SpeechMix([choose_clips(root, "train", speech, readers=readers)])  # type: ignore[arg-type]
        for readers in ("all", "train", "val")
    }
    assert not shared_speakers(chosen["train"], chosen["val"])
    assert sorted(chosen["train"].ids + chosen["val"].ids) == sorted(chosen["all"].ids)
    assert {s.split(":")[1] for s in chosen["val"].speakers} == {n for n in names if is_validation_reader(n)}
    only = choose_clips(root, "train", speech, only=["7-*", "8-*"], leave_out=["*-0001"])
    assert [speech.ids[i] for i in only.clips] == ["7-1-0000", "8-1-0000"]
    with pytest.raises(UserError, match=r"none of the 120 clips of LibriSpeech/train is left with .*nobody"):
        choose_clips(root, "train", speech, only=["nobody"])


def test_the_readers_of_validation_stay_the_same():
    assert [
        name for name in ("103", "1034", "163", "19", "26", "2136", "3664") if is_validation_reader(name)
    ] == [
        "2136",
        "3664",
    ]
    assert 0.03 < np.mean([is_validation_reader(str(i)) for i in range(10_000)]) < 0.07


def test_a_speaker_of_training_among_unseen_ones_is_refused(tmp_path):
    root = librispeech(tmp_path / "LibriSpeech", {"train": ["a", "b"], "dev": ["b", "c"], "test": ["d"]})
    mixes = {
        split: SpeechMix([choose_clips(root, split, load_speech(root, split, tmp_path / "cache"))])
        for split in ("train", "dev", "test")
    }
    check_speakers_apart(mixes["train"], mixes["test"], "test")
    with pytest.raises(UserError, match="1 speakers of dev are in training too .*LibriSpeech:b.*readers=val"):
        check_speakers_apart(mixes["train"], mixes["dev"], "dev")
    # one reader's whole set: the texts are unseen, the reader is not
    own = ljspeech(tmp_path / "own", ["x1-1", "x1-2"], {"train": ["x1-1"], "test": ["x1-2"]})
    train, test = (
        SpeechMix([choose_clips(own, split, load_speech(own, split, tmp_path / "cache"))])
        for split in ("train", "test")
    )
    assert shared_speakers(train, test) == ["own:x"]
    check_speakers_apart(train, test, "test")


def test_who_speaks_is_read_beside_metadata(tmp_path):
    root = ljspeech(tmp_path / "own", ["v-1", "v-2", "v-3"], {"train": ["v-1", "v-2", "v-3"]})

    def speakers() -> list[str]:
        return [clip.speaker for clip in list_clips(root, "train", "auto", "auto")[1]]

    assert speakers() == ["v"] * 3
    (root / "readers.tsv").write_text(
        "id\tgender\tage\taccent\nv-1\tmale\t\tus\nv-2\t\t\t\nv-3\tmale\t\tus\n"
    )
    assert speakers() == ["male us", "v-2", "male us"]
    (root / "speakers.csv").write_text("v-1|kokoro:af_sky\nv-2|flite:slt\n")
    assert speakers() == ["kokoro:af_sky", "flite:slt", "v"]
    shutil.move(root / "speakers.csv", root / "old")
    (root / "readers.tsv").write_text("clip\tname\n")
    with pytest.raises(UserError, match=r"readers\.tsv has no columns id, gender, age, accent"):
        speakers()


# --- the real recordings ---

REAL = {  # set, split -> clips, speakers
    ("LJSpeech-1.1", "test"): (500, 1),
    ("LibriSpeech", "train-clean-100"): (245, 245),
    ("LibriSpeech", "train-clean-5"): (1519, 28),
    ("LibriSpeech", "test-clean"): (250, 20),
    ("CommonVoice-v1-dev", "train"): (2919, None),
    ("CommonVoice-v1-dev", "val"): (84, None),
    ("CommonVoice-v1-dev", "test"): (239, None),
    ("speechocean762", "train"): (None, 200),
    ("speechocean762", "test"): (None, 20),
}


@pytest.fixture(scope="module")
def listed(realdata) -> dict:
    return {
        (name, split): list_clips(realdata / "speech" / name, split, "auto", "auto")[1]
        for name, split in REAL
    }


@pytest.mark.parametrize("key", REAL)
def test_the_real_sets_are_listed_and_can_be_read(listed, key):
    clips, (count, speakers) = listed[key], REAL[key]
    assert count in (None, len(clips)) and speakers in (None, len({clip.speaker for clip in clips}))
    with_sound = [clip for clip in clips if clip.audio]
    assert len(with_sound) == (16 if key[0] == "LJSpeech-1.1" else len(clips))
    for clip in (with_sound[0], with_sound[-1]):
        samples = read_clip(clip.audio.path, 40.0)
        letters = len(clip.text.replace(" ", ""))
        assert 3 < letters / (len(samples) / 16_000) < 25 and np.abs(samples).max() > 300


def test_real_readers_of_training_validation_and_test_differ(listed):
    of = {key: {clip.speaker for clip in clips} for key, clips in listed.items()}
    libri_train = of["LibriSpeech", "train-clean-100"] | of["LibriSpeech", "train-clean-5"]
    held_out = {reader for reader in libri_train if is_validation_reader(reader)}
    assert not libri_train & of["LibriSpeech", "test-clean"]
    assert len(held_out) == 9 and len(held_out & of["LibriSpeech", "train-clean-5"]) == 2
    assert not of["speechocean762", "train"] & of["speechocean762", "test"]
    voices = [of["CommonVoice-v1-dev", split] for split in ("train", "val", "test")]
    assert not (voices[0] & voices[1] or voices[0] & voices[2] or voices[1] & voices[2])
