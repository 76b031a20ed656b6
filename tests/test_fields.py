"""The one validator of configurations: core/fields.py."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from omegaconf import MISSING, OmegaConf

from core.errors import UserError
from core.fields import bounded, build, check, list_of, one_of


@dataclass
class Inner:
    width: int = bounded(4, 1, 64)


@dataclass
class Sizes:
    stages: int = bounded(3, 1, 8)
    rate: float = bounded(0.5, 0, 1, above=True)
    rnn: str = one_of("lstm", ("lstm", "gru"))
    parts: list[str] = list_of([], 0, 3)
    sides: list[int] = list_of([64], 1, 3, of=(1, 512))
    flag: bool = False
    free: float = 0.0
    count: int = 0
    name: str = ""
    inner: Inner = field(default_factory=Inner)
    maybe: int | None = None
    anything: Any = MISSING


def test_what_is_right_is_built():
    built = build(Sizes, {"stages": 8, "rate": 1, "rnn": "gru", "inner": {"width": 64}, "maybe": None}, "f")
    assert (built.stages, built.rate, built.rnn, built.inner.width, built.maybe) == (8, 1.0, "gru", 64, None)
    assert isinstance(built.rate, float)
    check(built)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stages", 0), ("stages", 10**9), ("stages", 10**400), ("stages", "2"), ("stages", 2.0), ("stages", True),
        ("stages", None), ("stages", [2]), ("rate", 0), ("rate", 2.0), ("rate", float("nan")), ("rate", "x"),
        ("rnn", "ltsm"), ("rnn", 1), ("rnn", None), ("parts", "head"), ("parts", ["a"] * 4), ("parts", [1]),
        ("sides", []), ("sides", [0]), ("sides", [True]), ("flag", 1), ("flag", "yes"), ("free", float("inf")),
        ("free", True), ("count", 2**60), ("count", 1.5), ("name", None), ("name", 3), ("maybe", "x"),
        ("inner", None), ("inner", []), ("inner", {"width": 0}), ("inner", {"wdith": 3}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(key: str, value: Any):
    with pytest.raises(UserError, match=key) as told:
        build(Sizes, {key: value}, "model/config.json")
    assert "\n" not in str(told.value) and str(told.value).startswith("model/config.json: ")
    if key != "inner":
        wrong = Sizes()
        setattr(wrong, key, value)
        with pytest.raises(UserError, match=key):
            check(wrong)


def test_keys_too_many_or_too_few():
    with pytest.raises(UserError, match='unknown key "stagse" .did you mean "stages"'):
        build(Sizes, {"stagse": 1}, "f")
    with pytest.raises(UserError, match='"width" is missing'):
        build(Inner, {}, "f", complete=True)
    for nothing in (None, [], 3, "x"):
        with pytest.raises(UserError, match="f: "):
            build(Inner, nothing, "f")
    assert build(Inner, {"channels": 5}, "f", renamed={"channels": "width"}).width == 5


def test_a_nested_key_is_named_whole():
    wrong = Sizes()
    wrong.inner.width = 100
    with pytest.raises(UserError, match=r"^gan\.inner\.width=100: a whole number from 1 to 64 was expected$"):
        check(wrong, prefix="gan.")


def test_a_message_is_one_printable_line():
    with pytest.raises(UserError) as told:
        build(Sizes, {"rnn": "x\x1b]0;owned\x07\nerror: all is well"}, "f")
    assert str(told.value).isprintable()


def test_omegaconf_takes_these_dataclasses():
    merged = OmegaConf.merge(OmegaConf.structured(Sizes), OmegaConf.create({"stages": 5, "anything": 1}))
    made = OmegaConf.to_object(merged)
    assert isinstance(made, Sizes) and (made.stages, made.sides) == (5, [64])
    check(made)
