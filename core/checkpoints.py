"""Reading files of weights: PyTorch's own (.pt, .pth) and .safetensors, without running code that they hold.

`read_checkpoint` gives whatever a PyTorch file holds, `read_tensors` finite float32 tensors by name of either kind.
What is wrong with a file is said in one line of ours; PyTorch's own would advise to load it unsafely.
"""

import re
import struct
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from core.arrays import FAULTS, damaged, refuse_foreign
from core.errors import UserError

# Keys under which training scripts put the weights, beside optimisers, counters and settings
WRAPPERS = ("state_dict", "g_ema", "model", "model_state_dict", "ema", "weights")


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a file by name, finite and in float32; those of whole numbers as they are.

    A PyTorch file may hold them at its top or under one of WRAPPERS, and under the "module." of data-parallel training.
    Raises UserError where the file is missing, damaged, would need code to be run, holds no tensors by name, or a
    tensor that is complex or not finite.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        refuse_foreign(path)
        try:
            tensors = load_file(path)
        except FAULTS as error:
            raise damaged(path, error) from error
    else:
        tensors = state_dict_in(read_checkpoint(path), path)
    return as_float32(tensors, path)


def read_checkpoint(path: Path | str) -> Any:
    """What a PyTorch file holds, on the CPU: tensors, containers, texts and numbers (numpy's become Python's).

    Raises UserError where it is missing, empty, something else, cut, has flipped bits (its checksums are compared) or
    would need code to be run.
    """
    path = Path(path)
    refuse_foreign(path)
    try:
        if zipfile.is_zipfile(path):
            _check_archive(path)
        with _LOCK, torch.serialization.safe_globals(_NUMPY):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # a damaged or hostile file ends in any of a dozen exceptions
        raise _unreadable(path, error) from error


def _check_archive(path: Path) -> None:
    """Compare the checksums of an archive, which torch.load does not."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise UserError(
                f"cannot read the weights {path}: it is a compressed archive, which PyTorch does not write; unpack it "
                "and give the file inside"
            )
        damaged = archive.testzip()
    if damaged is not None:
        raise UserError(
            f"cannot read the weights {path}: bits of {damaged!r} in it have changed since it was written; restore it "
            "from a copy"
        )


def _unreadable(path: Path, error: Exception) -> UserError:
    """One line of ours about what a library says of a file."""
    code = re.search(r"GLOBAL ([\w.]+)", str(error))
    if code:
        reason = f"it holds more than tensors, and to read it the code of {code[1]} would have to run"
        return UserError(
            f"cannot read the weights {path}: {reason}; give a file that holds the state dict alone"
        )
    return UserError(
        f"cannot read the weights {path}: it is cut short, damaged, or no file of weights; copy or download it again"
    )


def state_dict_in(content: Any, path: Path | str) -> dict[str, Tensor]:
    """The tensors by name among what a checkpoint holds; numbers and texts beside them are left out.

    Raises UserError where there are none.
    """
    for _ in range(3):  # {"state_dict": {"model": ...}} and the like
        if isinstance(content, Mapping) and not any(isinstance(v, Tensor) for v in content.values()):
            inside = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
            content = inside[0] if inside else content
    if not isinstance(content, Mapping):
        raise UserError(
            f"{path} holds a {type(content).__name__}, tensors by name (a state dict) were expected"
        )
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    others = [
        key for key, v in content.items() if isinstance(v, Mapping | list | tuple) and key != "_metadata"
    ]
    if not tensors or not all(isinstance(key, str) for key in tensors):
        found = f'; its first key is "{next(iter(content))!s:.60}"' if content else ", but nothing at all"
        raise UserError(f"{path} does not hold tensors by name{found}; a state dict was expected")
    if others:
        raise UserError(
            f"{path} holds tensors by name, and {others[0]!r:.60} beside them, which is none; give the state dict alone"
        )
    return {re.sub(r"^(module\.)+", "", key): value for key, value in tensors.items()}


def as_float32(tensors: Mapping[str, Tensor], path: Path | str) -> dict[str, Tensor]:
    """Floating-point tensors in float32. Raises UserError naming the first that is no plain, finite, real tensor."""
    read = {}
    for name, value in tensors.items():
        value = value.detach()
        where = f"{path}: {name!r:.80} {tuple(value.shape)}"
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise UserError(f"{where} is not a plain tensor; save the weights as dense float tensors")
        if value.is_complex():
            raise UserError(f"{where} holds complex numbers; real ones were expected")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise UserError(f"{where} claims more numbers than its file holds; save its contiguous copy")
        if value.is_floating_point():
            value = value.float()
            if not value.isfinite().all():
                raise UserError(
                    f"{where} holds NaN or infinite numbers, so nothing can be computed with it; restore the file, or "
                    "take a checkpoint from before the training diverged"
                )
        read[name] = value
    return read


# ---- numpy's scalars, such as a best loss that was saved beside the weights ----


class _NumpyType:
    """Stands in for numpy.dtype, of which only the name is needed."""

    def __init__(self, name: str, *_: Any):
        self.name = str(name)

    def __setstate__(self, state: Any) -> None:
        pass


def _numpy_number(kind: _NumpyType, data: bytes) -> float | int | bool | None:
    """Stands in for numpy's scalars; None for what is no number."""
    code = {"f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "b1": "?",
            "u1": "B", "u2": "H", "u4": "I", "u8": "Q"}.get(kind.name)  # fmt: skip
    if code is None or not isinstance(data, bytes) or len(data) != struct.calcsize("<" + code):
        return None
    return struct.unpack("<" + code, data)[0]


def _encoded(text: str, encoding: str) -> bytes:
    """Stands in for _codecs.encode, by which Python 2's strings of bytes come."""
    return text.encode(encoding)


_LOCK = threading.Lock()  # the names that torch takes as safe are the process's
_NUMPY: list[Any] = [
    (_NumpyType, "numpy.dtype"), (_encoded, "_codecs.encode"),
    (_numpy_number, "numpy.core.multiarray.scalar"), (_numpy_number, "numpy._core.multiarray.scalar"),
]  # fmt: skip
