"""What the recipes in Python share: they call the same commands that a user would."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from PIL import Image

from storage.errors import UserError
from storage.files import write_atomically

DOCS = Path(__file__).resolve().parents[1] / "docs"


def call(script: str, *arguments: str, capture: bool = False) -> str:
    """Run a script of ours, and return what it printed with `capture`; its complaint is ours."""
    done = subprocess.run(
        [sys.executable, script, *arguments], stdout=subprocess.PIPE if capture else None, text=True
    )
    if done.returncode != 0:
        raise UserError(f"{script} ended with code {done.returncode}; what it said stands above")
    return done.stdout or ""


def measure(metric: str, model: Path, out: Path, *options: str) -> float:
    """The figure that `evaluate.py` finds, which also stores it in `out`."""
    command = ["--metric", metric, "--model", str(model), "--out", str(out), "--json", *options]
    return float(json.loads(call("evaluate.py", *command, capture=True).splitlines()[-1])["value"])


def save(image: Image.Image, name: str) -> None:
    """Write a picture of the README, docs/<name>.jpg."""
    write_atomically(DOCS / name, partial(image.save, format="JPEG", quality=90))
    print(f"docs/{name}: {image.width} x {image.height} px, {(DOCS / name).stat().st_size // 1024} KB")
