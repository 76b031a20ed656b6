"""Which floating-point numbers products are computed in, and where float32 must stay float32 among bfloat16."""

import contextlib

import torch
from torch import Tensor

from core.errors import UserError

PRECISIONS = ("auto", "bf16", "fp32")


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 by instructions of its own; elsewhere it is several times slower than
    float32 (a convolution forward and backward, on a CPU with AVX2 only: 6.5 times)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    has = torch.cpu.get_capabilities()
    return any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16"))


def resolve_precision(device: torch.device, precision: str) -> str:
    """ "auto" -> "bf16" where the device is fast at it, else "fp32"; others as they are.

    Raises UserError for a name that is none of PRECISIONS.
    """
    if precision not in PRECISIONS:
        raise UserError(f'precision "{precision}" is unknown; choose one of {", ".join(PRECISIONS)}')
    if precision == "auto":
        return "bf16" if fast_bfloat16(device) else "fp32"
    return precision


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """A context in which matrix products and convolutions run in bfloat16, or none for "fp32".

    Raises UserError as `resolve_precision` does.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=resolve_precision(device, precision) == "bf16")


def at_least_float32(x: Tensor) -> Tensor:
    """bfloat16 and float16 to float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
