"""COCO's layout: captions in JSON files, the pictures of each in a folder.

    <root>/annotations/captions_<split>.json    {"images": [{"id", "file_name"}, ...],
                                                 "annotations": [{"image_id", "caption"}, ...]}
    <root>/<split>/<file_name>                  or <root>/images/<split>/, <root>/images/

A split is named in full ("train2017") or by its beginning ("train"), where only one begins so; "test" is the validation
split where there are no captions for testing, as in COCO itself. There are no boxes and no classes.
"""

import json
import re
from pathlib import Path
from typing import Any

from core.errors import UserError, suggest
from data.files import File
from data.listing import Entry, Layout, Listing, find_pictures, without_suffix
from data.text_files import check_name, read_text


def fits(root: Path) -> bool:
    return bool(_files(root))


def splits(root: Path) -> list[str]:
    """The names in the files, and train and test."""
    return list(dict.fromkeys(["train", "test", *_files(root)]))


def read(root: Path, split: str) -> Listing:
    """One split. Raises UserError where its file is damaged, or where "train" or "test" may mean several."""
    name = _full_name(root, split)
    path = _files(root)[name]
    names, captions = read_annotations(path)
    files = _find_files(root, name, list(names.values()))
    return Listing([Entry(names[i], files.get(names[i]), captions[i]) for i in names], False, False)


LAYOUT = Layout("coco", "annotations/captions_<split>.json and <split>/<name>.jpg", fits, splits, read)


def _files(root: Path) -> dict[str, Path]:
    there = sorted((root / "annotations").glob("captions_*.json"))
    return {path.stem.removeprefix("captions_"): path for path in there}


def _full_name(root: Path, split: str) -> str:
    files = _files(root)
    if split in files:
        return split
    for beginning in (split, "val") if split == "test" else (split,):
        found = [name for name in files if name.startswith(beginning)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(
                f"{root}/annotations has {len(found)} splits that begin with {beginning}: {', '.join(found)}; "
                "move the files of all but one elsewhere"
            )
    raise UserError(
        f'no split "{split}" in {root}{suggest(split, files)}: annotations/ has captions of {", ".join(files)}'
    )


def read_annotations(path: Path) -> tuple[dict[Any, str], dict[Any, list[str]]]:
    """Names without their suffix, and captions, of the pictures of a captions_*.json, by the pictures' ids."""
    try:
        value = json.loads(read_text(path))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; restore it") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({str(error)[:80]}); restore it") from error
    expected = (
        'expected {"images": [{"id", "file_name"}, ...], "annotations": [{"image_id", "caption"}, ...]}'
    )
    if not isinstance(value, dict) or not all(
        isinstance(value.get(k), list) for k in ("images", "annotations")
    ):
        raise UserError(f"{path} is not COCO's captions; {expected}")
    names: dict[Any, str] = {}
    for image in value["images"]:
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
            raise UserError(f"{path} lists a picture without a file_name: {ascii(image)[:60]}; {expected}")
        name = without_suffix(check_name(image["file_name"], path))
        key = image.get("id")
        if not isinstance(key, int | str):
            raise UserError(f"{path} lists {name} without an id; {expected}")
        if key in names:
            raise UserError(f"{path} lists the picture {ascii(key)[:60]} twice; restore it")
        names[key] = name
    if not names:
        raise UserError(f"{path} lists no picture; {expected}")
    if len(set(names.values())) < len(names):
        raise UserError(f"{path} gives one file_name to several pictures; restore it")
    captions: dict[Any, list[str]] = {key: [] for key in names}
    for annotation in value["annotations"]:
        if not isinstance(annotation, dict) or not isinstance(annotation.get("caption"), str):
            raise UserError(
                f"{path} has an annotation without a caption: {ascii(annotation)[:60]}; {expected}"
            )
        key = annotation.get("image_id")
        if not isinstance(key, int | str) or key not in names:
            raise UserError(
                f"{path} has a caption of picture {ascii(key)[:60]}, which it does not list; restore it"
            )
        text = annotation["caption"].encode("utf-8", "replace").decode("utf-8")  # lone surrogates
        text = " ".join(text.split())  # some end in a line break
        if re.search(r"\w", text):
            captions[key].append(text)
    return names, captions


def _find_files(root: Path, split: str, names: list[str]) -> dict[str, File]:
    for folder in (root / split, root / "images" / split, root / "images", root):
        if found := find_pictures(folder, names).keys() & set(names):
            files = find_pictures(folder, names)
            return {name: files[name] for name in found}
    return {}
