"""Engines that are programs: run one, read the wave file that it wrote."""

import shutil
import subprocess
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.errors import UserError

MOST_SECONDS = 120.0


def run(command: Sequence[str], install: str, text: str | None = None) -> None:
    """Run a program, `text` as its input. Raises UserError where it is not there, fails or takes over two minutes."""
    if shutil.which(command[0]) is None:
        raise UserError(f"no program {command[0]} on the PATH; install it, e.g. {install}")
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, encoding="utf-8", errors="replace", timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{command[0]} has not ended after {MOST_SECONDS:g} s; leave this engine out"
        ) from error
    if done.returncode != 0:
        reason = " ".join((done.stderr or done.stdout).split())[-200:]
        raise UserError(f"{command[0]} could not speak ({reason}); install it, e.g. {install}")


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """Samples (S,) int16 and the rate in Hz. Raises UserError where no sound was written."""
    try:
        with wave.open(str(path), "rb") as file:
            frames, channels, rate = (
                file.readframes(file.getnframes()),
                file.getnchannels(),
                file.getframerate(),
            )
    except (OSError, EOFError, wave.Error) as error:
        raise UserError(f"the engine wrote no sound ({error}); is the voice installed?") from error
    return np.frombuffer(frames, np.int16)[::channels].copy(), rate
