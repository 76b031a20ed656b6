"""An index is made once for a set and an encoder, and brought up to date where the set has changed.

Rows of pictures and captions that were encoded before are taken from the former index, or from the journal of a build
that was stopped.
"""

import glob
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from core.errors import UserError
from core.files import make_folder, read_json, write_json
from data.listing import Entry
from data.packed import DamagedItem, check_space, in_order, locked
from data.pictures import dimensions, read_square
from data.sampling import to_unit
from search.journal import Journal, Rows
from search.sources import Source, caption_key, content_mark, entry_key, list_entries, tree_mark
from search.storage import Column, Index, Picture, is_index, read_index, whole, write_index
from t2i.encoders.base import ConditionEncoder

VERSION = 1  # raised when the same encoder and picture would give another row
PICTURES_AT_ONCE, CAPTIONS_AT_ONCE = 32, 256
BLOCK = 65_536  # rows that are gathered at once
MOST_NAMED = 1000  # pictures that were left out, in the header

log = logging.getLogger(__name__)


def index_path(source: Source, encoder: str, given: Path | None = None) -> Path:
    """Where the index of a set and an encoder of this name lies: the file given, or in the folder given or the set's
    cache. Raises UserError where another file is in the way."""
    name = f"{source.root.resolve().name}-{source.split}-{encoder}.index"
    try:
        if given is None or given.is_dir():
            return (given or source.cache / "search") / name
        if given.exists() and not is_index(given):
            raise UserError(f"{given} is there and is no index; name another file or folder, or remove it")
    except OSError as error:  # a name that the system refuses
        raise UserError(f"no index at {str(given)[:100]}: {error.strerror}; name another file") from error
    return given


def find_index(source: Source, path: Path, checksum: str) -> Index | None:
    """The index at `path`, where it was made with the encoder of this checksum of the set as it is now."""
    index = read_index(path)
    if index is None or index.about["version"] != VERSION or index.about["encoder"]["sha256"] != checksum:
        return None
    tree = tree_mark(source)
    seen = path.with_name(f"{path.name}.seen")
    with suppress(UserError):
        if read_json(seen) == [index.about["mark"], tree]:
            return index
    if _mark(*list_entries(source)) != index.about["mark"]:
        return None
    with suppress(UserError):  # a folder that is read-only: the lists are read the next time too
        write_json(seen, [index.about["mark"], tree])
    return index


def _mark(entries: Sequence[Entry], missing: dict[str, str]) -> str:
    return content_mark([(entry_key(entry), entry.captions) for entry in entries], missing)


def build_index(source: Source, path: Path, encoder: ConditionEncoder, name: str) -> Index:
    """Make the index, or bring that at `path` up to date. name: of the encoder, which is in eval mode.

    Damaged pictures are left out and named in a warning. Raises UserError where none is left, where the encoder sees no
    pictures, or where the index cannot be written.
    """
    if not encoder.sees_images:
        raise UserError(
            f"{name} has no image encoder; name one that has: --encoder painted, real, or a folder"
        )
    make_folder(path.parent)
    with locked(path):
        if (index := find_index(source, path, encoder.checksum)) is not None:  # of another process, meanwhile
            return index
        try:
            return _build(source, path, encoder, name)
        except KeyboardInterrupt as stopped:
            raise type(stopped)("stopped; what is indexed is kept, the same command goes on") from stopped


@torch.inference_mode()
def _build(source: Source, path: Path, encoder: ConditionEncoder, name: str) -> Index:
    entries, missing = list_entries(source)
    width, texts = encoder.config.embedding, [text for entry in entries for text in entry.captions]
    check_space(path.parent, 8 * width * (len(entries) + len(texts)), "the index")
    stem = f".{path.name}.{encoder.checksum[:16]}-{VERSION}"
    pictures, captions = (
        Journal(path.with_name(f"{stem}.{of}.part"), width) for of in ("pictures", "captions")
    )
    for left in path.parent.glob(
        f".{glob.escape(path.name)}.*"
    ):  # of other encoders, and of writes that were killed
        if left not in (pictures.path, captions.path) and left.suffix != ".lock":
            left.unlink(missing_ok=True)
    former = _former(path, encoder.checksum)

    keys = np.array([entry_key(entry) for entry in entries], np.uint64)
    new = _missing(keys, [pictures.rows(), former[0]])
    _encode_pictures(encoder, [entries[i] for i in new], keys[new], pictures, f"indexing {source.name}")
    caption_keys = np.array([caption_key(text) for text in texts], np.uint64)
    new = _missing(caption_keys, [captions.rows(), former[1]])
    _encode_captions(encoder, [texts[i] for i in new], caption_keys[new], captions)

    found = [pictures.rows(), former[0]]
    sound = ~np.isnan(_gathered(found, keys, lambda rows: rows.vectors[:, 0]))
    damaged = {entries[i].name: _reason(entries[i]) for i in np.flatnonzero(~sound)[:MOST_NAMED]}
    if not sound.any():
        raise UserError(f"no usable picture is left in {source.name} ({'; '.join(damaged.values())[:200]})")
    counts = np.array([len(entry.captions) for entry in entries])
    kept, kept_captions = np.flatnonzero(sound), np.repeat(sound, counts)
    columns = _columns(source, [entries[i] for i in kept], counts[kept])
    columns |= {"picture_keys": whole(keys[kept]), "caption_keys": whole(caption_keys[kept_captions])}
    columns |= {
        "sizes": whole(_gathered(found, keys[kept], lambda rows: rows.sizes)),
        "pictures": _column(found, keys[kept], width),
        "captions": _column([captions.rows(), former[1]], caption_keys[kept_captions], width),
    }
    about = {
        "version": VERSION,
        "encoder": {"name": name, "sha256": encoder.checksum},
        "set": source.root.resolve().name,
        "split": source.split,
        "mark": _mark(entries, missing),
        "left_out": dict(list((missing | damaged).items())[:MOST_NAMED]),
    }
    write_index(path, about, columns)
    for journal in (pictures, captions):
        journal.path.unlink(missing_ok=True)
    if damaged:
        few = "; ".join(f"{name}: {reason}" for name, reason in list(damaged.items())[:3])
        log.warning(
            "%s of %s pictures of %s are damaged (%s); they are left out",
            (~sound).sum(), len(entries), source.name, few,
        )  # fmt: skip
    index = read_index(path)
    assert index is not None, path
    return index


def _former(path: Path, checksum: str) -> tuple[Rows, Rows]:
    """What the index at `path`, where it is of the same encoder, holds of pictures and captions."""
    index = read_index(path)
    if index is None or index.about["version"] != VERSION or index.about["encoder"]["sha256"] != checksum:
        nothing = Rows(np.empty(0, np.uint64), np.empty((0, 1), np.float32), np.empty((0, 2), np.int32))
        return nothing, nothing
    arrays = index.arrays
    return (
        Rows(arrays["picture_keys"], index.pictures, arrays["sizes"]),
        Rows(arrays["caption_keys"], index.captions, np.empty((0, 2), np.int32)),
    )


def _missing(keys: np.ndarray, found: Sequence[Rows]) -> np.ndarray:
    """The first place of every key that is in none of the rows."""
    _, first = np.unique(keys, return_index=True)
    first.sort()
    for rows in found:
        first = first[rows.find(keys[first]) < 0]
    return first


def _encode_pictures(
    encoder: ConditionEncoder, entries: Sequence[Entry], keys: np.ndarray, journal: Journal, label: str
) -> None:
    size, device = encoder.config.image_size, next(encoder.parameters()).device

    def decode(i: int) -> Any:
        file = entries[i].file
        assert file is not None
        return read_square(file.path, entries[i].box, size), dimensions(file.path)

    with _bar(len(entries), label, "picture") as bar, closing(in_order(decode, len(entries))) as decoded:
        for start in range(0, len(entries), PICTURES_AT_ONCE):
            items = list(islice(decoded, PICTURES_AT_ONCE))
            vectors = np.full((len(items), encoder.config.embedding), np.nan, np.float32)
            sizes = np.zeros((len(items), 2), np.int32)
            sound = [at for at, item in enumerate(items) if not isinstance(item, DamagedItem)]
            if sound:
                images = torch.from_numpy(np.stack([items[at][0] for at in sound])).to(device)
                vectors[sound] = unit(encoder.encode_images(to_unit(images))[1])
                sizes[sound] = [items[at][1] for at in sound]
            journal.append(keys[start : start + len(items)], vectors, sizes)
            bar.update(len(items))


def _encode_captions(
    encoder: ConditionEncoder, texts: Sequence[str], keys: np.ndarray, journal: Journal
) -> None:
    with _bar(len(texts), "indexing captions", "caption") as bar:
        for start in range(0, len(texts), CAPTIONS_AT_ONCE):
            some = texts[start : start + CAPTIONS_AT_ONCE]
            vectors = np.full((len(some), encoder.config.embedding), np.nan, np.float32)
            known = [at for at, text in enumerate(some) if encoder.known(text)]
            if known:
                vectors[known] = unit(encoder.encode([some[at] for at in known]).sentence)
            journal.append(keys[start : start + len(some)], vectors)
            bar.update(len(some))


def unit(features: torch.Tensor) -> np.ndarray:
    """(B, E) -> rows of length 1, float32."""
    return F.normalize(features.float(), dim=1, eps=1e-12).cpu().numpy()


def _bar(total: int, label: str, of: str) -> tqdm:
    return tqdm(
        total=total, desc=label, unit=of, mininterval=0.5, leave=False, disable=None if total else True
    )


def _gathered(found: Sequence[Rows], keys: np.ndarray, of: Callable[[Rows], np.ndarray]) -> np.ndarray:
    """A value of each key's row, from the first rows that have it."""
    values, at = [of(rows) for rows in found], [rows.find(keys) for rows in found]
    gathered = np.zeros((len(keys), *values[0].shape[1:]), values[0].dtype)
    for one, rows in reversed(list(zip(values, at, strict=True))):
        gathered[rows >= 0] = one[rows[rows >= 0]]
    return gathered


def _column(found: Sequence[Rows], keys: np.ndarray, width: int) -> Column:
    """The keys' rows; what is not a number becomes zeros, which are near to nothing."""

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(keys), BLOCK):
            yield np.nan_to_num(_gathered(found, keys[start : start + BLOCK], lambda rows: rows.vectors))

    return Column((len(keys), width), blocks())


def _columns(source: Source, entries: Sequence[Entry], counts: np.ndarray) -> dict[str, Column]:
    """What the index holds of pictures beside their rows."""

    def line(entry: Entry) -> bytes:
        assert entry.file is not None
        path = entry.file.path
        inside = path.is_relative_to(source.root)
        stored = path.relative_to(source.root).as_posix() if inside else str(path.absolute())
        return Picture(entry.name, stored, 0, 0, entry.box, entry.captions).line()

    lines = [line(entry) for entry in entries]
    starts = np.cumsum([0, *map(len, lines)]).astype(np.int64)
    picture_of = np.repeat(np.arange(len(entries), dtype=np.int32), counts)
    text = Column((int(starts[-1]),), (np.frombuffer(one, np.uint8) for one in lines))
    return {"lines": whole(starts), "picture_of": whole(picture_of), "text": text}


def _reason(entry: Entry) -> str:
    assert entry.file is not None
    try:
        read_square(entry.file.path, entry.box, 8)
    except DamagedItem as error:
        return str(error)
    return "it could not be read"
