"""Configuration: dataclasses are the truth, the YAML of `configs/` holds named sets of values for them.

`load_config` composes both with Hydra's overrides, key=value and group=choice, and answers what is wrong with them in
one line. The command line around it is `training.front`.
"""

import dataclasses
import functools
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf

from core.errors import UserError, printable, suggest
from core.fields import bounded, check, one_of

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
PRECISIONS = ("auto", "bf16", "fp32")
OWN_SIGNS = "=(),'\"[]{}:#&~$;\\ "  # what Hydra or a shell reads as something else than a letter
T = TypeVar("T")
Variants = dict[str, dict[str, type]]


@dataclass
class RunConfig:
    """What every training run has."""

    name: str = "unnamed"  # the run lives in <root>/<name>
    root: str = "runs"
    seed: int = bounded(0, 0, 2**32 - 1)
    steps: int = bounded(1000, 1, 10**9)
    log_every: int = bounded(20, 1, 10**9)  # steps between lines of metrics.jsonl
    save_every: int = bounded(200, 1, 10**9)  # steps between checkpoints
    sample_every: int = bounded(500, 0, 10**9)  # steps between samples or validations, 0 for none
    precision: str = one_of("auto", PRECISIONS)  # auto: bf16 where the device is fast at it, else fp32
    device: str = "auto"  # cpu, cuda, cuda:1; auto: the first GPU where there is one
    threads: int = bounded(0, 0, 1024)  # CPU threads, 0 for OMP_NUM_THREADS or one a core

    def __post_init__(self) -> None:
        allowed = (
            self.name.isprintable() and not re.search(r"[/\\]", self.name) and len(self.name.encode()) <= 200
        )
        if not allowed or self.name.strip() in ("", ".", ".."):
            raise UserError(
                f'run.name="{printable(self.name)[:60]}" is not the name of a folder; choose letters, digits, "-" '
                'and "_", and run.root for where it lies'
            )
        if not self.root.strip() or not self.root.isprintable():
            raise UserError(
                f'run.root="{printable(self.root)}" is not a folder; run.root=runs is the usual one'
            )


def load_config(script: str, schema: type[T], overrides: Sequence[str] = ()) -> T:
    """Compose configs/<script>.yaml with the overrides into a `schema` dataclass.

    `schema.variants`, where it has them, are the dataclasses that a key may hold, by name: `gan=dfgan gan.width=16`;
    `schema.defaults_with` is what the choice of one changes among the schema's own defaults, by its name.
    Raises UserError, with the nearest known name, for an unknown key, group, choice or a value that cannot be.
    """
    return resolve(script, schema, overrides)[1]


def resolve(script: str, schema: type[T], overrides: Sequence[str]) -> tuple[DictConfig, T]:
    """The composed configuration, as Hydra's and as a dataclass whose values have been checked."""
    from hydra import compose, initialize_config_dir

    for word in overrides:
        _check_syntax(script, word)
    words = [word for word in overrides if not word.lstrip("+~").startswith("hydra")]
    try:
        with registered(script, schema), initialize_config_dir(str(CONFIGS), version_base="1.3"):
            composed = compose(script, list(overrides))
        config: Any = OmegaConf.to_object(composed)
        for group, classes in variants_of(schema).items():
            if type(getattr(config, group)) not in classes.values():
                raise ValueError(f"{group} is none of {', '.join(classes)}")
        check(config, f"{script}.py")
    except UserError:
        raise
    except Exception as error:  # of some dozen kinds, from Hydra, OmegaConf, YAML and the parser
        raise UserError(_explain(script, schema, words, error)) from error
    return composed, config


def variants_of(schema: type) -> Variants:
    return getattr(schema, "variants", {})


@contextmanager
def registered(script: str, schema: type) -> Iterator[None]:
    """Hydra knows the schema, its variants and the experiments of the script, which are forgotten again: `encoder` is
    a group of one script only, and `experiment` means each script's own."""
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    store = ConfigStore.instance()
    Plugins.instance()  # which register what they have at their first use, to stay
    before = store.repo
    store.repo = before | _nodes(script, schema)
    try:
        yield
    finally:
        store.repo = before


@functools.cache
def _nodes(script: str, schema: type) -> dict[str, Any]:
    """What ConfigStore holds of a script, made once."""
    from hydra.core.config_store import ConfigStore

    store, defaults = ConfigStore.instance(), getattr(schema, "defaults_with", {})
    before, store.repo = store.repo, {}
    store.store(name=f"{script}_schema", node=schema)
    for group, classes in variants_of(schema).items():
        for name, variant in classes.items():
            node = {group: variant, **defaults.get(name, {})}
            store.store(group=group, name=name, node=node, package="_global_")
    for path in experiments(script):
        store.store(group="experiment", name=path.stem, node=_numbers(read_yaml(path)), package="_global_")
    nodes, store.repo = store.repo, before
    return nodes


def read_yaml(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _numbers(node: Any) -> Any:
    """YAML 1.1 reads 1e-3 as a text; OmegaConf, whose loader this stands for, as a number."""
    if isinstance(node, dict):
        return {key: _numbers(value) for key, value in node.items()}
    if isinstance(node, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?e[-+]?\d+", node, re.IGNORECASE):
        return float(node)
    return node


def experiments(script: str) -> list[Path]:
    """The files of a script's experiments, by name."""
    return sorted((CONFIGS / "experiment" / script).glob("*.yaml"))


def groups_of(script: str, schema: type) -> dict[str, list[str]]:
    """The groups of a script and their choices: the folders of configs/, its experiments and the variants."""
    folders = sorted(path for path in CONFIGS.iterdir() if path.is_dir() and path.name != "experiment")
    files = {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in folders}
    files["experiment"] = [path.stem for path in experiments(script)]
    return files | {group: list(classes) for group, classes in variants_of(schema).items()}


def command_line() -> list[str]:
    """The words that started this run; in a worker of a sweep those of its own run."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return sys.argv
    return [f"{HydraConfig.get().job.config_name}.py", *HydraConfig.get().overrides.task]


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


def fields_of(schema: type, prefix: str = "") -> dict[str, tuple[type, dataclasses.Field]]:
    """Every dotted key of a schema, with the dataclass and the field that it is."""
    found = {}
    for field in dataclasses.fields(schema):
        found[prefix + field.name] = (schema, field)
        if dataclasses.is_dataclass(field.type):
            found |= fields_of(field.type, f"{prefix}{field.name}.")  # type: ignore[arg-type]
    return found


def _check_syntax(script: str, word: str) -> None:
    """Raises UserError for a word that Hydra's grammar does not take."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if "=" not in word:
        raise UserError(f'"{word}" is not of the form key=value; see {script}.py --help')
    key, value = word.split("=", 1)
    if not key.strip():
        raise UserError(f'"{word}" has no key before its "="; see {script}.py --help')
    try:
        parsed = OverridesParser.create().parse_override(word)
        parsed.value()
        if parsed.is_sweep_override():
            raise UserError(
                f"{word} has several values: with --multirun each trains a run; as one text, put it in quotes of both "
                f"kinds: \"{key}='{value}'\""
            )
    except (HydraException, ValueError, RecursionError) as error:
        quoted = value.strip("'\"").replace("'", "\\'")
        raise UserError(
            f"{key}={value}: Hydra reads some of {OWN_SIGNS.strip()} in a value as its own; put it in quotes of both "
            f"kinds: \"{key}='{quoted}'\""
        ) from error


def _explain(script: str, schema: type, overrides: Sequence[str], error: Exception) -> str:
    """Name the override that is at fault and what would have been right."""
    groups, known = groups_of(script, schema), fields_of(schema)
    chosen = dict(word.lstrip("+~").split("=", 1) for word in overrides)
    for group, classes in variants_of(schema).items():  # without a choice, whatever one of them has
        of = [classes[chosen[group]]] if chosen.get(group) in classes else list(classes.values())
        for variant in reversed(of):
            known |= fields_of(variant, f"{group}.")
    for key, value in chosen.items():
        if key in groups:
            may_be_none = ["null"] if key == "experiment" else []
            if value not in [*groups[key], *may_be_none]:
                near = suggest(value, groups[key])
                return f'{key}="{value}" does not exist{near}; there is: {", ".join(groups[key])}'
        elif key not in known:
            near = suggest(key, [*known, *groups])
            return f'"{key}" is not a key of {script}.py{near}; {script}.py --help lists them'
        elif wrong := _wrong_value(*known[key], key, value):
            return f"{script}.py: {wrong}"
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    cause = str(error.__cause__).strip().partition("\n")[0] if error.__cause__ else ""
    return f"{script}.py: {first}{f' ({cause})' if cause and cause != first else ''}"


def _wrong_value(owner: type, field: dataclasses.Field, key: str, word: str) -> str:
    """What is wrong with the value of one key by itself, in words; "" for nothing."""
    if dataclasses.is_dataclass(field.type):
        inside = next(iter(fields_of(field.type)))  # type: ignore[arg-type]
        return f"{key} is a group of keys; set them one by one, such as {key}.{inside}=..."
    try:
        value = yaml.safe_load(word)
        trial: Any = object.__new__(owner)
        for other in dataclasses.fields(owner):
            setattr(trial, other.name, "???")  # OmegaConf's mark of what is still to be given
        setattr(trial, field.name, _numbers(value))
        check(trial, "", key.removesuffix(field.name))
    except UserError as wrong:
        return str(wrong)
    except Exception:  # not for this to say
        return ""
    return ""
