"""What the authors' code computed, and whether ours computes the same.

tests/reference/ holds it in float32, large results thinned. Where the complete tensors lie beside the checkout, in
../shared/golden, float64 is compared with those, and more closely.
"""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from t2i.interop import Names, renamed

REFERENCE = Path(__file__).resolve().parent / "reference"
TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-4}  # of a tensor's largest value
NETWORK = re.compile(r"(STAGE1_G|net[GDC])\.")  # that a key begins with where a file holds several
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def complete_tensors() -> Path:
    """Where the complete tensors lie for those who have them."""
    named = os.environ.get("SAYBIRD_REALDATA")
    return (Path(named).parent if named else REFERENCE.parents[2] / "shared") / "golden"


class Golden:
    """One file of golden tensors, with the model that its parameters were given to.

    model: {"generator": ..., "discriminators": ...} of ours; network: the authors' name of the one in the file.
    """

    def __init__(self, name: str, dtype: torch.dtype):
        from safetensors import safe_open

        path, complete = REFERENCE / f"{name}.safetensors", complete_tensors() / f"{name}.safetensors"
        if complete.exists() and (dtype == torch.float64 or not path.exists()):
            path = complete
        if not path.exists():
            pytest.skip(f"tests/reference leaves {name} out, and there are no complete tensors at {complete}")
        with safe_open(path, "pt") as file:
            header = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.sizes = json.loads(header["config"])
        self.thinned = json.loads(
            header.get("thinned", "{}")
        )  # {key: (shape, step from one value to the next)}
        self.tensors = {k: t.to(dtype) if t.is_floating_point() else t for k, t in tensors.items()}
        self.dtype = dtype
        self.tolerance = TOLERANCE[
            dtype if path == complete else torch.float32
        ]  # the file's values are rounded

    def load(
        self, model: nn.Module, names: Names, network: str, stored: str = "param/", whole: bool = True
    ) -> None:
        """The parameters under `stored` into `model`; afterwards names are theirs of `network`, or name one themselves.

        With `whole` nothing of these networks may be missing in the file.
        """
        model.to(self.dtype)
        self.model = model
        self.ours = lambda key: renamed(key if NETWORK.match(key) else f"{network}.{key}", names)
        found = {k.removeprefix(stored): t for k, t in self.tensors.items() if k.startswith(stored)}
        shapes = {key: value.shape for key, value in model.state_dict().items()}
        weights = {self.ours(key): value.clone() for key, value in found.items()}
        missing, unexpected = model.load_state_dict(
            {key: value.reshape(shapes[key]) for key, value in weights.items()}, strict=False
        )
        theirs = {renamed(key, names, back=True).partition(".")[0] for key in weights}
        left_out = [key for key in missing if renamed(key, names, back=True).partition(".")[0] in theirs]
        assert not unexpected and not (whole and left_out)

    def image(self, name: str, side: int) -> Tensor:
        """A stored picture (B, 3, side, side) in [-1, 1], enlarged where a smaller one is stored."""
        small = next(t for k, t in self.tensors.items() if re.fullmatch(rf"in/{name}(_base32)?_u8", k))
        image = small.to(torch.float64) / 127.5 - 1
        times = side // image.shape[-1]
        return image.repeat_interleave(times, 2).repeat_interleave(times, 3).to(self.dtype)

    def input(self, name: str) -> Tensor:
        value = self.tensors[f"in/{name}"].clone()
        return value.requires_grad_() if value.is_floating_point() else value

    def compare(
        self,
        prefix: str,
        values: dict[str, Tensor],
        without: tuple[str, ...] = (),
        float32: dict[str, float] | None = None,
    ) -> None:
        """Every stored tensor under `prefix` against `values` and the model's gradients and buffers.

        float32: tolerances in that precision of names that begin so; what they must be float64 tells.
        """
        bounds = (float32 or {}) if self.dtype == torch.float32 else {}
        parameters, state = dict(self.model.named_parameters()), self.model.state_dict()
        keys = [key for key in self.tensors if key.startswith(prefix)]
        assert keys
        for key in keys:
            name = key.removeprefix(prefix)
            kind, _, of = name.partition("/")
            thinned = re.fullmatch(r"(.+)_s(\d+)", name)
            if kind in ("in", "param") or name in without:
                continue
            if kind == "grad":
                shape = self.thinned[key][0] if key in self.thinned else self.tensors[key].shape
                found = parameters[self.ours(of)].grad.reshape(shape)
            elif kind == "buffer_after":
                found = state[self.ours(of)]
            elif name.endswith("_moments"):
                complete = values[name.removesuffix("_moments")]
                found = torch.stack([complete.mean((2, 3)), complete.square().mean((2, 3))], dim=-1)
            elif thinned and name not in values:
                step = int(thinned[2])
                found = values[thinned[1]][..., ::step, ::step]
            else:
                found = values[name]
            wider = (bound for start, bound in bounds.items() if name.startswith(start))
            self.close(key, found, self.tensors[key], next(wider, None))

    def close(self, key: str, found: Tensor, wanted: Tensor, tolerance: float | None = None) -> None:
        if key in self.thinned:
            shape, step = self.thinned[key]
            assert list(found.shape) == shape, key
            found = found.flatten()[::step]
        assert found.shape == wanted.shape, key
        if not wanted.is_floating_point():
            assert torch.equal(found, wanted), key
            return
        difference, largest = float((found.detach() - wanted).abs().max()), float(wanted.abs().max())
        bound = (tolerance or self.tolerance) * largest
        assert difference <= bound, f"{key} differs by {difference:.1e}, its largest is {largest:.1e}"


def probe(outputs: list[Tensor]) -> Tensor:
    """The scalar whose gradients are stored: sum over outputs of mean_i(cos(0.37 i) out_i)."""
    total = torch.zeros((), dtype=outputs[0].dtype)
    for output in outputs:
        weight = torch.cos(0.37 * torch.arange(output.numel(), dtype=torch.float64)).to(output.dtype)
        total = total + (weight * output.flatten()).mean()
    return total
