"""What the sets that are made here share: settings that decide every byte, and which splits are complete."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from core.errors import UserError, suggest
from core.files import make_folder, read_json, write_json
from data.packed import locked

MOST = 50_000  # species of a split, or clips
MOST_PICTURES = 1_000  # of a species
MOST_SEED = 2**63


def settings_of(folder: Path, default: Any, asked: dict[str, int] | None) -> tuple[Any, list[str]]:
    """The settings to make a set with, and the splits that are complete: those of the set there, if one is."""
    known = {field.name for field in fields(default)}
    wanted = replace(default, **(asked or {}))
    _check_range(wanted, "")
    path = folder / "settings.json"
    try:
        if not path.exists():
            return wanted, []
    except OSError as error:
        raise UserError(f"cannot read {str(path)[:80]}: {error.strerror}; choose another --root") from error
    stored = read_json(path)
    values = {key: value for key, value in stored.items() if key in known} if isinstance(stored, dict) else {}
    if not values or not all(type(value) is int for value in values.values()):
        raise UserError(f"{path} is damaged; remove {folder} or choose another --root")
    done = [split for split in as_list(stored.get("splits")) if isinstance(split, str)]
    there = type(default)(**values)
    _check_range(there, f"{path}: ")
    if there.version != default.version:
        raise UserError(
            f"{folder} was made by version {there.version} of its generator, this is version {default.version}; "
            "remove that folder or choose another --root"
        )
    for name in asked or {}:
        if getattr(there, name) != getattr(wanted, name):
            raise UserError(
                f"{folder} was made with {name} {getattr(there, name)}, {getattr(wanted, name)} is asked for; "
                "remove that folder or choose another --root"
            )
    return there, done


def as_list(value: Any) -> list:
    return value if isinstance(value, list) else []


def _check_range(settings: Any, where: str) -> None:
    for name, value in asdict(settings).items():
        low = 0 if name == "seed" else 1
        high = MOST_SEED if name == "seed" else MOST_PICTURES if name.endswith("_pictures") else MOST
        if value < low:
            raise UserError(f"{where}{name} is {value}; it must be at least {low}")
        if value > high:
            raise UserError(f"{where}{name} is {value}; it must be at most {high:,}")


@contextmanager
def building(folder: Path) -> Iterator[None]:
    """One process makes a set, the others wait; what a killed one left half written is removed."""
    make_folder(folder)
    with locked(folder / "set"):
        for left in folder.rglob(".*"):
            if (
                re.fullmatch(r"\..+\.[a-z0-9_]{8}", left.name)
                and "cache" not in left.parts[len(folder.parts) :]
            ):
                with suppress(OSError):
                    left.unlink()
        yield


def write_settings(folder: Path, settings: Any, splits: Sequence[str]) -> None:
    write_json(folder / "settings.json", asdict(settings) | {"splits": list(splits)})


def check_names(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f'no {what} "{name}"{suggest(name, known)}; there are: {", ".join(known)}')


def listing(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()
