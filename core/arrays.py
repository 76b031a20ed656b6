"""Reading .safetensors files as NumPy arrays, without torch."""

import re
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from core.errors import UserError

FAULTS = (OSError, SafetensorError, RuntimeError, ValueError)  # of the library, where a file is damaged
SIGNS = (  # the first bytes of what is often found in place of weights
    (rb"version https://git-lfs", "is a pointer of git-lfs, not the file itself; fetch it with: git lfs pull"),
    (rb"\s*<(!doctype|html|\?xml|head)", "is a web page, not weights: the link asked for a login or a confirmation; "
     "open it in a browser and save the file behind it"),
    (rb"\x1f\x8b", "is a gzip archive; unpack it and give the file inside"),
    (rb"\s*\{\s*\"", "is a JSON file, not weights; give the .pth or .safetensors file"),
)  # fmt: skip


def read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of a file by name. Raises UserError where it is missing, damaged or something else."""
    path = Path(path)
    refuse_foreign(path)
    try:
        return load_file(path)
    except FAULTS as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> UserError:
    """One line of ours about what the library says of a file."""
    reason = str(error).splitlines()[0][:120] if str(error) else "no header"
    return UserError(
        f"cannot read the weights {path}: it is damaged or no .safetensors file ({reason}); copy it again"
    )


def refuse_foreign(path: Path) -> None:
    """Raises UserError for a path that is no file of weights by its first bytes, and says what it is."""
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the weights {path} ({reason}); give the path of a file") from error
    if not start:
        raise UserError(f"cannot read the weights {path}: the file is empty; copy or download it again")
    for sign, advice in SIGNS:
        if re.match(sign, start, re.IGNORECASE):
            raise UserError(f"cannot read the weights {path}: it {advice}")
