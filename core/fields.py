"""What a value of a configuration may be, declared in the dataclass itself and checked in one place.

    @dataclass
    class Sizes:
        stages: int = bounded(3, 1, 8)
        rnn: str = one_of("lstm", ("lstm", "gru"))
        parts: list[str] = list_of([], 1, 64)

    build(Sizes, {"stages": 2}, "model/config.json")    # -> Sizes, or UserError in one line
    check(Sizes(stages=0), "")                          # UserError: stages=0: a whole number from 1 to 8 was expected

These are fields of plain dataclasses, which OmegaConf and Hydra take as they are. Everything that is declared elsewhere
keeps its type: whole numbers are no truth values, numbers are finite, and an unknown key is named with its nearest.
"""

import dataclasses
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from core.errors import UserError, suggest

T = TypeVar("T")

UNSET = "???"  # how OmegaConf marks a value that is still to be given
MOST = 2**53  # of a whole number without a range of its own; larger ones are no exact floats


def bounded(default: Any, low: float, high: float, above: bool = False) -> Any:
    """A number from `low` to `high`, both included, or above `low` only. `default` may be UNSET."""
    return dataclasses.field(default=default, metadata={"range": (low, high), "above": above})


def one_of(default: Any, choices: Sequence[Any]) -> Any:
    """One of a few values, most often names."""
    return dataclasses.field(default=default, metadata={"choices": tuple(choices)})


def list_of(default: Sequence[Any], low: int, high: int, of: tuple[float, float] | None = None) -> Any:
    """A list of `low` to `high` items, numbers from `of[0]` to `of[1]` where `of` is given."""
    return dataclasses.field(
        default_factory=lambda: list(default), metadata={"count": (low, high), "range": of}
    )


def build(
    cls: type[T],
    mapping: Any,
    where: str,
    complete: bool = False,
    renamed: Mapping[str, str] | None = None,
) -> T:
    """An instance of the dataclass `cls` from what a file holds; keys that are missing take their defaults.

    where: the file, for messages; complete: no key may be missing; renamed: the present names of older keys.
    Raises UserError for anything but a mapping, an unknown or missing key, and what `check` refuses.
    """
    if not isinstance(mapping, Mapping):
        raise UserError(
            f"{_at(where)}{shown(mapping)}: the keys of {cls.__name__} with their values were expected"
        )
    mapping = {(renamed or {}).get(key, key): value for key, value in mapping.items()}
    known = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    types_of = get_type_hints(cls)
    for key in mapping:
        if key not in known:
            near = suggest(str(key), known)
            raise UserError(
                f"{_at(where)}unknown key {shown(key)}{near}; another release may have written it. Known are: "
                + ", ".join(known)
            )
    values = {}
    for key, field in known.items():
        has_default = not (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if key not in mapping:
            if complete or not has_default:
                raise UserError(f'{_at(where)}the key "{key}" is missing; restore the file')
            continue
        value, of = mapping[key], types_of[key]
        if isinstance(of, type) and dataclasses.is_dataclass(of) and not isinstance(value, of):
            values[key] = build(of, value, f"{where}: {key}" if where else key, complete)
        else:
            values[key] = _checked(field, of, value, where, key)
    return cls(**values)


def check(instance: Any, where: str = "", prefix: str = "") -> None:
    """Raises UserError for the first field of a dataclass, or of one inside it, whose value is not what it may be.

    where: the file or command, for messages; prefix: what stands before the keys, such as "gan.".
    """
    types_of = get_type_hints(type(instance))
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            check(value, where, f"{prefix}{field.name}.")
        elif isinstance(value, list) and value and all(map(dataclasses.is_dataclass, value)):
            for number, item in enumerate(value):
                check(item, where, f"{prefix}{field.name}[{number}].")
        else:
            _checked(field, types_of[field.name], value, where, prefix + field.name)


def _checked(field: dataclasses.Field, of: Any, value: Any, where: str, key: str) -> Any:
    """The value, a whole number as a float where a float is declared. Raises UserError."""
    if isinstance(value, str) and value == UNSET:
        return value
    meta = field.metadata
    expected = _expectation(of, meta)

    def refuse(suggestion: str = "") -> UserError:
        return UserError(f"{_at(where)}{key}={shown(value)}{suggestion}: {expected} was expected")

    if "choices" in meta:
        # 1 == True == 1.0, which are different choices
        if not any(type(value) is type(choice) and value == choice for choice in meta["choices"]):
            raise refuse(suggest(value, map(str, meta["choices"])) if isinstance(value, str) else "")
        return value
    if not _is_a(value, of):
        raise refuse()
    low, high = meta.get("range") or (-MOST, MOST)
    if "count" in meta:
        if not meta["count"][0] <= len(value) <= meta["count"][1]:
            raise refuse()
        numbers = value if meta["range"] else ()
    else:
        numbers = (value,)
    if not all(_fits(number, low, high, meta) for number in numbers):
        raise refuse()
    return float(value) if of is float else value


def _fits(number: Any, low: float, high: float, meta: Mapping[str, Any]) -> bool:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return True
    if isinstance(number, float) and (not math.isfinite(number) or not meta.get("range")):
        return math.isfinite(number)
    return (low < number if meta.get("above") else low <= number) and number <= high


def _is_a(value: Any, of: Any) -> bool:
    """Whether a value is of an annotated type, as far as JSON and YAML can hold one."""
    if of is Any:
        return True
    origin = get_origin(of)
    if origin in (Union, types.UnionType):
        return any(_is_a(value, one) for one in get_args(of))
    if origin in (list, tuple):
        items = [one for one in get_args(of) if one is not Ellipsis] or [Any]
        return isinstance(value, list | tuple) and all(_is_a(item, items[0]) for item in value)
    if origin is dict:
        keys, values = get_args(of)
        return isinstance(value, dict) and all(_is_a(k, keys) and _is_a(v, values) for k, v in value.items())
    if of in (int, float):
        return isinstance(value, int if of is int else int | float) and not isinstance(value, bool)
    return not isinstance(of, type) or isinstance(value, of)


NAMES: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _expectation(of: Any, meta: Mapping[str, Any]) -> str:
    """What a field may hold, in words."""
    if "choices" in meta:
        return "one of " + ", ".join(map(str, meta["choices"]))
    limits: Callable[[Any], str] = lambda pair: f"from {pair[0]:.10g} to {pair[1]:.10g}"  # noqa: E731
    if "count" in meta:
        inside = f", each {limits(meta['range'])}" if meta["range"] else ""
        return f"a list of {meta['count'][0]} to {meta['count'][1]} items{inside}"
    if meta.get("above"):
        return f"{NAMES[of]} above {meta['range'][0]:g}, at most {meta['range'][1]:g},"
    if meta.get("range"):
        return f"{NAMES.get(of, 'a number')} {limits(meta['range'])}"
    if of is float:
        return "a finite number"
    return NAMES.get(of, f"a value of type {getattr(of, '__name__', of)}")


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def shown(value: Any) -> str:
    """A value as messages quote it: short, and on one printable line whatever it holds."""
    if isinstance(value, str):
        text = f'"{value[:80]}"' if value.isprintable() else repr(value[:80])
    elif isinstance(value, dict | list | tuple | set):
        items = list(value.values() if isinstance(value, dict) else value)
        is_plain = len(items) <= 8 and not any(isinstance(item, dict | list | tuple | set) for item in items)
        text = repr(value) if is_plain else f"{type(value).__name__} of {len(items)} items"
    elif isinstance(value, int) and abs(value) >= 10**20:
        text = f"a number of {value.bit_length()} bits"  # its digits would take long to write
    else:
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
