"""Hydra's multirun for our trainers: `train_gan.py --multirun gan.damsm_weight=0.5,2 run.seed=0,1`.

Every combination is a run of its own, one after the other, in a folder named after what it was given. All are checked
before the first one starts; the same command goes on where it was stopped.
"""

import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from core.errors import UserError


def combinations(words: Sequence[str]) -> list[tuple[list[str], str]]:
    """Overrides with comma-separated or range(...) values -> the overrides of every run, and what tells it apart.

    Raises UserError for words that Hydra cannot parse, or without anything to sweep over.
    """
    try:
        overrides = OverridesParser.create().parse_overrides(list(words))
        swept = [o.is_sweep_override() for o in overrides]
        values = [
            [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()] if several else [word]
            for word, o, several in zip(words, overrides, swept, strict=True)
        ]
    except HydraException as error:
        raise UserError(f"--multirun: {str(error).splitlines()[0]}") from error
    if not any(swept):
        raise UserError("--multirun has nothing to sweep over; give several values, e.g. run.seed=0,1,2")
    runs = []
    for chosen in itertools.product(*values):
        apart = [word for word, several in zip(chosen, swept, strict=True) if several]
        runs.append((list(chosen), ",".join(word.replace("/", "-") for word in apart)))
    return runs


def sweep(words: Sequence[str], name_of: Callable[[list[str]], Any]) -> int:
    """Run this script once for every combination; `name_of` composes a run's configuration and gives its name.

    Returns 0, or the code of the first run that failed.
    """
    runs = [  # the name in quotes, or Hydra would read its own "=" and ","
        ([*chosen, f"run.name='{name_of(chosen)}-{apart}'"], apart) for chosen, apart in combinations(words)
    ]
    for number, (chosen, apart) in enumerate(runs, 1):
        print(f"== run {number}/{len(runs)}: {apart}", flush=True)
        code = subprocess.run([sys.executable, Path(sys.argv[0]), *chosen]).returncode
        if code != 0:
            return code
    return 0
