"""What the sets that are made here share: settings that decide every byte, and which splits are complete."""

import os
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from core.errors import UserError, suggest
from core.files import read_json, write_json


def settings_of(folder: Path, default: Any, asked: dict[str, int] | None) -> tuple[Any, list[str]]:
    """The settings to make a set with, and the splits that are complete: those of the set there, if one is."""
    known = {field.name for field in fields(default)}
    wanted = replace(default, **(asked or {}))
    for name, value in asdict(wanted).items():
        if value < (0 if name == "seed" else 1):
            raise UserError(f"{name} is {value}; it must be at least {0 if name == 'seed' else 1}")
    path = folder / "settings.json"
    if not path.exists():
        return wanted, []
    stored = read_json(path)
    done = [split for split in stored.get("splits", []) if isinstance(split, str)]
    there = type(default)(**{key: value for key, value in stored.items() if key in known})
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
