"""Files written whole or not at all."""

import contextlib
import hashlib
import io
import json
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, ClassVar

try:
    import fcntl
except ImportError:  # Windows, where two processes are not told apart
    fcntl = None  # type: ignore[assignment]

from core.errors import UserError


def write_atomically(path: Path | str, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then rename it into place.

    Whatever stood at `path` lives until the new file is whole: a kill or a full disk loses nothing.
    Raises UserError, naming the path and the reason, where it cannot be written.
    """
    path = Path(path)
    make_folder(path.parent)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, error) from error
    beside = Path(name)
    try:
        write(beside)
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes files private; give this one the permissions that open() would have given it
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)
        os.replace(beside, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        beside.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Delete what killed writes left beside the files of a folder that no other process writes to."""
    for path in folder.glob(".*.????????"):
        if (folder / path.name[1:-9]).suffix and path.is_file():
            path.unlink(missing_ok=True)


@contextmanager
def writing(path: Path | str, kept: str = "") -> Iterator[None]:
    """Turn a failure of the operating system into the one line that `write_atomically` gives.

    kept: what is not lost by it, for the message.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}{kept and f'; {kept}'}; "
            "free some space or choose another path"
        ) from error


def _cannot_write(path: Path, error: OSError) -> UserError:
    kept = "; the file that was there is kept" if path.exists() else ""
    return UserError(
        f"cannot write {path}: {error.strerror or error}{kept}; free some space or choose another path"
    )


def append_line(path: Path | str, line: str, kept: str = "") -> None:
    """Add one line to a text file. Raises UserError as `writing` does."""
    with writing(path, kept), open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


class Lock:
    """A folder that one process at a time may write to; the lock of a process that died is free.

    It is held for as long as this object lives. Raises UserError where another process holds it.
    """

    _held: ClassVar[weakref.WeakValueDictionary[Path, TextIOWrapper]] = weakref.WeakValueDictionary()

    def __init__(self, folder: Path, advice: str):
        path = folder.resolve() / ".lock"
        mine = self._held.get(path)
        if mine is not None:  # this process's own, which it need not wait for
            self._file = mine
            return
        with writing(path):
            self._file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
        self._lock(folder, advice)
        self._held[path] = self._file

    def _lock(self, folder: Path, advice: str) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            owner = self._file.read(20).strip()
            raise UserError(
                f"{folder} is in use by another process{f' ({owner})' if owner else ''}; {advice}"
            ) from error
        except OSError:  # a file system without locks
            return
        with contextlib.suppress(OSError):  # a full disk: the number is a courtesy
            self._file.truncate(0)
            self._file.write(f"pid {os.getpid()}")
            self._file.flush()


def make_folder(path: Path | str) -> Path:
    """Create a folder and its parents. Raises UserError where a file is in the way or it is not permitted."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror}; choose another path") from error
    return path


def write_bytes(path: Path | str, content: bytes | memoryview) -> None:
    write_atomically(path, lambda beside: beside.write_bytes(content))


def write_torch(path: Path | str, content: Any) -> None:
    """Whatever torch.save takes."""
    import torch

    buffer = io.BytesIO()  # in memory first: torch hides the reason when its own writing fails
    torch.save(content, buffer)
    write_bytes(path, buffer.getbuffer())


def write_text(path: Path | str, text: str) -> None:
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Parse a JSON file. Raises UserError where it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply for what it should hold; restore the file") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); restore the file or make it again") from error


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
