"""The command line of the trainers: Hydra's own, with our answers before it.

`hydra.main` gives --cfg job, --info, --multirun with the launchers joblib and submitit (`pip install '.[sweeps]'`), and
its sweepers. Before it every word is checked, so that a mistake is one line and no run of a sweep starts for nothing.
"""

import csv
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from core.errors import UserError, suggest
from training.config import CONFIGS, registered, resolve
from training.help import help_text

MOST_RUNS = 1000  # of a sweep that are checked beforehand


class _Ended(BaseException):
    """Carries what ends a run through Hydra, which would print its own lines about an Exception."""


def run_trainer(script: str, schema: type, train: Callable[[Any], None], description: str) -> None:
    """Answer --help and the like, or train what the process's words ask for. Raises UserError."""
    argv = sys.argv[1:]
    if {"-h", "--help"} & set(argv):
        print(help_text(script, schema, description, [word for word in argv if not word.startswith("-")]))
        return
    from hydra._internal.utils import get_args_parser

    dry = "--dry-run" in argv
    argv = [word for word in argv if word != "--dry-run"]
    args, rest = get_args_parser().parse_known_args(argv)
    words = [*args.overrides, *(word for word in rest if not word.startswith("-"))]
    if unknown := [word for word in rest if word.startswith("-")]:
        near = suggest(unknown[0], ["--help", "--dry-run", "--multirun", "--cfg", "--info"])
        raise UserError(f'"{unknown[0]}" is not of the form key=value{near}; see {script}.py --help')
    argv = [word for word in argv if word not in words] + words  # Hydra's parser takes options first
    if args.multirun:
        single, runs = expand(words)
        for number, run in enumerate(runs):
            composed, _ = resolve(script, schema, run)
            if dry:
                print(f"# run {number}: {' '.join(run)}\n{OmegaConf.to_yaml(composed)}---")
        if dry:
            return
        if not any(word.startswith("hydra.sweep.dir=") for word in words):
            settings: Any = resolve(script, schema, single)[1]
            folder = f"{settings.run.root}/{settings.run.name}".replace("'", "\\'")
            argv.append(f"hydra.sweep.dir='{folder}'")
        fixed = [word.partition("=")[0].lstrip("+") for word in single]
        argv.append(f"hydra.job.config.override_dirname.exclude_keys={json.dumps(fixed)}")
    else:
        composed, _ = resolve(script, schema, words)
        if dry:
            print(OmegaConf.to_yaml(composed), end="")
            return
    _hand_to_hydra(script, schema, train, argv)


def _hand_to_hydra(script: str, schema: type, train: Callable[[Any], None], argv: list[str]) -> None:
    import hydra
    from hydra.errors import HydraException

    def job(composed: DictConfig) -> None:
        run_job(composed, train)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us
    before, sys.argv = sys.argv, [sys.argv[0], *argv]
    folder = None
    try:
        with registered(script, schema):
            hydra.main(config_path=str(CONFIGS), config_name=script, version_base="1.3")(job)()
    except _Ended as ended:
        cause = ended.__cause__ or ended.args[0]
        raise cause from None
    except HydraException as error:
        raise UserError(f"{script}.py: {str(error).strip().splitlines()[0]}") from error
    finally:
        sys.argv = before
        for word in argv:
            if word.startswith("hydra.sweep.dir="):
                folder = Path(word.partition("=")[2].strip("'").replace("\\'", "'"))
        if folder is not None and folder.is_dir():
            summarise(folder)


def run_job(composed: DictConfig, train: Callable[[Any], None]) -> None:
    """One run, in this process or in a worker of a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from core.runtime import prepare_process
    from training.distributed import explained

    config: Any = OmegaConf.to_object(composed)
    settings = HydraConfig.get()
    if settings.mode == RunMode.MULTIRUN:
        config.run.root = settings.sweep.dir
        config.run.name = folder_name(settings.job.override_dirname, settings.job.num)
    prepare_process(config.run.threads)
    try:
        with explained():
            train(config)
    except (UserError, KeyboardInterrupt) as ended:
        raise _Ended(ended) from ended


def expand(words: Sequence[str]) -> tuple[list[str], Iterator[list[str]]]:
    """Words with several values for some keys -> the words that have one, and the words of every run.

    Raises UserError for words that Hydra cannot parse, or without anything to sweep over.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ValueType
    from hydra.errors import HydraException

    others = (ValueType.INTERVAL_SWEEP, ValueType.GLOB_CHOICE_SWEEP)  # whose values the sweeper will choose
    try:
        parsed = OverridesParser.create().parse_overrides(list(words))
        single = [word for word, p in zip(words, parsed, strict=True) if not p.is_sweep_override()]
        swept = [
            [f"{str(p.input_line).partition('=')[0]}={value}" for value in p.sweep_string_iterator()]
            for p in parsed
            if p.is_sweep_override() and p.value_type not in others
        ]
    except (HydraException, ValueError) as error:
        raise UserError(f"--multirun: {str(error).splitlines()[0]}") from error
    mine = [word for word in single if not word.startswith(("hydra.", "hydra/"))]
    if len(single) == len(words) and not any(word.startswith("hydra.sweeper") for word in words):
        raise UserError("--multirun has nothing to sweep over; give several values, e.g. run.seed=0,1,2")
    runs = ([*mine, *values] for values in itertools.product(*swept))
    return single, itertools.islice(runs, MOST_RUNS)


def folder_name(overrides: str, number: int) -> str:
    """What tells a run of a sweep from the others, as the name of a folder: "gan.width-16-run.seed-1"."""
    name = re.sub(r"[^\w.+-]+", "_", overrides).strip(".") or str(number)
    return name if len(name) <= 120 else f"{name[:110]}-{number}"


def summarise(folder: Path) -> None:
    """Print the last value of every measurement of a sweep's runs, and write them to summary.csv."""
    rows = []
    for path in sorted(folder.glob("*/metrics.jsonl")):
        row: dict[str, Any] = {"run": path.parent.name}
        for line in path.read_text(encoding="utf-8").splitlines():
            row |= json.loads(line)
        rows.append(row)
    if not rows:
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with open(folder / "summary.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    print(f"\n{folder / 'summary.csv'}: the last measurements of {len(rows)} runs")
    width = max(len(row["run"]) for row in rows)
    for row in rows:
        values = [f"{k} {v:.4g}" for k, v in row.items() if k != "run" and isinstance(v, int | float)]
        print(f"  {row['run']:{width}}  {', '.join(values[:8])}")
