"""A set decoded once: arrays of any shapes in one flat file that is memory-mapped, and an index beside it.

`<stem>.bin` holds the values one item after another, `<stem>.json` the shapes, what was left out and why, and the
fingerprint of what was packed. A cache that does not fit its fingerprint, its size, its probe or the checksum of
its index is packed anew.
"""

import contextlib
import glob
import hashlib
import json
import logging
import os
import shutil
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from core.errors import UserError
from core.files import make_folder, write_atomically, write_text

try:
    import fcntl
except ImportError:  # not on Windows: two processes may then pack the same set twice, which is slow but right
    fcntl = None  # type: ignore[assignment]

FORMAT = 2

log = logging.getLogger(__name__)


class DamagedItem(Exception):
    """One picture or clip cannot be used; the message is the reason."""


class DamagedItems(Exception):
    """Some items of a set are damaged; `reasons` holds item number -> reason."""

    def __init__(self, reasons: dict[int, str]) -> None:
        super().__init__(f"{len(reasons)} damaged items")
        self.reasons = reasons


class Packed:
    """Arrays in one memory-mapped file; `packed[i]` is a view of the i-th.

    kept: the item numbers of those packed; dropped: of those the decoder left out; damaged: item number -> reason.
    """

    def __init__(self, path: Path, index: dict[str, Any]) -> None:
        self.path, self.index = path, index
        self.kept: list[int] = index["kept"]
        self.dropped: list[int] = index["dropped"]
        self.damaged = {int(item): reason for item, reason in index["damaged"].items()}
        self.shapes = [tuple(shape) for shape in index["shapes"]]
        sizes = np.array([int(np.prod(shape)) for shape in self.shapes], np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.values = np.memmap(path, index["dtype"], mode="r") if self.kept else np.empty(0, index["dtype"])

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.values[self.offsets[i] : self.offsets[i + 1]].reshape(self.shapes[i])

    def __reduce__(self) -> tuple:
        return Packed, (self.path, self.index)  # a worker process maps the file rather than copying it


def fingerprint(*parts: Any) -> str:
    """Hexadecimal SHA-256 of values that `json` can write."""
    return hashlib.sha256(json.dumps([FORMAT, *parts]).encode()).hexdigest()


def open_or_pack(
    stem: Path,
    mark: str,
    count: int,
    decode: Callable[[int], np.ndarray | None],
    dtype: str,
    label: str,
    unit: str,
    keep_going: bool,
    expected_bytes: int = 0,
) -> Packed:
    """Open the cache at `stem` if it was packed from what the fingerprint `mark` says, else pack it.

    decode(i), called from several threads for i < count, returns an array of `dtype`, None to leave the item out
    silently, or raises DamagedItem. With `keep_going` damaged items are left out and noted; without, DamagedItems is
    raised after all items were tried, and nothing is written. A kill while packing leaves the former cache or none.
    Raises UserError where the disk has less than `expected_bytes` left.
    """
    cached = _open(stem, mark)
    if cached and (keep_going or not cached.damaged):
        return cached
    make_folder(stem.parent)
    check_space(stem.parent, expected_bytes, label)
    with locked(stem):
        cached = _open(stem, mark)  # another process may have packed it meanwhile
        if cached and (keep_going or not cached.damaged):
            return cached
        for left in stem.parent.glob(f".{glob.escape(stem.name)}.bin.*"):  # of a process that was killed
            left.unlink(missing_ok=True)
        index: dict[str, Any] = {"fingerprint": mark, "dtype": dtype, "kept": [], "dropped": [], "shapes": []}
        damaged: dict[int, str] = {}
        index["damaged"] = damaged

        def write(path: Path) -> None:
            with (
                open(path, "wb") as file,
                tqdm(total=count, desc=label, unit=unit, mininterval=0.5, leave=False, disable=None) as bar,
            ):
                for item, result in enumerate(in_order(decode, count)):
                    bar.update()
                    if isinstance(result, DamagedItem):
                        damaged[item] = str(result)
                    elif result is None:
                        index["dropped"].append(item)
                    else:
                        file.write(np.ascontiguousarray(result, dtype).tobytes())
                        index["kept"].append(item)
                        index["shapes"].append(result.shape)
            if damaged and not keep_going:
                raise DamagedItems(damaged)
            index["bytes"], index["probe"] = path.stat().st_size, probe(path)
            index["checksum"] = _checksum(index)
            stem.with_name(stem.name + ".json").unlink(
                missing_ok=True
            )  # an old index must not meet the new values

        values = stem.with_name(stem.name + ".bin")
        write_atomically(values, write)
        write_text(stem.with_name(stem.name + ".json"), json.dumps(index))
        return Packed(values, index)


# what reading a header of JSON that was edited, cut short or never one may raise
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def _open(stem: Path, mark: str) -> Packed | None:
    path = stem.with_name(stem.name + ".bin")
    try:
        index = json.loads(stem.with_name(stem.name + ".json").read_text(encoding="utf-8"))
        if (
            index["fingerprint"] != mark
            or index["checksum"] != _checksum(index)
            or index["bytes"] != path.stat().st_size
            or index["probe"] != probe(path)
        ):
            return None
        packed = Packed(path, index)
        whole = packed.offsets[-1] == packed.values.size and len(packed) == len(packed.kept)
        return packed if whole else None
    except (*UNREADABLE, IndexError):
        return None  # absent, cut short, edited or no index at all


def _checksum(index: dict[str, Any]) -> str:
    """Of an index but for the checksum in it, as it is after a round through JSON."""
    rest = {key: value for key, value in index.items() if key != "checksum"}
    rest = json.loads(json.dumps(rest))  # in which all keys are strings
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raises UserError where the disk of a folder has not `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{what} needs {_gigabytes(needed)}, {_gigabytes(free)} are free in {folder}; free some space or "
            "choose another folder"
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def cache_folder(root: Path | str, given: Path | str = "") -> Path:
    """Where the caches of a set are: the folder given, or cache/ in the set, or beside a set that is read-only."""
    if str(given):
        return Path(given)
    root = Path(root)
    inside = root / "cache"
    try:
        if inside.is_dir() or os.access(root, os.W_OK) or not os.access(root.parent, os.W_OK):
            return inside
    except OSError:
        return inside
    return root.parent / f"{root.resolve().name}-cache"


def probe(path: Path, blocks: int = 128, block: int = 4096, start: int = 0) -> int:
    """CRC-32 of blocks spread over a file from `start` on: finds one that was overwritten or never reached the disk."""
    crc = 0
    with open(path, "rb") as file:
        last = max(path.stat().st_size - start - block, 0)
        for at in sorted({last * i // (blocks - 1) for i in range(blocks)}):
            file.seek(start + at)
            crc = zlib.crc32(file.read(block), crc)
    return crc


@contextlib.contextmanager
def locked(stem: Path) -> Iterator[None]:
    """One process packs, the others wait and then read; the lock ends with its process."""
    try:
        file = open(stem.with_name(f".{stem.name}.lock"), "w")  # noqa: SIM115
    except OSError as error:
        raise UserError(f"cannot write in {stem.parent}: {error.strerror}; choose another folder") from error
    with file:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def threads() -> int:
    """Decoding threads: the cores this process may use, 16 at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 16)


def in_order(decode: Callable[[int], Any], count: int) -> Generator[Any, None, None]:
    """decode(0), decode(1), ... from threads, a few ahead of the reader; a DamagedItem is returned, not raised."""

    def attempt(item: int) -> Any:
        try:
            return decode(item)
        except DamagedItem as error:
            return error

    pool = ThreadPoolExecutor(threads())
    try:
        waiting: deque = deque()
        for item in range(count):
            waiting.append(pool.submit(attempt, item))
            if len(waiting) >= 8 * threads():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def open_sound_items(
    open_cache: Callable[[], Packed],
    names: Sequence[str],
    problems: dict[str, str],
    listed: Sequence[str],
    what: str,
    advice: str,
) -> tuple[Packed, dict[str, str]]:
    """The cache of the items that are sound, and why others are left out: name -> reason, in the order of `listed`.

    open_cache: `open_or_pack` of the items called `names`, with `keep_going` where there is no advice; problems: of
    those listed items that are not among them; what: "train pictures in <root>". Damaged items are named in a UserError
    with the `advice` how to leave them out, or where that is empty in a warning.
    """

    def in_order(broken: dict[int, str]) -> dict[str, str]:
        of_all = problems | {names[item]: reason for item, reason in broken.items()}
        return {name: of_all[name] for name in listed if name in of_all}

    try:
        packed = open_cache()
        found = in_order(packed.damaged)
    except DamagedItems as error:
        found = in_order(error.reasons)
    if not found:
        return packed, found
    line = _damage_line(found, len(listed), what)
    if advice:
        raise UserError(f"{line}; restore them, or leave them out with {advice}")
    log.warning("%s; they are left out", line)
    return packed, found


def _damage_line(problems: dict[str, str], total: int, what: str) -> str:
    """One line on damaged items: how many, and the first few by name with the reason."""
    first = "; ".join(f"{name}: {reason}" for name, reason in list(problems.items())[:3])
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return f"{len(problems)} of {total} {what} are damaged or missing ({first}{more})"
