"""Every network, loss and score of ours computes what it computed when it was recorded (tests/recorded.py)."""

import pytest
from recorded import CASES, FILE, IN_FLOAT32
from safetensors import safe_open


@pytest.mark.parametrize("case", CASES)
def test_nothing_has_changed_by_accident(case: str):
    with safe_open(FILE, "pt") as file:
        prefix = f"{case}/"
        recorded = {k.removeprefix(prefix): file.get_tensor(k) for k in file.keys() if k.startswith(prefix)}  # noqa: SIM118
    found = CASES[case]()
    assert found.keys() == recorded.keys()
    bound = 2e-3 if case in IN_FLOAT32 else 1e-6
    for name, wanted in recorded.items():
        value, largest = found[name].double(), float(wanted.abs().max())
        assert wanted.isfinite().all() and value.shape == wanted.shape, name
        difference = float((value - wanted).abs().max())
        assert difference <= bound * largest, (
            f"{name} differs by {difference:.1e}, its largest is {largest:.1e}"
        )


def test_what_is_recorded_is_a_case():
    with safe_open(FILE, "pt") as file:
        assert {key.split("/")[0] for key in file.keys()} == set(CASES)  # noqa: SIM118


def test_a_recorded_value_is_not_trivial():
    """Zero everywhere would hide any factor."""
    with safe_open(FILE, "pt") as file:
        zero = [key for key in file.keys() if not file.get_tensor(key).any()]  # noqa: SIM118
    assert not zero
