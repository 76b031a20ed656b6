"""CUB-200-2011's layout as StackGAN and AttnGAN use it, and sets that resemble it, such as Oxford-102.

    <root>/CUB_200_2011/images/<class>/<name>.jpg           (or <root>/images, <root>/jpg; .jpeg and .png too)
    <root>/CUB_200_2011/images.txt, bounding_boxes.txt      "id class/name.jpg", "id x y width height"; optional
    <root>/text/<class>/<name>.txt                          one caption a line, any number (or <root>/text_c10)
    <root>/train|test/filenames.pickle, class_info.pickle   the split; optional

Without pickles every fourth class is for testing. Pictures that lie in no class folders, and whose captions do not
either, have no classes; then every fourth picture is for testing. Without bounding_boxes.txt there are no boxes.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import UserError
from data.files import File
from data.listing import Box, Entry, Layout, Listing, find_pictures, without_suffix
from data.pickles import load_pickle
from data.text_files import check_name, read_lines, read_text

SPLITS = ("train", "test")
IMAGES = ("CUB_200_2011/images", "images", "jpg")
TEXTS = ("text", "text_c10")
FURTHEST = 10**6  # pixels of a box
TERMS = "CUB-200-2011's photographs are for non-commercial research and education only"


def fits(root: Path) -> bool:
    return (root / "CUB_200_2011").is_dir() or bool(_first(root, IMAGES) and _first(root, TEXTS))


def splits(root: Path) -> list[str]:
    return list(SPLITS)


def read(root: Path, split: str) -> Listing:
    """One split. Raises UserError where a list is damaged or something that is no option is missing."""
    text = _check_layout(root)
    names, class_ids = read_split(root, split)
    boxes = read_boxes(root)
    files = picture_files(images_folder(root), names)
    captions, problems = read_all_captions(text, names)
    entries = [
        Entry(
            name,
            files.get(name),
            captions.get(name, []),
            boxes.get(name) if boxes is not None else None,
            class_ids[i] if class_ids is not None else None,
            problems.get(name, ""),
        )
        for i, name in enumerate(names)
    ]
    return Listing(entries, boxes is not None, class_ids is not None)


LAYOUT = Layout(
    "cub",
    "CUB_200_2011/{images/<class>/<name>.jpg, images.txt, bounding_boxes.txt} (or images/, jpg/), "
    "text/<class>/<name>.txt and, if the split is given, {train,test}/{filenames,class_info}.pickle",
    fits,
    splits,
    read,
)


def has_terms(root: Path) -> bool:
    """Whether a set is CUB-200-2011 or a part of it: its pictures are named "001.A_Bird/A_Bird_0046_18.jpg"."""
    try:
        lines = read_lines(root / "CUB_200_2011" / "images.txt")
    except (UserError, OSError):
        return False
    named = [re.match(r"\d+ \d{3}\.([\w-]+)/([\w-]+)_\d{4}_\d+\.jpg", line) for _, line in lines]
    same = sum(bool(match) and match[1].lower() == match[2].lower() for match in named)  # type: ignore[index]
    return same > len(lines) / 2


def images_folder(root: Path) -> Path:
    return root / (_first(root, IMAGES) or IMAGES[0])


def lists_folder(root: Path) -> Path:
    return images_folder(root).parent


def _first(root: Path, names: Sequence[str]) -> str | None:
    return next((name for name in names if (root / name).is_dir()), None)


def _check_layout(root: Path) -> Path:
    """The folder of the captions."""
    text = _first(root, TEXTS)
    missing = [] if _first(root, IMAGES) else [IMAGES[0]]
    missing += [] if text else [TEXTS[0]]
    if missing:
        raise UserError(
            f"{root} has not the layout of CUB, {missing[0]} is missing; expected: {LAYOUT.expected}"
        )
    return root / str(text)


# --- the split ---------------------------------------------------------------------------------------------------


def read_split(root: Path, split: str) -> tuple[list[str], list[int] | None]:
    """Names "class/name" and class numbers of a split, in the order of its pickle; None where there are no classes.

    Where neither split has a pickle the split is made: pictures in the order of images.txt, every fourth class
    for testing, so that no class is in both; without classes every fourth picture.
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
    value = load_pickle(path)
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        raise UserError(f"{path} does not hold a list of names class/name; restore it")
    names = [_plain_name(name, path) for name in value]
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise UserError(f"{path} lists {twice} twice; restore it")
    if not (root / split / "class_info.pickle").exists():
        return names, _class_numbers(root, names)
    path = root / split / "class_info.pickle"
    classes = load_pickle(path)
    try:
        ids = [int(number) for number in classes]
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path} does not hold a list of class numbers; restore it") from error
    if len(ids) != len(names):
        raise UserError(
            f"{path} has {len(ids)} class numbers for {len(names)} names; restore both pickles of {split}"
        )
    if any(abs(number) >= 2**31 for number in ids):
        raise UserError(f"{path} holds class numbers of 2**31 and more; restore it")
    return names, ids


def _plain_name(name: str, listed_in: Path) -> str:
    """ "class/name" of a listed name that may have its suffix, backslashes, or the pictures' folder before it."""
    name = without_suffix(check_name(name, listed_in))
    for folder in IMAGES:
        name = name.removeprefix(f"{folder}/")
    return name


def _made_split(root: Path, split: str) -> tuple[list[str], list[int] | None]:
    listed_in = lists_folder(root) / "images.txt"
    if listed_in.exists():
        listed = list(listed_names(root).values())
    else:
        listed, listed_in = _names_in(images_folder(root)), images_folder(root)
    if not listed:
        raise UserError(f"{listed_in} lists no picture; expected lines of: id class/name.jpg")
    numbers = _class_numbers(root, listed)
    if numbers is None:
        chosen = [i for i in range(len(listed)) if (i % 4 == 3) == (split == "test")]
        if not chosen:
            raise UserError(f"{root} has {len(listed)} pictures, 4 are needed to hold one out for testing")
        return [listed[i] for i in chosen], None
    classes = sorted(set(numbers))
    held_out = set(classes[3::4])
    chosen = [i for i, number in enumerate(numbers) if (number in held_out) == (split == "test")]
    if not chosen:
        raise UserError(f"{root} has {len(classes)} classes, 4 are needed to hold one out for testing")
    return [listed[i] for i in chosen], [numbers[i] for i in chosen]


def _names_in(images: Path) -> list[str]:
    """The names of all pictures in a folder and its subfolders, in alphabetical order."""
    inside = [f"{folder.name}/x" for folder in images.iterdir() if folder.is_dir()]
    return sorted(check_name(name, images) for name in find_pictures(images, ["x", *inside]))


def _class_numbers(root: Path, names: Sequence[str]) -> list[int] | None:
    """The number in a class's folder ("001.Black_footed_Albatross", "class_00001"), or its place in alphabetical
    order; of pictures that lie in no folders, of the folders of their captions; None where those do not either."""
    folders = [os.path.dirname(name) for name in names]
    if not all(folders):
        texts = _caption_files(root / str(_first(root, TEXTS)), names)
        folders = [texts[name].parent.name if name in texts else "" for name in names]
        if not all(folders) or set(folders) <= set(TEXTS):
            return None
    found = sorted(set(folders))
    leads = {folder: re.match(r"(?:class_)?(\d{1,9})(?:\.|$)", folder) for folder in found}
    number = {folder: int(lead[1]) for folder, lead in leads.items() if lead}
    if len(set(number.values())) < len(found):
        number = {folder: i + 1 for i, folder in enumerate(found)}
    return [number[folder] for folder in folders]


# --- boxes and files ---------------------------------------------------------------------------------------------


def read_boxes(root: Path) -> dict[str, Box] | None:
    """Name -> box (x, y, width, height) in whole pixels, fractions cut off; None where the set has no boxes."""
    path = lists_folder(root) / "bounding_boxes.txt"
    if not path.exists():
        return None
    listed = listed_names(root)
    boxes: dict[str, Box] = {}
    seen: set[str] = set()
    for number, line in read_lines(path):
        fields = line.split()
        try:
            x, y, w, h = (int(float(field)) for field in fields[1:])
        except (ValueError, OverflowError) as error:
            raise UserError(f"{path}:{number} is {_shown(line)}; expected: id x y width height") from error
        if max(map(abs, (x, y, w, h))) > FURTHEST:
            raise UserError(f"{path}:{number} is {_shown(line)}, a box {FURTHEST} pixels away; restore it")
        if fields[0] in seen:
            raise UserError(f"{path}:{number} gives picture {fields[0]} a second box; remove one of them")
        seen.add(fields[0])
        if fields[0] in listed:
            boxes[listed[fields[0]]] = (x, y, w, h)
    return boxes


def listed_names(root: Path) -> dict[str, str]:
    """images.txt as id -> name without its suffix."""
    path = lists_folder(root) / "images.txt"
    listed: dict[str, str] = {}
    names: set[str] = set()
    for number, line in read_lines(path):
        fields = line.split(maxsplit=1)
        if len(fields) != 2:
            raise UserError(f"{path}:{number} is {_shown(line)}; expected: id class/name.jpg")
        name = _plain_name(fields[1].strip(), path)
        if fields[0] in listed or name in names:
            what = fields[0] if fields[0] in listed else name
            raise UserError(f"{path}:{number} lists {what} a second time; remove one of the lines")
        listed[fields[0]] = name
        names.add(name)
    return listed


def _shown(line: str) -> str:
    return f'"{line[:60]}"' if line.isprintable() else ascii(line[:60])


def picture_files(images: Path, names: Sequence[str]) -> dict[str, File]:
    found = find_pictures(images, names)
    if len(found) == 0 and any(
        "/" in name for name in names
    ):  # classes in the names, the pictures in one folder
        flat = find_pictures(images, ["x"])
        return {name: flat[stem] for name in names if (stem := os.path.basename(name)) in flat}
    return found


# --- captions ----------------------------------------------------------------------------------------------------


def read_captions(path: Path | str, most: int | None = None) -> list[str]:
    """The usable lines of a caption file, as they were written, at most the first `most`.

    A pair of U+FFFD, the trace of a broken character, becomes a space, as in AttnGAN; lines without a word are passed
    over. Raises OSError and ValueError as `read_text` does.
    """
    usable = []
    for line in read_text(path).split("\n"):
        line = line.rstrip("\r").replace("\ufffd\ufffd", " ")
        if re.search(r"\w", line):
            usable.append(line)
            if len(usable) == most:
                break
    return usable


def read_all_captions(
    text: Path, names: Sequence[str], most: int | None = None
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Captions by name, and reasons by name for those that have none, or fewer than `most` where that is given."""
    captions: dict[str, list[str]] = {}
    problems: dict[str, str] = {}
    files = _caption_files(text, names)
    for name in names:
        path = files.get(name, text / f"{name}.txt")
        where = path.relative_to(text.parent).as_posix()
        try:
            captions[name] = read_captions(path, most)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            problems[name] = f"no captions, {where}: {reason}"
            continue
        if len(captions[name]) < (most or 1):
            expected = f"{most} expected" if most else "one or more expected"
            problems[name] = f"{len(captions[name])} captions in {where}, {expected}"
    return captions, problems


def _caption_files(text: Path, names: Sequence[str]) -> dict[str, Path]:
    """Name -> caption file: text/<name>.txt, or for names without a class the file of that name in any class."""
    files = {name: text / f"{name}.txt" for name in names if "/" in name}
    if len(files) < len(names):
        there = {path.stem: path for path in (*text.glob("*/*.txt"), *text.glob("*.txt"))}
        files |= {name: there[name] for name in names if "/" not in name and name in there}
    return files


class CaptionsPickle(NamedTuple):
    """AttnGAN's captions.pickle: word numbers of every caption, ten a picture, and the words by number."""

    train: list[list[int]]
    test: list[list[int]]
    words: list[str]  # words[0] is "<end>", the padding


def read_captions_pickle(path: Path | str) -> CaptionsPickle:
    """Read AttnGAN's captions.pickle. Raises UserError where it is not one."""
    value: Any = load_pickle(path)
    expected = "[train captions, test captions, number to word, word to number]"
    if not isinstance(value, list | tuple) or len(value) != 4 or not isinstance(value[2], dict):
        raise UserError(f"{path} is not AttnGAN's captions.pickle; expected {expected}")
    train, test, by_number = value[0], value[1], value[2]
    if {type(key) for key in by_number} - {int} or sorted(by_number) != list(range(len(by_number))):
        raise UserError(f"{path} does not number its {len(by_number)} words from 0 on; restore the file")
    if not all(isinstance(word, str) for word in by_number.values()):
        raise UserError(f"{path} numbers things that are no words; expected {expected}")
    return CaptionsPickle(train, test, [by_number[i] for i in range(len(by_number))])
