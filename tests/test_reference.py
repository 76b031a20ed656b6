"""The reference tensors in the repository are what make.py makes of the complete ones."""

import sys

import pytest
import torch
from golden import REFERENCE, complete_tensors
from safetensors import safe_open

sys.path.insert(0, str(REFERENCE))
import make  # noqa: E402


def test_reference_tensors_are_the_complete_ones_thinned():
    """Byte for byte, so nobody has touched them up."""
    if not complete_tensors().is_dir():
        pytest.skip(f"no complete tensors at {complete_tensors()}")
    names = {path.stem for path in complete_tensors().glob("*.safetensors")} - set(make.LEFT_OUT)
    assert len(names) == 35
    for name in names:
        tensors, header = make.reduced(complete_tensors() / f"{name}.safetensors")
        with safe_open(REFERENCE / f"{name}.safetensors", "pt") as file:
            assert file.metadata() == header and set(file.keys()) == tensors.keys()
            assert all(torch.equal(file.get_tensor(key), value) for key, value in tensors.items()), name


@pytest.mark.parametrize("count", [264, 1000, 3 * 64 * 64, 2**16])
def test_kept_values_are_few_and_of_every_column(count: int):
    kept = range(0, count, make.step_of(count))
    assert 50 < len(kept) <= make.KEPT
    assert {place % 8 for place in kept} == set(range(8))


def test_reference_tensors_stay_small():
    assert sum(path.stat().st_size for path in REFERENCE.iterdir() if path.is_file()) < 4.5 * 2**20
