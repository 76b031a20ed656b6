"""What the recipes in Python share: they call the same commands that a user would."""

import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from core.errors import UserError, suggest
from core.files import write_atomically

DOCS = Path(__file__).resolve().parents[1] / "docs"


def call(script: str, *arguments: str, capture: bool = False) -> str:
    """Run a script of ours, and return what it printed with `capture`; its complaint is ours."""
    done = subprocess.run(
        [sys.executable, script, *arguments], stdout=subprocess.PIPE if capture else None, text=True
    )
    if done.returncode != 0:
        raise UserError(f"{script} ended with code {done.returncode}; what it said stands above")
    return done.stdout or ""


def evaluate(metrics: str, *options: str) -> list[dict[str, Any]]:
    """What `evaluate.py` stores of each of the metrics, "fid,kid"."""
    lines = call("evaluate.py", "--metric", metrics, "--json", *options, capture=True).splitlines()
    return [json.loads(line) for line in lines[-len(metrics.split(",")) :]]


def measure(metric: str, model: Path, out: Path, *options: str) -> float:
    """The figure that `evaluate.py` finds, which also stores it in `out`."""
    return float(evaluate(metric, "--model", str(model), "--out", str(out), *options)[0]["value"])


def chosen(names: Sequence[str], of: Collection[str], kind: str) -> list[str]:
    """The names, or without any all `of` them. Raises UserError for a name that is none; `kind` says of what."""
    for name in names:
        if name not in of:
            raise UserError(f'no {kind} "{name}"{suggest(name, of)}; there are {", ".join(of)}')
    return list(names or of)


def save(image: Image.Image, name: str) -> None:
    """Write a picture of the README, docs/<name>.jpg."""
    write_atomically(DOCS / name, partial(image.save, format="JPEG", quality=90))
    print(f"docs/{name}: {image.width} x {image.height} px, {(DOCS / name).stat().st_size // 1024} KB")
