"""The CUB reader: crop rule, captions, split, damage, cache."""

import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import UserError
from data.captioned_images import load_images
from data.cub import read_captions
from data.pictures import crop_box
from data.sampling import image_batch

CLASSES = ["001.Red_Bird", "002.Blue_Bird", "003.Green_Bird", "004.Grey_Bird"]


def make_set(root: Path, per_class: int = 2, pickles: bool = True) -> Path:
    """A CUB layout of four classes; classes 3 and 4 are the test split of the pickles."""
    cub = root / "CUB_200_2011"
    (cub / "images").mkdir(parents=True)
    names, boxes = [], []
    for c, folder in enumerate(CLASSES):
        (cub / "images" / folder).mkdir()
        (root / "text" / folder).mkdir(parents=True)
        for i in range(per_class):
            rng = np.random.default_rng([c, i])
            picture = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((80, 60))
            name = f"{folder}/Bird_{c}_{i}"
            picture.save(cub / "images" / f"{name}.jpg")
            lines = [f"caption {j} of a bird {c}." for j in range(10)]
            (root / "text" / f"{name}.txt").write_text("\n".join(lines) + "\n")
            names.append(name)
            boxes.append((10.0 + i, 5.0, 50.0, 40.0))
    (cub / "images.txt").write_text("".join(f"{i} {name}.jpg\n" for i, name in enumerate(names, 1)))
    (cub / "bounding_boxes.txt").write_text(
        "".join(f"{i} {x} {y} {w} {h}\n" for i, (x, y, w, h) in enumerate(boxes, 1))
    )
    if pickles:
        for split, chosen in (("train", CLASSES[:2]), ("test", CLASSES[2:])):
            part = [name for name in names if name.split("/")[0] in chosen]
            (root / split).mkdir()
            (root / split / "filenames.pickle").write_bytes(pickle.dumps(part, protocol=2))
            ids = [int(name[:3]) for name in part]
            (root / split / "class_info.pickle").write_bytes(pickle.dumps(ids, protocol=2))
    return root


@pytest.fixture
def birds_root(tmp_path) -> Path:
    return make_set(tmp_path / "set")


def picture_path(root: Path, name: str) -> Path:
    return root / "CUB_200_2011" / "images" / f"{name}.jpg"


def original_attngan(path: Path, box: tuple, size: int) -> Image.Image:
    """get_imgs of AttnGAN's datasets.py up to the random crop, written from the facts, with torchvision's Resize."""
    from torchvision.transforms import InterpolationMode, Resize

    image = Image.open(path).convert("RGB")
    width, height = image.size
    x, y, w, h = (int(v) for v in box)
    r = int(np.maximum(w, h) * 0.75)
    cx, cy = int((2 * x + w) / 2), int((2 * y + h) / 2)
    y1, y2 = np.maximum(0, cy - r), np.minimum(height, cy + r)
    x1, x2 = np.maximum(0, cx - r), np.minimum(width, cx + r)
    return Resize(int(size * 76 / 64), InterpolationMode.BILINEAR)(
        image.crop((int(x1), int(y1), int(x2), int(y2)))
    )


def test_crop_box_by_hand():
    assert crop_box((100, 100, 40, 30), 500, 500) == (90, 85, 150, 145)  # r 30, centre (120, 115)
    assert crop_box((0, 0, 41, 33), 500, 40) == (0, 0, 50, 40)  # r 30, centre (20, 16), clipped: not square
    assert crop_box((5, 5, 1, 1), 10, 10) == (5, 5, 5, 5)  # r 0


def test_read_as_attngan_does(birds_root, tmp_path):
    birds = load_images(birds_root, "train", 32, tmp_path / "cache")
    assert birds.names == [f"{CLASSES[c]}/Bird_{c}_{i}" for c in range(2) for i in range(2)]
    assert birds.class_ids.dtype == np.int64 and birds.class_ids.tolist() == [1, 1, 2, 2]
    assert len(birds) == 4 and birds.size == 32 and birds.damaged == {}
    assert birds.captions[2] == [f"caption {j} of a bird 1." for j in range(10)]
    for i, name in enumerate(birds.names):
        expected = np.asarray(original_attngan(picture_path(birds_root, name), (10 + i % 2, 5, 50, 40), 32))
        assert birds.pictures[i].shape[1:] == expected.shape[:2] and min(expected.shape[:2]) == 38
        np.testing.assert_array_equal(birds.pictures[i], expected.transpose(2, 0, 1))


def test_batch_is_a_function_of_indices_and_generator(birds_root, tmp_path):
    birds = load_images(birds_root, "train", 32, tmp_path / "cache")
    order = [3, 0, 0, 1] * 8
    first = birds.batch(order, np.random.default_rng([1, 2]))
    assert first.shape == (32, 3, 32, 32) and first.dtype == torch.uint8
    assert torch.equal(first, birds.batch(order, np.random.default_rng([1, 2])))
    assert not torch.equal(first, birds.batch(order, np.random.default_rng([1, 3])))

    crops = birds.batch([0] * 400, np.random.default_rng(0)).numpy()
    picture = birds.pictures[0]
    places, flips = set(), 0
    for crop in crops:  # each is a window of the picture, mirrored or not
        for flipped in (False, True):
            want = crop[:, :, ::-1] if flipped else crop
            hits = [
                (top, left)
                for top in range(picture.shape[1] - 31)
                for left in range(picture.shape[2] - 31)
                if picture[0, top, left] == want[0, 0, 0]
                and np.array_equal(picture[:, top : top + 32, left : left + 32], want)
            ]
            places.update(hits)
            flips += flipped and bool(hits)
    assert 150 < flips < 250
    rows, columns = ({place[axis] for place in places} for axis in (0, 1))
    assert rows == set(range(picture.shape[1] - 31)) and columns == set(range(picture.shape[2] - 31))


def test_centre_crop_without_generator(birds_root, tmp_path):
    birds = load_images(birds_root, "train", 32, tmp_path / "cache")
    _, H, W = birds.pictures[1].shape
    top, left = (H - 32) // 2, (W - 32) // 2
    want = birds.pictures[1][:, top : top + 32, left : left + 32]
    np.testing.assert_array_equal(birds.batch([1], None)[0].numpy(), want)
    assert birds.batch([], None).shape == (0, 3, 32, 32)

    crops = birds.batch([1] * 40, np.random.default_rng(0), random_crop=False).numpy()
    flips = [np.array_equal(crop, want[:, :, ::-1]) for crop in crops]
    assert 10 < sum(flips) < 30
    assert all(flip or np.array_equal(crop, want) for crop, flip in zip(crops, flips, strict=True))


def test_grey_cmyk_and_palette_become_rgb(birds_root, tmp_path):
    names = load_images(birds_root, "train", 16, tmp_path / "cache").names
    for name, mode in zip(names, ("L", "CMYK", "P", "RGBA"), strict=True):
        path = picture_path(birds_root, name)
        image = Image.open(path).convert(mode)
        if mode in ("P", "RGBA"):
            path.unlink()
            image.save(path.with_suffix(".png"))
        else:
            image.save(path)
    birds = load_images(birds_root, "train", 16, tmp_path / "cache")
    grey = birds.pictures[0]
    assert np.array_equal(grey[0], grey[1]) and np.array_equal(grey[0], grey[2])
    assert birds.batch(range(4), None).shape == (4, 3, 16, 16)


# --- captions ---


def test_captions_are_the_usable_lines_as_written(tmp_path):
    lines = ["A Red bird; it's small.", "", "...", "a bird\ufffd\ufffdwith wings"] + [
        f"line {i}" for i in range(20)
    ]
    (tmp_path / "a.txt").write_bytes("\r\n".join(lines).encode() + b"\nbad \xff byte")
    every = [
        "A Red bird; it's small.",
        "a bird with wings",
        *(f"line {i}" for i in range(20)),
        "bad \ufffd byte",
    ]
    assert read_captions(tmp_path / "a.txt") == every
    assert read_captions(tmp_path / "a.txt", 10) == every[:10]  # what published features are of


def test_any_number_of_captions_will_do(birds_root, tmp_path):
    (birds_root / "text" / f"{CLASSES[0]}/Bird_0_0.txt").write_text("only one\n")
    (birds_root / "text" / f"{CLASSES[0]}/Bird_0_1.txt").write_text(
        "\n".join(f"a bird {i}" for i in range(23))
    )
    images = load_images(birds_root, "train", 16, tmp_path / "cache")
    assert [len(captions) for captions in images.captions] == [1, 23, 10, 10]
    batch = image_batch(images, step=0, batch=4, seed=0, captions_per_image=3)
    assert len(batch.captions) == 12 and batch.captions.count("only one") == 3


def test_an_empty_caption_file_is_named_or_skipped(birds_root, tmp_path, caplog):
    name = f"{CLASSES[0]}/Bird_0_1"
    (birds_root / "text" / f"{name}.txt").write_text("...\n")
    with pytest.raises(
        UserError, match=rf"1 of 4 train pictures .*0 captions in text/{name}\.txt, one or more expected"
    ):
        load_images(birds_root, "train", 16, tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        birds = load_images(birds_root, "train", 16, tmp_path / "cache", on_damaged="skip")
    assert name not in birds.names and len(birds) == len(birds.captions) == len(birds.class_ids) == 3
    assert list(birds.damaged) == [name] and name in caplog.text


# --- damage ---


def test_damage_is_collected_over_the_whole_set(tmp_path, caplog):
    root = make_set(tmp_path / "set", per_class=4)
    names = load_images(root, "train", 16, tmp_path / "cache").names
    picture_path(root, names[0]).write_text("no image")
    picture_path(root, names[1]).unlink()
    cut = picture_path(root, names[2]).read_bytes()
    picture_path(root, names[2]).write_bytes(cut[: len(cut) // 2])
    (root / "text" / f"{names[3]}.txt").unlink()
    picture_path(root, names[4]).write_bytes(b"")
    with pytest.raises(UserError) as caught:
        load_images(root, "train", 16, tmp_path / "cache")
    message = str(caught.value)
    assert "5 of 8 train pictures" in message and "and 2 more" in message and "--skip-damaged" in message
    assert all(name in message for name in names[:3]) and "\n" not in message
    assert "not an image" in message and "no picture" in message and "truncated" in message

    with caplog.at_level(logging.WARNING):
        birds = load_images(root, "train", 16, tmp_path / "cache", on_damaged="skip")
    assert birds.names == names[5:] and list(birds.damaged) == names[:5]
    assert len([r for r in caplog.records if r.name == "data.packed"]) == 1 and "5 of 8" in caplog.text
    again = load_images(root, "train", 16, tmp_path / "cache", on_damaged="skip")
    assert again.names == names[5:] and again.damaged == birds.damaged
    assert torch.equal(again.batch([0, 1, 2], None), birds.batch([0, 1, 2], None))
    with pytest.raises(UserError, match="5 of 8"):  # the cache of the skipping run hides nothing
        load_images(root, "train", 16, tmp_path / "cache")


def test_nothing_left_is_an_error_even_when_skipping(birds_root, tmp_path):
    shutil.rmtree(birds_root / "CUB_200_2011" / "images")
    (birds_root / "CUB_200_2011" / "images").mkdir()
    with pytest.raises(UserError, match="no usable picture is left in the train split"):
        load_images(birds_root, "train", 16, tmp_path / "cache", on_damaged="skip")


def test_a_box_outside_its_picture_is_damage(birds_root, tmp_path):
    path = birds_root / "CUB_200_2011" / "bounding_boxes.txt"
    path.write_text(path.read_text().replace("1 10.0 5.0 50.0 40.0", "1 900.0 5.0 50.0 40.0", 1))
    with pytest.raises(UserError, match="outside the picture of 80x60"):
        load_images(birds_root, "train", 16, tmp_path / "cache")


def test_layout_and_lists(birds_root, tmp_path):
    cache = tmp_path / "cache"
    with pytest.raises(UserError, match="has not the layout of CUB.*expected: CUB_200_2011/") as caught:
        load_images(tmp_path / "nothing", "train", 16, cache)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="did you mean"):
        load_images(birds_root / "CUB_200_2011", "train", 16, cache)
    with pytest.raises(UserError, match='no split "trian".*did you mean "train"'):
        load_images(birds_root, "trian", 16, cache)
    with pytest.raises(UserError, match="at least 1"):
        load_images(birds_root, "train", 0, cache)
    boxes = birds_root / "CUB_200_2011" / "bounding_boxes.txt"
    boxes.write_text("1 10 nan 50 40\n")
    with pytest.raises(UserError, match=r"bounding_boxes\.txt:1 is .*expected: id x y width height"):
        load_images(birds_root, "train", 16, cache)
    boxes.write_text("1 10 5 50 40\n")
    with pytest.raises(UserError, match="3 of 4 .*no bounding box"):
        load_images(birds_root, "train", 16, cache)


# --- split ---


def test_split_is_made_where_the_pickles_are_absent(tmp_path):
    root = make_set(tmp_path / "set", pickles=False)
    train = load_images(root, "train", 16, tmp_path / "cache")
    test = load_images(root, "test", 16, tmp_path / "cache")
    assert set(train.class_ids) == {1, 2, 3} and set(test.class_ids) == {4}
    assert len(train) + len(test) == 8 and not set(train.names) & set(test.names)


def test_half_a_split_is_refused(birds_root, tmp_path):
    (birds_root / "test" / "filenames.pickle").unlink()
    assert len(load_images(birds_root, "train", 16, tmp_path / "cache")) == 4
    with pytest.raises(UserError, match="test/filenames.pickle is missing but train/filenames.pickle"):
        load_images(birds_root, "test", 16, tmp_path / "cache")


def test_class_numbers_must_fit_the_names(birds_root, tmp_path):
    path = birds_root / "train" / "class_info.pickle"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UserError, match="2 class numbers for 4 names"):
        load_images(birds_root, "train", 16, tmp_path / "cache")
    path.unlink()  # then the folders' numbers serve
    assert load_images(birds_root, "train", 16, tmp_path / "cache").class_ids.tolist() == [1, 1, 2, 2]


def test_a_pickle_with_code_is_refused(birds_root, tmp_path):
    (birds_root / "train" / "filenames.pickle").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UserError, match="was refused: the pickle calls for os.system"):
        load_images(birds_root, "train", 16, tmp_path / "cache")


# --- cache ---


def packed_at(cache: Path) -> int:
    return (cache / "train-16.bin").stat().st_mtime_ns


def test_cache_is_used_again_and_rebuilt_on_change(birds_root, tmp_path):
    cache = tmp_path / "cache"
    first = load_images(birds_root, "train", 16, cache)
    name = first.names[0]
    pixels = first.batch([0, 1, 2, 3], None)
    stamp = packed_at(cache)
    load_images(birds_root, "train", 16, cache)
    assert packed_at(cache) == stamp
    load_images(birds_root, "train", 20, cache)
    load_images(birds_root, "test", 16, cache)
    assert packed_at(cache) == stamp  # each size and split has its own

    Image.new("RGB", (80, 60), (255, 0, 0)).save(picture_path(birds_root, name))  # a changed picture
    changed = load_images(birds_root, "train", 16, cache)
    assert packed_at(cache) != stamp
    assert (changed.batch([0], None)[0, 0] > 250).all() and torch.equal(changed.batch([1], None), pixels[1:2])
    assert torch.equal(first.batch([0], None), pixels[:1])  # who had the old one open keeps it

    stamp = packed_at(cache)
    boxes = birds_root / "CUB_200_2011" / "bounding_boxes.txt"
    boxes.write_text(boxes.read_text().replace("2 11.0", "2 21.0", 1))  # a changed box
    load_images(birds_root, "train", 16, cache)
    assert packed_at(cache) != stamp


@pytest.mark.parametrize(
    "harm", ["truncated", "overwritten", "no values", "no index", "half an index", "another index"]
)
def test_a_harmed_cache_is_rebuilt(birds_root, tmp_path, harm):
    cache = tmp_path / "cache"
    pixels = load_images(birds_root, "train", 16, cache).batch([0, 1, 2, 3], None)
    values, index = cache / "train-16.bin", cache / "train-16.json"
    whole = values.read_bytes()
    if harm == "truncated":
        values.write_bytes(whole[:-7])
    elif harm == "overwritten":
        values.write_bytes(bytes(len(whole)))
    elif harm == "no values":
        values.unlink()
    elif harm == "no index":
        index.unlink()
    elif harm == "half an index":
        index.write_text(index.read_text()[:100])
    else:
        content = json.loads(index.read_text())
        content["shapes"] = content["shapes"][:-1]
        index.write_text(json.dumps(content))
    assert torch.equal(load_images(birds_root, "train", 16, cache).batch([0, 1, 2, 3], None), pixels)
    assert values.read_bytes() == whole


def test_a_kill_while_packing_leaves_no_half_cache(birds_root, tmp_path, root):
    cache = tmp_path / "cache"
    script = f"""
        import os, time, data.captioned_images as images
        read = images.read_picture
        def slow(path, *rest):
            if path.name.startswith("Bird_1"):
                os.write(1, b"packing\\n")  # whole, though several threads pack
                time.sleep(60)
            return read(path, *rest)
        images.read_picture = slow
        images.load_images({str(birds_root)!r}, "train", 16, {str(cache)!r})
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=root, stdout=subprocess.PIPE, env={**os.environ}
    )
    assert child.stdout is not None and child.stdout.readline().strip() == b"packing"
    time.sleep(0.1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (cache / "train-16.bin").exists() and not (cache / "train-16.json").exists()
    assert len(load_images(birds_root, "train", 16, cache)) == 4
    left = sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock"))
    assert left == ["train-16.bin", "train-16.json"]  # the killed process's part is gone too


def test_cache_travels_to_another_process(birds_root, tmp_path):
    birds = load_images(birds_root, "train", 16, tmp_path / "cache")
    sent = pickle.dumps(birds)
    assert len(sent) < 10_000  # the pictures are mapped there, not sent
    assert torch.equal(pickle.loads(sent).batch([0, 3], None), birds.batch([0, 3], None))


def test_cache_folder_that_cannot_be_made(birds_root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make the folder"):
        load_images(birds_root, "train", 16, tmp_path / "file" / "cache")


# --- the real set ---


def test_real_cub(realdata, tmp_path):
    """Four classes of the real set, with the published pickles cut down to them."""
    real, root = realdata / "birds", tmp_path / "birds"
    chosen = {
        "train": ["002.Laysan_Albatross", "012.Yellow_headed_Blackbird"],
        "test": ["001.Black_footed_Albatross"],
    }
    (root / "CUB_200_2011" / "images").mkdir(parents=True)
    (root / "text").mkdir()
    for name in ("images.txt", "bounding_boxes.txt"):
        os.symlink(real / "CUB_200_2011" / name, root / "CUB_200_2011" / name)
    for split, folders in chosen.items():
        for folder in folders:
            os.symlink(real / "CUB_200_2011" / "images" / folder, root / "CUB_200_2011" / "images" / folder)
            os.symlink(real / "text" / folder, root / "text" / folder)
        pairs = zip(
            pickle.loads((real / split / "filenames.pickle").read_bytes()),
            pickle.loads((real / split / "class_info.pickle").read_bytes()),
            strict=True,
        )
        kept = [(name, number) for name, number in pairs if name.split("/")[0] in folders]
        (root / split).mkdir()
        (root / split / "filenames.pickle").write_bytes(pickle.dumps([name for name, _ in kept], protocol=2))
        (root / split / "class_info.pickle").write_bytes(
            pickle.dumps([number for _, number in kept], protocol=2)
        )
    train = load_images(root, "train", 64, tmp_path / "cache")
    test = load_images(root, "test", 64, tmp_path / "cache")
    assert (len(train), len(test)) == (116, 60)
    assert set(train.class_ids) == {2, 12} and set(test.class_ids) == {1}
    assert all(len(captions) == 10 for captions in train.captions + test.captions)
    batch = train.batch(range(16), np.random.default_rng(0))
    assert batch.shape == (16, 3, 64, 64) and 60 < batch.float().mean() < 200
    with pytest.raises(UserError, match="8739 of 8855 train pictures"):
        (root / "train" / "filenames.pickle").write_bytes((real / "train" / "filenames.pickle").read_bytes())
        (root / "train" / "class_info.pickle").unlink()
        load_images(root, "train", 64, tmp_path / "cache")
