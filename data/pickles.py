"""Pickles of published data sets, read without running what they may carry.

StackGAN's and AttnGAN's files (file names, class numbers, caption indices, char-CNN-RNN embeddings) are pickles,
most of them written by Python 2. A pickle is a program; this unpickler admits only what such files need.
"""

import math
import mmap
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from core.errors import UserError

MOST_BYTES = 4 * 10**9  # of a file
STOP, PUT, LONG_BINPUT, FRAME = pickle.STOP[0], pickle.PUT[0], pickle.LONG_BINPUT[0], pickle.FRAME[0]
TWO_LINES = (pickle.GLOBAL[0], pickle.INST[0])
_LENGTHS = {
    ord(op.code): op.arg.n if op.arg else 0 for op in pickletools.opcodes
}  # of what follows an opcode

ADMITTED = "lists, tuples, dicts, strings, bytes, numbers and numpy arrays"


def load_pickle(path: Path | str) -> Any:
    """Read a pickle of plain values: lists, tuples, dicts, strings, bytes, numbers, numpy arrays and scalars.

    Strings of Python 2 are read as latin1. Nothing but the above is ever imported or called.
    Raises UserError where the file is missing or damaged, asks for more memory than it fills, or names any other
    global (that is, carries code).
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            _check_sizes(file)
            reader = _PlainUnpickler(file, path)
            value = reader.load()
        return _finished(value, {}) if reader.has_globals else value
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read the pickle {path}: {error.strerror}; restore the file") from error
    except Exception as error:  # a damaged pickle ends in any of a dozen exceptions
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path} is not a readable pickle ({detail}); restore the file") from error


def _check_sizes(file: BinaryIO) -> None:
    """Walk over the opcodes of a pickle: no length may go beyond its end, no place in its memo beyond its length.

    The unpickler makes room for what such a number says before it reads on: 8 bytes can ask for gigabytes.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        size, at = len(data), 0
        if size > MOST_BYTES:
            raise pickle.UnpicklingError(f"{size / 1e9:.1f} GB, at most {MOST_BYTES / 1e9:.0f} are read")
        plain = _plain_opcodes(size)
        while data[at] != STOP:
            if run := plain.match(data, at):  # millions of them in a file of captions
                at = run.end()
                continue
            code = data[at]
            length = _LENGTHS[code]  # KeyError: no opcode
            at += 1
            if length == pickletools.UP_TO_NEWLINE:
                end = data.find(b"\n", at)
                if code == PUT and int(data[at:end]) > size:
                    raise pickle.UnpicklingError("a place in its memo beyond its length")
                at = size if end < 0 else end + 1
                if code in TWO_LINES:
                    end = data.find(b"\n", at)
                    at = size if end < 0 else end + 1
            elif length >= 0:
                if code in (LONG_BINPUT, FRAME) and int.from_bytes(data[at : at + length], "little") > size:
                    raise pickle.UnpicklingError("a number in it goes beyond its length")
                at += length
            else:
                width = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT8U: 8}.get(
                    length, 4
                )
                at += width + int.from_bytes(data[at : at + width], "little")
            if at >= size:
                raise pickle.UnpicklingError("cut short")


def _plain_opcodes(size: int) -> re.Pattern[bytes]:
    """A run of opcodes that are followed by a fixed number of bytes, and of places in the memo that are no further
    than a file of `size` bytes can be long; rounded up to 65536."""
    forms = [rb"r..[\x00-%b]\x00" % re.escape(bytes([min(size >> 16, 255)]))]
    for length in sorted({length for length in _LENGTHS.values() if length >= 0}):
        codes = [
            code for code, n in _LENGTHS.items() if n == length and code not in (STOP, LONG_BINPUT, FRAME)
        ]
        if codes:
            forms.append(b"[%b].{%d}" % (b"".join(re.escape(bytes([code])) for code in codes), length))
    return re.compile(b"(?:%b){1,4096}+" % b"|".join(forms), re.DOTALL)


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self.path = path
        self.has_globals = False

    def find_class(self, module: str, name: str) -> Any:
        found = _GLOBALS.get((module, name))
        if found is None:
            raise UserError(
                f"{self.path} was refused: the pickle calls for {module}.{name}, only {ADMITTED} are admitted; "
                "it may carry code, take the file from its original source"
            )
        self.has_globals = True
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("persistent ids are not admitted")


# Arrays are rebuilt here rather than by numpy's own functions: ndarray and dtype take their state from the pickle on
# trust, and a crafted one (an object dtype without its flags) would turn bytes into pointers.


class _Admitted:
    """A function that a pickle may call, but not alter."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("state given to a function")


class _Dtype:
    """numpy.dtype(code, align, copy), then the byte order in its state."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or code[:1] not in "biufcSUO":
            raise pickle.UnpicklingError(f"arrays of type {code!r} are not admitted")
        self.code = code
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        self.order = {"<": "<", ">": ">"}.get(state[1], "=")

    def finished(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """numpy's _reconstruct(ndarray, (0,), b"b"), then (version, shape, dtype, is_fortran, data) in its state."""

    __slots__ = ("value",)

    def __init__(self, *_: Any) -> None:
        self.value: Any = None

    def __setstate__(self, state: Any) -> None:
        shape, dtype, is_fortran, data = state[-4:]
        self.value = _array(data, dtype, shape, "F" if is_fortran else "C")


def _array(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("an array without its type")
    if dtype.code[0] == "O":
        if not isinstance(data, list) or len(data) != math.prod(shape):
            raise pickle.UnpicklingError("an object array whose values do not fit its shape")
        flat = np.empty(len(data), object)
        for i, value in enumerate(data):
            flat[i] = _finished(value, {})
    else:
        flat = np.frombuffer(_bytes(data), dtype.finished()).copy()
    return flat.reshape(shape, order=order)  # type: ignore[call-overload]


def _scalar(dtype: Any, data: Any) -> Any:
    return _array(data, dtype, (1,), "C")[0]


def _from_buffer(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    return _array(data, dtype, shape, "F" if order == "F" else "C")


def _bytes(text: Any = b"", encoding: str = "latin1") -> bytes:
    """Python 2 wrote bytes as strings, and Python 3 writes them so in protocols up to 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding!r}")
    if not isinstance(text, str | bytes | bytearray):  # bytes(10**12) would be a request for memory
        raise pickle.UnpicklingError("bytes that are none")
    return text.encode("latin1") if isinstance(text, str) else bytes(text)


def _finished(value: Any, done: dict[int, Any]) -> Any:
    """Put the arrays in place of their stand-ins; `done` keeps shared values shared."""
    if isinstance(value, _Array):
        if value.value is None:
            raise pickle.UnpicklingError("an array without values")
        value = value.value
    if isinstance(value, _Dtype):
        return value.finished()
    if id(value) in done:
        return done[id(value)]
    done[id(value)] = value
    if isinstance(value, list):
        value[:] = [_finished(item, done) for item in value]
    elif isinstance(value, tuple):
        done[id(value)] = tuple([_finished(item, done) for item in value])
    elif isinstance(value, dict):
        for key in value:
            value[key] = _finished(value[key], done)
    elif isinstance(value, _Admitted):
        raise pickle.UnpicklingError("a function among the values")
    return done[id(value)]


_GLOBALS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Admitted(_Dtype),
    ("numpy", "ndarray"): _Admitted(_Array),
    ("_codecs", "encode"): _Admitted(_bytes),
    ("__builtin__", "bytes"): _Admitted(_bytes),  # b"" in protocols up to 2
}
for _core in ("numpy.core", "numpy._core"):  # the name before and since numpy 2
    _GLOBALS[_core + ".multiarray", "_reconstruct"] = _Admitted(_Array)
    _GLOBALS[_core + ".multiarray", "scalar"] = _Admitted(_scalar)
    _GLOBALS[_core + ".numeric", "_frombuffer"] = _Admitted(_from_buffer)
