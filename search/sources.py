"""The pictures that an index is made of: what a set lists, and whether anything there has changed since."""

import hashlib
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import UserError
from data.layouts import find_layout
from data.listing import Entry, Listing
from data.packed import cache_folder
from data.plain_folder import is_plain, read_plain

ALL = "all"  # the split that holds every other
SUFFIXES = (".index", ".usearch", ".seen", ".part")  # of what this room writes


class Source(NamedTuple):
    """A set and which part of it is searched; cache: where its index lies unless told, which is no part of the set."""

    root: Path
    split: str
    cache: Path

    @property
    def name(self) -> str:
        """For lines: "datasets/cub (test)", or the folder alone where all of it is searched."""
        return str(self.root) if self.split == ALL else f"{self.root} ({self.split})"

    def path_of(self, stored: str) -> str:
        """A picture's path from what the index holds, which is relative to a set that may be moved."""
        return stored if os.path.isabs(stored) else os.path.join(self.root, stored)


def open_source(root: Path | str, split: str | None = None) -> Source:
    """The set in a folder. split: one of its splits, "all" of them, or None for "test"; a folder of pictures in no
    layout has "all" only.

    Raises UserError for a folder without pictures, or a split that such a folder has not.
    """
    root = Path(root)
    cache = cache_folder(root)
    try:
        plain = is_plain(root, cache)
    except OSError as error:
        raise UserError(f"cannot read {root}: {error.strerror}; choose another folder") from error
    if plain and split not in (None, ALL):
        raise UserError(f"{root} is a folder of pictures without splits; leave out --split {split}")
    return Source(root, split or (ALL if plain else "test"), cache)


def list_entries(source: Source) -> tuple[list[Entry], dict[str, str]]:
    """The pictures that are there, and name -> reason of those that the set lists and that are not.

    Raises UserError where a list of the set is damaged or it has no such split.
    """
    listing = _listing(source)
    there = [entry for entry in listing.entries if entry.file is not None]
    missing = {entry.name: "no picture" for entry in listing.entries if entry.file is None}
    if not there:
        raise UserError(f"no picture is left in {source.name}; restore the set")
    return there, missing


def _listing(source: Source) -> Listing:
    from data.captioned_images import read_split

    if source.split != ALL:
        return read_split(source.root, source.split)
    if is_plain(source.root, source.cache):
        return read_plain(source.root, source.cache)
    found: dict[str, Entry] = {}  # COCO's splits have short names too
    failure: UserError | None = None
    for split in find_layout(source.root).splits(source.root):
        try:
            found |= {entry.name: entry for entry in read_split(source.root, split).entries}
        except UserError as error:  # of painted birds or COCO, one split may be all that is there
            failure = failure or error
    if not found and failure:
        raise failure
    return Listing(list(found.values()), has_boxes=False, has_classes=False)


def tree_mark(source: Source) -> str:
    """SHA-256 of the name, size and time of every file of a set, but for its cache and what this room writes.

    Where it is the same as before nothing needs to be read, not even the lists.
    """
    digest = hashlib.sha256()
    left_out = os.path.realpath(source.cache)
    waiting, seen, inside = [str(source.root)], set(), len(str(source.root))
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real == left_out or real in seen:  # links may go round in a circle
            continue
        seen.add(real)
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name[0] == "." or entry.name.endswith(SUFFIXES):
                    continue
                with suppress(OSError):  # a broken link
                    status = entry.stat()
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(entry.path)
                    else:
                        line = f"{entry.path[inside:]}\0{status.st_size}\0{status.st_mtime_ns}\n"
                        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def entry_key(entry: Entry) -> int:
    """64 bits of what a picture's feature depends on, but for the encoder."""
    assert entry.file is not None
    return _key([entry.name, entry.file.bytes, entry.file.changed, entry.box])


def caption_key(caption: str) -> int:
    return _key(caption)


def content_mark(*values: Any) -> str:
    """SHA-256 of values that `json` can write."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _key(value: Any) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(value).encode()).digest()[:8], "little")
