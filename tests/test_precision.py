"""Which numbers "auto" takes on which device, and that commands compute in what they name."""

import pytest
import torch

import app.options
import evaluation.options
import training.config
from core.errors import UserError
from core.precision import PRECISIONS, autocast, resolve_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")

# what the device has, what "auto" means in use, and in training
TABLE = [
    (CPU, {"avx2": True}, "fp32", "fp32"),
    (CPU, {"avx512_f": True, "avx512_bf16": False}, "fp32", "fp32"),
    (CPU, {"avx512_bf16": True}, "bf16", "bf16"),
    (CPU, {"amx_bf16": True}, "bf16", "bf16"),
    (CPU, {"amx_fp16": True}, "fp32", "fp32"),
    (CPU, {"sve_bf16": True}, "bf16", "bf16"),
    (CPU, {"bf16": True}, "bf16", "bf16"),  # ARM without SVE
    (CPU, {}, "fp32", "fp32"),
    (CUDA, (6, 1), "fp32", "fp32"),  # Pascal: float16 at a sixty-fourth of float32's speed
    (CUDA, (7, 0), "fp16", "fp32"),  # Volta
    (CUDA, (7, 5), "fp16", "fp32"),  # Turing
    (CUDA, (8, 0), "bf16", "bf16"),  # Ampere
    (CUDA, (9, 0), "bf16", "bf16"),  # Hopper
    (torch.device("mps"), None, "fp32", "fp32"),
]


def pretend(monkeypatch: pytest.MonkeyPatch, has: object) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: has)


@pytest.mark.parametrize("device, has, in_use, in_training", TABLE)
def test_auto_is_what_the_device_is_fast_at(monkeypatch, device, has, in_use, in_training):
    pretend(monkeypatch, has)
    assert resolve_precision(device, "auto") == in_use
    assert resolve_precision(device, "auto", training=True) == in_training
    for named in ("bf16", "fp16", "fp32"):  # what a user names is what is computed, fast or not
        assert resolve_precision(device, named) == resolve_precision(device, named, training=True) == named


def test_a_gpu_of_amd_is_fast_at_bfloat16(monkeypatch):
    pretend(monkeypatch, (6, 1))
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert resolve_precision(CUDA, "auto") == "bf16"


@pytest.mark.parametrize(
    "precision, dtype", [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)]
)
def test_products_are_computed_in_what_is_named(precision, dtype):
    layer = torch.nn.Linear(3, 2)
    with autocast(CPU, precision):
        assert layer(torch.ones(1, 3)).dtype == dtype
    with torch.autocast("cpu", torch.bfloat16), autocast(CPU, precision):  # in one of the caller's
        assert layer(torch.ones(1, 3)).dtype == dtype


def test_another_name_is_refused():
    with pytest.raises(UserError, match='precision "fp8" is unknown; choose one of auto, bf16, fp16, fp32'):
        autocast(CPU, "fp8")


def test_commands_offer_what_there_is():
    """Their options are read before torch is imported, and so list the names themselves."""
    for parser in (app.options.parser(), evaluation.options.parser()):
        assert next(a.choices for a in parser._actions if a.dest == "precision") == PRECISIONS
        assert parser.get_default("precision") == "auto"
    assert set(training.config.PRECISIONS) == set(PRECISIONS) - {"fp16"}
