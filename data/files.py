"""The files of a folder by their names without a suffix."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class File(NamedTuple):
    path: Path
    bytes: int
    changed: int  # time of the last change, nanoseconds


def find_files(folder: Path, suffixes: Sequence[str]) -> dict[str, File]:
    """Stem -> the file with one of the suffixes, the first of them where there are several; nothing where the folder is
    not there. Folders and broken links are no files."""
    rank = {suffix: i for i, suffix in enumerate(suffixes)}
    usable = []
    try:
        for entry in os.scandir(folder):
            stem, suffix = os.path.splitext(entry.name)
            if suffix.lower() in rank and entry.is_file():
                status = entry.stat()
                file = File(Path(entry.path), status.st_size, status.st_mtime_ns)
                usable.append((rank[suffix.lower()], entry.name, stem, file))
    except OSError:
        return {}
    # the preferred suffix comes last and stays
    return {stem: file for _, _, stem, file in sorted(usable, key=lambda one: one[:2], reverse=True)}
