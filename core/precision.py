"""Which floating-point numbers products are computed in, and where float32 must stay float32 among shorter ones."""

import contextlib

import torch
from torch import Tensor

from core.errors import UserError

PRECISIONS = ("auto", "bf16", "fp16", "fp32")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 by instructions of its own; elsewhere it is several times slower than
    float32 (a convolution forward and backward, on a CPU with AVX2 only: 6.5 times)."""
    if device.type == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    has = torch.cpu.get_capabilities()
    return any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16"))


def fast_float16(device: torch.device) -> bool:
    """Whether the device is a GPU that multiplies float16 faster than float32: Volta, Turing and newer."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0)


def resolve_precision(device: torch.device, precision: str, training: bool = False) -> str:
    """ "auto" -> "bf16" where the device is fast at it, else "fp16" where it is fast at that, else "fp32"; others as
    they are.

    In training "auto" is never "fp16", in which small gradients vanish unless the loss is scaled.
    Raises UserError for a name that is none of PRECISIONS.
    """
    if precision not in PRECISIONS:
        raise UserError(f'precision "{precision}" is unknown; choose one of {", ".join(PRECISIONS)}')
    if precision != "auto":
        return precision
    if fast_bfloat16(device):
        return "bf16"
    return "fp16" if fast_float16(device) and not training else "fp32"


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """A context in which matrix products and convolutions run in bfloat16 or float16, or none for "fp32".

    Raises UserError as `resolve_precision` does.
    """
    dtype = DTYPES[resolve_precision(device, precision)]
    if dtype == torch.float32:
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype)


def at_least_float32(x: Tensor) -> Tensor:
    """bfloat16 and float16 to float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
