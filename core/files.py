"""Files written whole or not at all."""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def _cannot_write(path: Path, error: OSError) -> UserError:
    kept = "; the file that was there is kept" if path.exists() else ""
    return UserError(f"cannot write {path}: {error.strerror}{kept}; free some space or choose another path")


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
