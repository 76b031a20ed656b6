"""Random damage to data sets: every set is read, or refused in one line; never a traceback, never much memory."""

import json
import pickle
import random
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_cub import make_set
from test_layouts import make_coco

from core.errors import UserError
from data.captioned_images import CaptionedImages, load_images
from data.embeddings import read_sentences

CASES = 70  # of each layout
ODD = [
    None,
    True,
    -1,
    2**70,
    1e308,
    float("nan"),
    "",
    "a\0b",
    "\udc80",
    "../../x",
    "x" * 5000,
    [],
    {},
    [[]],
    "1",
]


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def doubled(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    return content + rng.choice(lines) * rng.randint(1, 3)


def noise(content: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        [b"", rng.randbytes(200), b"[" * 50_000, b"\xff\xfe" + content, b"\0" * 99, content[::-1]]
    )


def recoded(content: bytes, rng: random.Random) -> bytes:
    return content.decode("utf-8", "replace").encode(
        rng.choice(["utf-16", "utf-16-le", "utf-8-sig", "utf-32"])
    )


def of_wrong_type(content: bytes, rng: random.Random) -> bytes:
    """One value in a JSON or pickle file is another; lines lose or gain a field."""
    for read, write in ((json.loads, lambda v: json.dumps(v).encode()), (pickle.loads, pickle.dumps)):
        try:
            value = read(content)
        except Exception:
            continue
        return write(replaced(value, rng))
    fields = content.split(b" ")
    fields[rng.randrange(len(fields))] = rng.choice(
        [b"", b"nan", b"1e999", b"-5", b"9" * 5000, b"a b", b"\x1b[31m"]
    )
    return b" ".join(fields)


def replaced(value: object, rng: random.Random) -> object:
    if rng.random() < 0.3 or not isinstance(value, list | dict) or not value:
        return rng.choice(ODD)
    keys = list(range(len(value))) if isinstance(value, list) else list(value)
    key = rng.choice(keys)
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[key] = replaced(copy[key], rng)  # type: ignore[index,call-overload]
    return copy


DAMAGE = [flipped, cut, doubled, noise, recoded, of_wrong_type]


def damaged(root: Path, rng: random.Random) -> dict[Path, bytes]:
    """Harm one to three files of a set; returns what they held."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    lists = [
        path for path in files if path.suffix in (".txt", ".json", ".pickle") and "text" not in path.parts
    ]
    held = {}
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(lists if rng.random() < 0.7 else files)
        if path in held:
            continue
        held[path] = path.read_bytes()
        path.unlink()
        choice = rng.random()
        if choice < 0.05:
            path.mkdir()
        elif choice < 0.1:
            path.symlink_to("nowhere")
        elif choice < 0.95:
            path.write_bytes(rng.choice(DAMAGE)(held[path], rng))
    return held


def restore(held: dict[Path, bytes]) -> None:
    for path, content in held.items():
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("layout", ["cub", "cub without pickles", "coco"])
def test_random_damage_is_read_or_refused_in_one_line(tmp_path, layout):
    make = {"coco": make_coco, "cub": make_set}.get(layout) or (lambda path: make_set(path, pickles=False))
    root = make(tmp_path / "set")
    rng = random.Random(layout)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for case in range(CASES):
        held = damaged(root, rng)
        try:
            images = load_images(root, "train", 8, tmp_path / "cache", rng.choice(["error", "skip"]))
            assert isinstance(images, CaptionedImages) and len(images) == len(images.captions) == len(
                images.class_ids
            )
            assert all(images.captions) and images.batch(range(len(images)), None).shape == (
                len(images),
                3,
                8,
                8,
            )
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 2000, case
            assert str(error).encode("utf-8"), case
        finally:
            restore(held)
    assert 10 < refused < CASES
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
    assert len(load_images(root, "train", 8, tmp_path / "cache")) >= 4


def test_random_damage_to_published_features(tmp_path):
    root = make_set(tmp_path / "set")
    for split in ("train", "test"):
        features = list(np.zeros((4, 10, 1024), np.float32))
        (root / split / "char-CNN-RNN-embeddings.pickle").write_bytes(pickle.dumps(features, protocol=2))
    texts, features = read_sentences(root)
    assert len(texts) == 80 and features.shape == (80, 1024)
    rng = random.Random(0)
    shutil.rmtree(root / "CUB_200_2011" / "images")
    for _ in range(40):
        held = damaged(root, rng)
        try:
            read_sentences(root)
        except UserError as error:
            assert "\n" not in str(error)
        finally:
            restore(held)
