"""Configuration: dataclasses are the truth, the YAML of `configs/` holds named sets of values for them.

Every trainer takes Hydra's `key=value` overrides and `group=choice`; `--dry-run` prints the resolved
configuration and stops, `--help` lists the groups.
"""

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from core.errors import UserError, suggest

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
T = TypeVar("T")


@dataclass
class RunConfig:
    """What every training run has."""

    name: str = "unnamed"  # the run lives in <root>/<name>
    root: str = "runs"
    seed: int = 0
    steps: int = 1000
    log_every: int = 20  # steps between lines of metrics.jsonl
    save_every: int = 200  # steps between checkpoints
    sample_every: int = 500  # steps between samples or validations, 0 for none
    precision: str = "auto"  # bf16 where the device is fast at it, else fp32; or one of these
    device: str = "auto"
    threads: int = 0  # CPU threads, 0 for one a core


def load_config(script: str, schema: type[T], argv: list[str], description: str = "") -> T:
    """Compose configs/<script>.yaml with the overrides in `argv` into a `schema` dataclass.

    `schema.variants`, where it has them, are the dataclasses that a key may hold, by name: `gan=dfgan gan.width=16`;
    `schema.defaults_with` is what the choice of one changes among the schema's own defaults, by its name.
    Raises UserError, with the nearest known name, for an unknown key, group, choice or a value of a wrong type.
    """
    variants: dict[str, dict[str, type]] = getattr(schema, "variants", {})
    if "-h" in argv or "--help" in argv:
        print(_help(script, description, _groups(variants)))
        sys.exit(0)
    overrides = [word for word in argv if word not in ("--dry-run", "--multirun", "-m")]
    for word in overrides:
        if "=" not in word:
            raise UserError(f'"{word}" is not of the form key=value; see {script}.py --help')
    if len(overrides) < len(argv) and "--dry-run" not in argv:
        from training.sweep import sweep

        sys.exit(sweep(overrides, lambda chosen: _composed(script, schema, variants, chosen).run.name))
    composed = _composed(script, schema, variants, overrides)
    if "--dry-run" in argv:
        print(OmegaConf.to_yaml(composed), end="")
        sys.exit(0)
    return OmegaConf.to_object(composed)  # type: ignore[return-value]


def _composed(
    script: str, schema: type, variants: dict[str, dict[str, type]], overrides: list[str]
) -> DictConfig:
    try:
        with _registered(script, schema, variants), initialize_config_dir(str(CONFIGS), version_base="1.3"):
            composed = compose(script, overrides)
        OmegaConf.to_object(composed)  # which checks the values
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(script, schema, variants, overrides, error)) from error
    return composed


@contextmanager
def _registered(script: str, schema: type, variants: dict[str, dict[str, type]]) -> Iterator[None]:
    """Hydra knows the schema and its variants, which are forgotten again: `encoder` is a group of one script only."""
    store, defaults = ConfigStore.instance(), getattr(schema, "defaults_with", {})
    before, store.repo = store.repo, dict(store.repo)
    try:
        store.store(name=f"{script}_schema", node=schema)
        for group, classes in variants.items():
            for name, variant in classes.items():
                node = {group: variant, **defaults.get(name, {})}
                store.store(group=group, name=name, node=node, package="_global_")
        yield
    finally:
        store.repo = before


def as_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain dictionaries, lists, strings and numbers (tuples become lists)."""
    return OmegaConf.to_container(OmegaConf.structured(config))  # type: ignore[return-value]


def with_defaults(old: dict[str, Any], config: Any) -> dict[str, Any]:
    """A stored configuration with every key that its dataclass has gained since, at its default."""
    filled = dict(old)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value) and isinstance(old.get(field.name), dict):
            filled[field.name] = with_defaults(old[field.name], value)
        elif field.name not in old and field.default is not dataclasses.MISSING:
            filled[field.name] = field.default
    return filled


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys in which two configurations differ, each with both values."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key} ({a} then, {b} now)")
    return found


def _keys(schema: type, prefix: str = "") -> list[str]:
    keys = []
    for field in dataclasses.fields(schema):
        keys.append(prefix + field.name)
        if dataclasses.is_dataclass(field.type):
            keys += _keys(field.type, f"{prefix}{field.name}.")  # type: ignore[arg-type]
    return keys


def _groups(variants: dict[str, dict[str, type]]) -> dict[str, list[str]]:
    """The groups and their choices: the folders of configs/ and the variants."""
    folders = sorted(path for path in CONFIGS.iterdir() if path.is_dir())
    files = {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in folders}
    return files | {group: list(classes) for group, classes in variants.items()}


def _explain(
    script: str,
    schema: type,
    variants: dict[str, dict[str, type]],
    overrides: list[str],
    error: Exception,
) -> str:
    """Name the override that is at fault and what would have been right."""
    groups, keys = _groups(variants), _keys(schema)
    chosen = dict(word.lstrip("+~").split("=", 1) for word in overrides)
    for group, classes in variants.items():  # without a choice, whatever one of them has
        of = [classes[chosen[group]]] if chosen.get(group) in classes else classes.values()
        keys += sorted({key for variant in of for key in _keys(variant, f"{group}.")})
    for key, value in chosen.items():
        if key in groups:
            if value not in [*groups[key], "null"]:
                near = suggest(value, groups[key])
                return f'{key}="{value}" does not exist{near}; there is: {", ".join(groups[key])}'
        elif key not in keys:
            near = suggest(key, [*keys, *groups])
            return f'"{key}" is not a key of {script}.py{near}; {script}.py --help lists them'
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"{script}.py: {first}"


def _help(script: str, description: str, groups: dict[str, list[str]]) -> str:
    lines = [
        description.strip(),
        "",
        f"usage: python {script}.py [group=choice ...] [key=value ...] [--dry-run | --multirun]",
        "",
    ]
    lines += [f"  {group}: {', '.join(choices)}" for group, choices in groups.items()]
    lines += [
        "",
        "--dry-run prints every key with its value and stops; --multirun takes several values of a key,",
    ]
    lines += ["key=1,2,3, and trains one run for every combination."]
    return "\n".join(lines)
