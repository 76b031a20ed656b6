"""CUB-200-2011 and any set in its StackGAN / AttnGAN layout: photographs cut to their bird, ten captions each.

    <root>/CUB_200_2011/images/<class>/<name>.jpg           (.jpeg and .png too)
    <root>/CUB_200_2011/images.txt, bounding_boxes.txt      "id class/name.jpg", "id x y width height"
    <root>/text/<class>/<name>.txt                          one caption a line
    <root>/train|test/filenames.pickle, class_info.pickle   the split; without them every fourth class is for testing

Pictures are cropped and reduced once into a packed cache (data/packed.py); a batch is cut out of that.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import UserError
from data.pickles import load_pickle

SPLITS = ("train", "test")
SUFFIXES = (".jpg", ".jpeg", ".png")  # in order of preference
CAPTIONS = 10  # a picture


def check_layout(root: Path) -> None:
    needed = ("CUB_200_2011/images", "CUB_200_2011/images.txt", "CUB_200_2011/bounding_boxes.txt", "text")
    missing = [part for part in needed if not (root / part).exists()]
    if missing:
        hint = f" (did you mean {root.parent}?)" if root.name == "CUB_200_2011" else ""
        raise UserError(
            f"{root} has not the layout of CUB, {missing[0]} is missing{hint}; expected: CUB_200_2011/"
            "{images/<class>/<name>.jpg, images.txt, bounding_boxes.txt}, text/<class>/<name>.txt and, if the split "
            "is given, {train,test}/{filenames,class_info}.pickle"
        )


def read_split(root: Path, split: str) -> tuple[list[str], list[int]]:
    """Names "class/name" and class numbers of a split, in the order of its pickle.

    Where neither split has a pickle the split is made: pictures in the order of images.txt, every fourth class
    for testing, so that no class is in both.
    """
    has = [part for part in SPLITS if (root / part / "filenames.pickle").exists()]
    if not has:
        return _made_split(root, split)
    if split not in has:
        raise UserError(
            f"{root}/{split}/filenames.pickle is missing but {has[0]}/filenames.pickle is there; restore it, or remove "
            "both to have the split made"
        )
    path = root / split / "filenames.pickle"
    names = load_pickle(path)
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path} does not hold a list of names class/name; restore it")
    if not (root / split / "class_info.pickle").exists():
        return list(names), _class_numbers(names)
    path = root / split / "class_info.pickle"
    classes = load_pickle(path)
    try:
        ids = [int(number) for number in classes]
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} does not hold a list of class numbers; restore it") from error
    if len(ids) != len(names):
        raise UserError(
            f"{path} has {len(ids)} class numbers for {len(names)} names; restore both pickles of {split}"
        )
    return list(names), ids


def _made_split(root: Path, split: str) -> tuple[list[str], list[int]]:
    listed = list(_listed_names(root).values())
    if not listed:
        raise UserError(
            f"{root}/CUB_200_2011/images.txt lists no picture; expected lines of: id class/name.jpg"
        )
    numbers = _class_numbers(listed)
    classes = sorted(set(numbers))
    held_out = set(classes[3::4])
    chosen = [i for i, number in enumerate(numbers) if (number in held_out) == (split == "test")]
    if not chosen:
        raise UserError(f"{root} has {len(classes)} classes, 4 are needed to hold one out for testing")
    return [listed[i] for i in chosen], [numbers[i] for i in chosen]


def _class_numbers(names: Sequence[str]) -> list[int]:
    """The number that leads a class's folder ("001.Black_footed_Albatross"), or its place in alphabetical order."""
    folders = sorted({name.split("/")[0] for name in names})
    leads = {folder: re.match(r"(\d+)\.", folder) for folder in folders}
    number = {folder: int(lead[1]) for folder, lead in leads.items() if lead}
    if len(set(number.values())) < len(folders):
        number = {folder: i + 1 for i, folder in enumerate(folders)}
    return [number[name.split("/")[0]] for name in names]


def read_boxes(root: Path) -> dict[str, tuple[int, int, int, int]]:
    """Name -> box (x, y, width, height) in whole pixels, fractions cut off."""
    listed = _listed_names(root)
    path = root / "CUB_200_2011" / "bounding_boxes.txt"
    boxes = {}
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        try:
            x, y, w, h = (int(float(field)) for field in fields[1:])
        except (ValueError, OverflowError) as error:
            raise UserError(f'{path}:{number} is "{line[:60]}"; expected: id x y width height') from error
        if fields[0] in listed:
            boxes[listed[fields[0]]] = (x, y, w, h)
    return boxes


def _listed_names(root: Path) -> dict[str, str]:
    """images.txt as id -> name without its suffix."""
    path = root / "CUB_200_2011" / "images.txt"
    listed = {}
    for number, line in enumerate(_lines(path), 1):
        fields = line.split(maxsplit=1)
        if len(fields) != 2:
            raise UserError(f'{path}:{number} is "{line[:60]}"; expected: id class/name.jpg')
        name, suffix = os.path.splitext(fields[1])
        listed[fields[0]] = name if suffix.lower() in SUFFIXES else fields[1]
    return listed


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; restore it") from error
    return [line for line in text.split("\n") if line.strip()]


def find_files(images: Path, names: Sequence[str]) -> dict[str, tuple[Path, int]]:
    """Name -> (path, bytes) of the pictures that exist, from one listing per class."""
    found: dict[str, tuple[Path, int]] = {}
    for folder in sorted({os.path.dirname(name) for name in names}):
        try:
            entries = [entry for entry in os.scandir(images / folder) if entry.is_file()]
        except OSError:
            continue  # a class without its folder: each of its pictures is reported
        rank = {suffix: i for i, suffix in enumerate(SUFFIXES)}
        usable = []
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            if suffix.lower() in rank:
                usable.append((rank[suffix.lower()], entry.name, stem, entry))
        for _, _, stem, entry in sorted(usable, key=lambda one: one[:2], reverse=True):
            found[f"{folder}/{stem}" if folder else stem] = (Path(entry.path), entry.stat().st_size)
    return found


def read_captions(path: Path | str) -> list[str]:
    """The first ten usable lines of a caption file, as they were written.

    A pair of U+FFFD, the trace of a broken character, becomes a space, as in AttnGAN; lines without a word are passed
    over. The list is shorter than ten where the file is.
    """
    with open(path, "rb") as file:
        text = file.read().decode("utf-8", errors="replace")
    usable = []
    for line in text.split("\n"):
        line = line.rstrip("\r").replace("\ufffd\ufffd", " ")
        if re.search(r"\w", line):
            usable.append(line)
            if len(usable) == CAPTIONS:
                break
    return usable


def read_all_captions(text: Path, names: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Captions by name, and reasons by name for those that have not ten."""
    captions: dict[str, list[str]] = {}
    problems: dict[str, str] = {}
    for name in names:
        try:
            captions[name] = read_captions(f"{text}/{name}.txt")
        except OSError as error:
            problems[name] = f"no captions, {text.name}/{name}.txt: {error.strerror}"
            continue
        if len(captions[name]) < CAPTIONS:
            problems[name] = f"{len(captions[name])} captions in {text.name}/{name}.txt, {CAPTIONS} expected"
    return captions, problems


class CaptionsPickle(NamedTuple):
    """AttnGAN's captions.pickle: word numbers of every caption, ten a picture, and the words by number."""

    train: list[list[int]]
    test: list[list[int]]
    words: list[str]  # words[0] is "<end>", the padding


def read_captions_pickle(path: Path | str) -> CaptionsPickle:
    """Read AttnGAN's captions.pickle. Raises UserError where it is not one."""
    value: Any = load_pickle(path)
    if not isinstance(value, list | tuple) or len(value) != 4 or not isinstance(value[2], dict):
        expected = "[train captions, test captions, number to word, word to number]"
        raise UserError(f"{path} is not AttnGAN's captions.pickle; expected {expected}")
    train, test, by_number = value[0], value[1], value[2]
    if sorted(by_number) != list(range(len(by_number))):
        raise UserError(f"{path} does not number its {len(by_number)} words from 0 on; restore the file")
    return CaptionsPickle(train, test, [by_number[i] for i in range(len(by_number))])
