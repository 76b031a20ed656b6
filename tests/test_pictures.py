"""Decoding of pictures: no other program, no memory without bound, upright, and nothing from under transparency."""

import os
import pickle
import resource
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cub import CLASSES, make_set, picture_path

from core.errors import UserError
from data.captioned_images import load_images
from data.packed import DamagedItem
from data.pictures import MOST_PIXELS, centre_square, read_picture

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 80 70\n%%EndComments\n{} loop\n"


def test_postscript_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(EPS)
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a program was started"))
    with pytest.raises(DamagedItem, match="not an image"):
        read_picture(tmp_path / "a.jpg", (0, 0, 80, 70), 16)


@pytest.mark.parametrize("format", ["BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_only_jpeg_and_png_are_read(tmp_path, format):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.jpg", format)
    with pytest.raises(DamagedItem, match=r"not an image \(JPEG or PNG\)"):
        read_picture(tmp_path / "a.jpg", None, 16)


def test_a_long_part_is_refused_before_it_is_resized(tmp_path):
    Image.new("L", (1, 20000)).save(tmp_path / "a.png")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedItem, match="1x20000 pixels is over 8 times as long"):
        read_picture(tmp_path / "a.png", (0, 0, 1, 20000), 128)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    assert read_picture(tmp_path / "a.png", None, 16).shape == (3, 19, 19)  # its centre square is one pixel


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    Image.new("1", (8, 8)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = struct.pack(">II", 30_000, 9_000)  # its header promises 0.27 gigapixels
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(
        DamagedItem, match=f"30000x9000 pixels, at most {MOST_PIXELS // 10**6} million|exceeds limit"
    ):
        read_picture(tmp_path / "a.png", None, 16)


def test_hidden_colour_under_transparency_is_white(tmp_path):
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[..., 0] = 255  # red, of which only the upper half can be seen
    pixels[:10, :, 3] = 255
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    seen = read_picture(tmp_path / "a.png", None, 16)
    assert seen[:, 2].tolist() == [[255] * 19, [0] * 19, [0] * 19] and (seen[:, -2] == 255).all()
    palette = Image.fromarray(pixels[..., :3]).convert("P")
    palette.save(tmp_path / "b.png", transparency=palette.getpixel((0, 0)))
    assert (read_picture(tmp_path / "b.png", None, 16) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright_before_they_are_cut(tmp_path, orientation):
    """The box is of the picture as a viewer shows it."""
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[5:15, 10:20] = 250
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright), 7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    cut = read_picture(tmp_path / "a.png", (11, 6, 6, 6), 16)  # within the white square
    assert cut.shape == (3, 19, 19) and (cut > 240).all()


def test_sixteen_bits_are_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    seen = read_picture(tmp_path / "a.png", None, 16)
    assert seen[0, 0].mean() < 20 and 100 < seen.mean() < 155


def test_centre_square():
    assert centre_square(50, 30) == (10, 0, 40, 30) and centre_square(3, 8) == (0, 2, 3, 5)


# --- lists and captions ---


@pytest.fixture
def birds(tmp_path) -> Path:
    return make_set(tmp_path / "set")


def edit(birds: Path, name: str, change) -> None:
    path = birds / "CUB_200_2011" / name
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_and_captions_with_a_byte_order_mark(birds, tmp_path, encoding):
    before = load_images(birds, "train", 16, tmp_path / "cache")
    for path in (*birds.rglob("*.txt"),):
        path.write_text(path.read_text(), encoding=encoding)
    after = load_images(birds, "train", 16, tmp_path / "cache")
    assert after.captions == before.captions and after.names == before.names


def test_utf16_without_a_mark_is_refused(birds, tmp_path):
    path = birds / "text" / CLASSES[0] / "Bird_0_0.txt"
    path.write_bytes(path.read_text().encode("utf-16-le"))
    with pytest.raises(UserError, match="1 of 4 .*Bird_0_0.txt: NUL characters in it; save it as UTF-8"):
        load_images(birds, "train", 16, tmp_path / "cache")
    edit(birds, "images.txt", lambda content: content.decode().encode("utf-16-be"))
    with pytest.raises(UserError, match=r"images\.txt: NUL characters"):
        load_images(birds, "train", 16, tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("images.txt", lambda c: c.replace(b"2 ", b"1 ", 1), "images.txt:2 lists 1 a second time"),
        ("images.txt", lambda c: c + c.splitlines()[0].replace(b"1 ", b"99 ", 1), "a second time"),
        ("bounding_boxes.txt", lambda c: c + b"1 0 0 9 9\n", "gives picture 1 a second box"),
        ("bounding_boxes.txt", lambda c: c.replace(b"50.0", b"1e300", 1), "boxes.txt:1 is .*pixels away"),
        ("images.txt", lambda c: c.replace(b"001.Red_Bird/", b"../x/", 1), "which leads out of the set"),
        ("images.txt", lambda c: c.replace(b"Bird_0_0", b"Bi\x1brd", 1), r"Bi\\x1brd.*which is no file name"),
        ("images.txt", lambda c: c.replace(b"Bird_0_0", b"B" * 2000, 1), "a name of 2017 characters"),
    ],
)
def test_a_list_with_one_wrong_line(birds, tmp_path, name, change, message):
    edit(birds, name, change)
    with pytest.raises(UserError, match=message) as caught:
        load_images(birds, "train", 16, tmp_path / "cache")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "names", [["001.Red_Bird/a\0b"], ["001.Red_Bird/a\udc80"], ["/etc/x"], ["a/b", "a/b"]]
)
def test_names_in_pickles_are_checked(birds, tmp_path, names):
    (birds / "train" / "filenames.pickle").write_bytes(pickle.dumps(names))
    with pytest.raises(UserError, match="no file name|leads out|lists a/b twice") as caught:
        load_images(birds, "train", 16, tmp_path / "cache")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", [[float("inf")] * 4, [10**30] * 4, [None] * 4, 7])
def test_class_numbers_that_are_none(birds, tmp_path, value):
    (birds / "train" / "class_info.pickle").write_bytes(pickle.dumps(value))
    with pytest.raises(UserError, match="class_info.pickle"):
        load_images(birds, "train", 16, tmp_path / "cache")


def test_a_class_of_five_thousand_digits(tmp_path):
    root = make_set(tmp_path / "set", pickles=False)
    lists = (root / "CUB_200_2011" / "images.txt").read_bytes()
    edit(root, "images.txt", lambda c: lists + b"99 " + b"9" * 240 + b".x/a.jpg\n")
    assert set(load_images(root, "train", 16, tmp_path / "cache", on_damaged="skip").class_ids) <= set(
        range(1, 6)
    )
    edit(root, "images.txt", lambda c: lists + b"99 " + b"9" * 5000 + b".x/a.jpg\n")
    with pytest.raises(UserError, match="a name of 5008 characters"):
        load_images(root, "train", 16, tmp_path / "cache")


@pytest.mark.parametrize("size", [10_000, 2**40])
def test_sizes_have_a_bound(birds, tmp_path, size):
    with pytest.raises(UserError, match="at most 2048"):
        load_images(birds, "train", size, tmp_path / "cache")


def test_a_root_of_three_hundred_characters(tmp_path):
    with pytest.raises(UserError, match="File name too long|too long"):
        load_images(tmp_path / ("x" * 300), "train", 16, tmp_path / "cache")


# --- caches ---


def test_a_picture_changed_within_its_bytes_is_read_anew(birds, tmp_path):
    path = picture_path(birds, f"{CLASSES[0]}/Bird_0_0").with_suffix(".png")
    path.with_suffix(".jpg").unlink()
    for value in (10, 200):
        pixels = np.full((30, 30, 3), value, np.uint8)
        Image.fromarray(pixels).save(path, compress_level=0)  # of the same length
        assert (load_images(birds, "train", 16, tmp_path / "cache").batch([0], None) == value).all()


def test_another_set_does_not_get_the_cache_of_the_first(birds, tmp_path):
    other = make_set(tmp_path / "other")
    pixels = load_images(birds, "train", 16, tmp_path / "cache").batch([0], None)
    path = picture_path(other, f"{CLASSES[0]}/Bird_0_0")
    Image.new("RGB", (80, 60), (0, 255, 0)).save(path)
    os.truncate(path, path.stat().st_size)  # whatever its length
    assert not (load_images(other, "train", 16, tmp_path / "cache").batch([0], None) == pixels).all()


@pytest.mark.parametrize(
    "change",
    [
        '"kept": [0',
        '"kept": [9',
        '"shapes": [[3',
        '"shapes": [[-3',
        '"shapes": [[1e400',
        '"bytes": ',
        '"bytes": 1',
    ],
)
def test_an_edited_index_is_packed_anew(birds, tmp_path, change):
    cache = tmp_path / "cache"
    pixels = load_images(birds, "train", 16, cache).batch([0, 1, 2, 3], None)
    index = cache / "train-16.json"
    key = change.split(":")[0]
    whole = index.read_text()
    at = whole.index(key)
    index.write_text(whole[:at] + change + whole[at + len(change) :])
    assert (load_images(birds, "train", 16, cache).batch([0, 1, 2, 3], None) == pixels).all()
    index.write_text("[" * 100_000)
    assert (load_images(birds, "train", 16, cache).batch([0, 1, 2, 3], None) == pixels).all()


def test_a_disk_too_small_is_told_before_packing(birds, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 500))
    with pytest.raises(UserError, match="packing train pictures at 64 px needs .* MB, 0.0 MB are free"):
        load_images(birds, "train", 64, tmp_path / "cache")
