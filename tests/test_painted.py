"""Painted birds and their captions: the colours are as told, the files as CUB's, and everything repeats."""

import csv
import hashlib
import multiprocessing
import os
import pickle
import re
import signal
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import UserError
from data import prepare
from data.captioned_images import load_images
from data.painted_birds import drawing as painted
from data.painted_birds.build import BirdSettings, ensure_painted_birds
from data.painted_birds.captions import MAX_WORDS, MIN_WORDS, write_caption, write_captions
from data.painted_birds.grammar import (
    BILLS,
    COLOURS,
    PARTS,
    Marks,
    mark_colour,
    named_colours,
    swap_colour,
    unnamed_parts,
    wrong_colours,
)
from data.painted_birds.scene import HEIGHT, POSES, WIDTH, make_scene
from data.painted_birds.settings import settings_of
from data.painted_birds.species import species_list, species_marks
from data.parallel import in_parallel
from data.pickles import load_pickle
from data.sampling import image_batch
from data.sets import read_parts

SMALL = {"train_species": 3, "train_pictures": 2, "test_species": 2, "test_pictures": 2}


def some_species(count: int) -> list[dict[str, str]]:
    return species_list(0, count, 1)[0]


# --- captions ---


def test_every_caption_says_exactly_what_it_names():
    rng = np.random.default_rng(0)
    counts: Counter = Counter()
    for i, colours in enumerate(some_species(300) * 10):
        text, named = write_caption(colours, species_marks(0, 0, i % 300), rng)
        assert named_colours(text) == named, text
        assert all(colours[part] == colour for part, colour in named.items()), text
        assert MIN_WORDS <= len(text.split()) <= MAX_WORDS, text
        counts[len(named)] += 1
    assert set(counts) == set(range(7))  # from vague to complete
    assert counts[3] + counts[4] + counts[5] > 0.7 * sum(counts.values())


def test_one_colour_word_is_swapped():
    assert (
        swap_colour("A red bird with a black head.", "body", "orange") == "An orange bird with a black head."
    )
    assert swap_colour("a red bird with black wings and tail", "tail", "blue") is None  # shares its word
    assert swap_colour("a red bird", "head", "blue") is None
    rng, swapped = np.random.default_rng(1), 0
    for colours in some_species(200):
        text, named = write_caption(colours, Marks(), rng)
        for part in named:
            other = "pink" if "pink" not in named.values() else "grey"
            if (edited := swap_colour(text, part, other)) is not None:
                assert named_colours(edited) == named | {part: other}, (text, edited)
                swapped += 1
    assert swapped > 500


def test_parts_of_which_a_sentence_says_nothing():
    assert unnamed_parts("a red bird with a long tail and two red and black wings") == [
        "head",
        "belly",
        "bill",
    ]
    assert unnamed_parts("this bird has a beak") == ["head", "body", "belly", "wings", "tail"]
    rng = np.random.default_rng(3)
    for colours in some_species(50):
        text, named = write_caption(colours, Marks(), rng)
        assert not set(unnamed_parts(text)) & named.keys(), text


def test_captions_of_a_picture_differ_and_repeat():
    colours = some_species(1)[0]
    captions = write_captions(colours, Marks(), np.random.default_rng(5))
    assert len(set(captions)) == 10
    assert captions == write_captions(colours, Marks(), np.random.default_rng(5))
    assert captions != write_captions(colours, Marks(), np.random.default_rng(6))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a red bird with black wings", {"body": "red", "wings": "black"}),
        ("yellow bill", {"bill": "yellow"}),
        ("THIS BIRD HAS WINGS THAT ARE BLACK AND HAS A WHITE BELLY", {"wings": "black", "belly": "white"}),
        ("a gray crown, a small pointy violet beak", {"head": "grey", "bill": "purple"}),
        ("the bird's back and tail are brown.", {"body": "brown", "tail": "brown"}),
        ("this bird is red and its wings are blue", {"body": "red", "wings": "blue"}),
        ("bird has brown body feathers, white breast feather, and brown beak",
         {"body": "brown", "belly": "white", "bill": "brown"}),
        ("a red bird on a green branch with black eyes and legs", {"body": "red"}),
        ("it is red on the head and black on the wings", {"head": "red", "wings": "black"}),
        ("a red headed bird", {"head": "red"}),
        ("a bird with red and blue wings", {}),  # no single colour is right
        ("a black and white bird with a black bill", {"bill": "black"}),
        ("a calm bird", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_free_text_is_read(text, named):
    assert named_colours(text) == named


def test_annotators_sentences_do_not_break_the_parser(realdata: Path):
    files = sorted((realdata / "birds" / "text").glob("*/*.txt"))[:200]
    assert files
    for file in files:
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            assert set(named_colours(line)) <= set(PARTS)


# --- species and pictures ---


def test_a_batch_may_have_several_captions_of_every_picture(tiny_world):
    birds = load_images(tiny_world / "painted_birds", "train", 32, tiny_world / "painted_birds" / "cache")
    one, three = (image_batch(birds, 5, 4, seed=1, captions_per_image=each) for each in (1, 3))
    assert (
        torch.equal(one.images, three.images)
        and three.captions[:4] == one.captions
        and len(three.captions) == 12
    )
    assert all(text in birds.captions[i] for text, i in zip(three.captions, [*one.indices] * 3, strict=True))


def test_species_are_distinct_and_colours_even():
    train, test = species_list(0, 800, 200)
    combinations = [tuple(species[part] for part in PARTS) for species in train + test]
    assert len(set(combinations)) == 1000
    for part in PARTS:
        counts = Counter(species[part] for species in train)
        assert set(counts) == set(COLOURS)
        assert min(counts.values()) > 0.6 * 800 / 11 and max(counts.values()) < 1.5 * 800 / 11
    # another number of training species changes no test species
    assert species_list(0, 10, 200)[1] == test
    assert species_list(1, 10, 200)[1] != test


def test_a_picture_is_a_function_of_seed_species_and_picture():
    colours = some_species(1)[0]
    scene = make_scene(0, 0, 3, 2)
    image, box = painted.draw(colours, scene)
    again, _ = painted.draw(colours, make_scene(0, 0, 3, 2))
    assert image.tobytes() == again.tobytes()
    assert box == painted.bounding_box(scene)
    others = [
        make_scene(1, 0, 3, 2),
        make_scene(0, 1, 3, 2),
        make_scene(0, 0, 4, 2),
        make_scene(0, 0, 3, 3),
    ]
    assert all(painted.draw(colours, other)[0].tobytes() != image.tobytes() for other in others)


def test_all_poses_both_ways_fill_the_usual_crop():
    seen = set()
    for picture in range(60):
        scene = make_scene(0, 0, 0, picture)
        seen.add((scene.pose, scene.faces_left))
        x, y, w, h = painted.bounding_box(scene)
        assert x >= 0 and y >= 0 and x + w <= WIDTH and y + h <= HEIGHT
        assert 100 <= max(w, h) <= 116
    assert len(seen) == 2 * len(POSES)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_seen_and_changes_nothing_but_itself(part):
    """Two birds that differ in one part differ in enough pixels to tell, and only within the bird."""
    base = {name: "grey" for name in PARTS}
    for picture in range(12):
        scene = make_scene(0, 0, 1, picture)
        one = np.asarray(painted.draw(base, scene)[0], np.int16)
        other = np.asarray(painted.draw(base | {part: "red"}, scene)[0], np.int16)
        changed = np.abs(one - other).max(axis=2) > 40
        # at 64 pixels a picture is reduced by 0.48, so this is two dozen pixels for the smallest part
        assert changed.sum() > 105, (part, scene.pose)
        x, y, w, h = painted.bounding_box(scene)
        rows, columns = np.nonzero(changed)
        assert x - 2 <= columns.min() and columns.max() <= x + w + 2
        if scene.pose != "swimming":  # its reflection is below
            assert y - 2 <= rows.min() and rows.max() <= y + h + 2


@pytest.mark.parametrize("mark", ["long_tail", "wing_bars", "eye_ring", "streaks", "crest", *BILLS[1:]])
def test_every_mark_is_seen(mark):
    colours = {part: COLOURS[i] for i, part in enumerate(PARTS)}
    for pose in POSES:
        scene = next(s for s in map(partial(make_scene, 0, 0, 1), range(99)) if s.pose == pose)
        scene = replace(scene, marks=Marks())
        marked = replace(scene, marks=Marks(bill=mark) if mark in BILLS else Marks(**{mark: True}))
        one, other = (np.asarray(painted.draw(colours, s)[0], np.int16) for s in (scene, marked))
        assert (np.abs(one - other).max(axis=2) > 30).sum() > 25, (mark, pose)


def test_captions_say_the_marks_that_are_there():
    rng, colours = np.random.default_rng(3), some_species(1)[0]
    plain = " ".join(write_captions(colours, Marks(), rng, 200))
    assert not any(word in plain for word in ("crest", "eyering", "wingbars", "streaked", "hooked", "long"))
    every = Marks("hooked", long_tail=True, wing_bars=True, eye_ring=True, streaks=True, crest=True)
    marked = " ".join(write_captions(colours, every, rng, 200))
    for words in (
        "a crest",
        f"a {mark_colour(colours['head'])} eyering",
        "two wingbars",
        "streaked",
        "hooked",
    ):
        assert words in marked
    assert f"short {colours['tail']} tail" in plain and f"long {colours['tail']} tail" in marked


def test_wrong_captions_are_wrong_in_a_colour():
    rng = np.random.default_rng(0)
    for i, colours in enumerate(some_species(200)):
        text, named = write_caption(colours, species_marks(0, 0, i), rng)
        wrong = wrong_colours(text, rng)
        if named:
            assert named_colours(wrong) != named and len(wrong.split()) == len(text.split()), (text, wrong)
            assert not re.search(r"\ba orange|\ban [^aeiou]", wrong), wrong
        else:
            assert wrong == text


@pytest.mark.parametrize("pose", POSES)
def test_a_larger_scale_is_the_same_picture(pose):
    """Reduced, it differs from the small one by details of less than a pixel only."""
    scene = next(s for s in map(partial(make_scene, 0, 0, 5), range(99)) if s.pose == pose)
    small, box = painted.draw(some_species(1)[0], scene)
    large, large_box = painted.draw(some_species(1)[0], scene, 2)
    assert large.size == (2 * WIDTH, 2 * HEIGHT)
    assert large_box == tuple(2 * side for side in box) == painted.bounding_box(scene, 2)
    difference = np.abs(np.asarray(large.reduce(2), np.int16) - np.asarray(small, np.int16))
    assert difference.mean() < 4 and np.median(difference) <= 2


def test_colours_stay_apart_in_every_light():
    """The median over the changed pixels of a wing is nearest to the named colour's own median."""
    means: dict[str, list[np.ndarray]] = {colour: [] for colour in COLOURS}
    base = {part: "grey" for part in PARTS}
    for picture in range(8):
        scene = make_scene(0, 0, 2, picture)
        grey = np.asarray(painted.draw(base | {"wings": "black"}, scene)[0], np.int16)
        red = np.asarray(painted.draw(base | {"wings": "white"}, scene)[0], np.int16)
        where = np.abs(grey - red).max(axis=2) > 80
        for colour in COLOURS:
            image = np.asarray(painted.draw(base | {"wings": colour}, scene)[0], np.float32)
            means[colour].append(np.median(image[where], axis=0))
    centres = {colour: np.mean(values, axis=0) for colour, values in means.items()}
    for colour, values in means.items():
        for value in values:
            assert min(COLOURS, key=lambda c: float(((centres[c] - value) ** 2).sum())) == colour


# --- the set on disk ---


def checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "cache" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def birds(tmp_path_factory) -> Path:
    return ensure_painted_birds(tmp_path_factory.mktemp("datasets"), settings=SMALL)


def test_the_set_has_the_layout_of_cub(birds: Path, tmp_path: Path):
    for split, species, pictures in (("train", 3, 2), ("test", 2, 2)):
        loaded = load_images(birds, split, 64, tmp_path)
        assert len(loaded) == species * pictures
        assert len(set(loaded.class_ids.tolist())) == species
        assert all(len(captions) == 10 for captions in loaded.captions)
        batch = loaded.batch(range(len(loaded)), None)
        assert tuple(batch.shape) == (species * pictures, 3, 64, 64)
        assert (birds / split / "filenames.pickle").read_bytes()[:2] == b"\x80\x02"
        names = load_pickle(birds / split / "filenames.pickle")
        assert names == pickle.loads((birds / split / "filenames.pickle").read_bytes()) == loaded.names
    with open(birds / "parts.csv", newline="") as file:
        truth = {row["name"]: row for row in csv.DictReader(file)}
    assert len(truth) == 10
    for split in ("train", "test"):
        loaded = load_images(birds, split, 64, tmp_path)
        for name, captions in zip(loaded.names, loaded.captions, strict=True):
            for caption in captions:
                assert all(truth[name][part] == colour for part, colour in named_colours(caption).items())
    with Image.open(next((birds / "CUB_200_2011" / "images").glob("*/*.jpg"))) as image:
        assert image.size == (WIDTH, HEIGHT)


def test_only_what_is_missing_is_made_and_comes_out_the_same(birds: Path):
    before = checksums(birds)
    pictures = sorted((birds / "CUB_200_2011" / "images").glob("*/*.jpg"))
    kept = pictures[1].stat().st_mtime_ns
    pictures[0].unlink()
    (birds / "text" / pictures[2].parent.name / f"{pictures[2].stem}.txt").unlink()
    (birds / "test" / "class_info.pickle").unlink()
    ensure_painted_birds(birds.parent)
    assert checksums(birds) == before
    assert pictures[1].stat().st_mtime_ns == kept
    when = {path: path.stat().st_mtime_ns for path in birds.rglob("*")}
    ensure_painted_birds(birds.parent, ("test",))
    assert {path: path.stat().st_mtime_ns for path in birds.rglob("*")} == when


def test_a_split_made_alone_is_the_same(birds: Path, tmp_path: Path):
    alone = ensure_painted_birds(tmp_path, ("test",), SMALL)
    assert not (alone / "train").exists()
    assert len(load_images(alone, "test", 64, tmp_path / "cache")) == 4
    whole, part = checksums(birds), checksums(alone)
    same = [name for name in part if name.endswith((".jpg", ".pickle")) or name.startswith("text")]
    assert len(same) == 4 + 4 + 2
    assert all(part[name] == whole[name] for name in same)
    ensure_painted_birds(tmp_path)  # the rest, with the settings of what is there
    assert checksums(alone) == whole


# --- the command ---


def run(arguments: list[str], capsys) -> str:
    prepare.main(arguments)
    return capsys.readouterr().out


def test_the_command_makes_and_reads(birds: Path, capsys):
    out = run(["painted_birds", "--root", str(birds.parent), "--size", "64"], capsys)
    assert "train: 6 pictures of 3 classes" in out and "test: 4 pictures of 2 classes" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["painted_bird"], 'no data set "painted_bird".*did you mean "painted_birds"'),
        (["painted_birds", "--splits", "tset"], 'no split "tset".*did you mean "test"'),
        (["painted_birds", "--train-species", "7"], "made with train_species 3, 7 is asked for"),
        (["painted_birds", "--seed", "-1"], "seed is -1"),
        (["painted_birds", "--val", "3"], "--val is no option of painted_birds"),
        (["painted_birds", "--source", "x"], "--source is for sets that are read"),
        (
            ["painted_birds", "--train-species", "100000000"],
            "train_species is 100000000; it must be at most 50,000",
        ),
        (["painted_birds", "--train-pictures", "1001"], "train_pictures is 1001; it must be at most 1,000"),
        (["painted_birds", "--size", "10000"], "at most 2048"),
        (
            ["spoken_captions", "--train", "1000000000000"],
            "train is 1000000000000; it must be at most 50,000",
        ),
        (["cub", "--source", "nowhere"], "no folder nowhere"),
        (["cub", "--seed", "3"], "--seed is for sets that are made"),
    ],
)
def test_mistakes_are_answered_in_one_line(birds: Path, arguments, message):
    with pytest.raises(UserError, match=message) as error:
        prepare.main([*arguments, "--root", str(birds.parent)])
    assert "\n" not in str(error.value)


def test_a_root_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make the folder"):
        prepare.main(["painted_birds", "--root", str(tmp_path / "file" / "datasets")])
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(UserError, match="cannot make the folder"):
            prepare.main(["painted_birds", "--root", str(tmp_path / "locked")])


def test_another_version_is_refused(tmp_path: Path, monkeypatch):
    ensure_painted_birds(tmp_path, ("test",), SMALL)
    monkeypatch.setattr(painted, "VERSION", painted.VERSION + 1)
    settings = BirdSettings(version=painted.VERSION)
    with pytest.raises(UserError, match="was made by version"):
        settings_of(tmp_path / "painted_birds", settings, None)


def test_too_many_pictures_are_told_with_their_time_and_size(tmp_path: Path):
    asked = {"train_species": 50_000, "train_pictures": 1000, "scale": 2}
    with pytest.raises(
        UserError, match=r"50,001,000 pictures would take about 4,200 GB and 1,667 hours of a core"
    ):
        ensure_painted_birds(tmp_path, settings=asked)
    assert not (tmp_path / "painted_birds").exists()


def test_what_a_killed_process_left_among_the_pictures_is_removed(birds: Path):
    before = checksums(birds)
    picture = min((birds / "CUB_200_2011" / "images").glob("*/*.jpg"))
    left = [
        picture.with_name(f".{picture.name}.abcd_123"),
        birds / "text" / picture.parent.name / f".{picture.stem}.txt.00000000",
        birds / ".parts.csv.zzzzzzzz",
    ]
    for path in left:
        path.write_bytes(b"half")
    in_cache = birds / "cache" / ".train-16.bin.abcd1234"  # perhaps of a process that is packing now
    in_cache.parent.mkdir(exist_ok=True)
    in_cache.write_bytes(b"")
    picture.unlink()
    ensure_painted_birds(birds.parent)
    assert checksums(birds) == before and in_cache.exists()
    in_cache.unlink()


def die_at_three(task: int) -> None:
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)


def test_a_worker_that_is_killed_is_told_in_one_line_and_nothing_hangs():
    with pytest.raises(UserError, match="counting: a worker process was killed, .*the same command goes on"):
        in_parallel(die_at_three, range(4000), "counting", [1] * 4000, "bird")
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"seed": "x"}', '{"seed": -5}', '{"train_species": 1e99}', "null"]
)
def test_damaged_settings_are_refused(tmp_path: Path, content):
    (tmp_path / "painted_birds").mkdir()
    (tmp_path / "painted_birds" / "settings.json").write_text(content)
    with pytest.raises(UserError, match="settings.json"):
        ensure_painted_birds(tmp_path)


def test_true_colours_that_are_damaged(birds: Path, tmp_path: Path):
    assert len(read_parts(birds)) == 10
    content = (birds / "parts.csv").read_text()
    for damage in (content.replace("head", "hat"), content[:-9], "", content.replace(",", ";")):
        (tmp_path / "parts.csv").write_text(damage)
        with pytest.raises(UserError, match="parts.csv is damaged"):
            read_parts(tmp_path)
