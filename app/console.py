"""What the commands say on the terminal: lines for people, lists of words, and how long each step took."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from core.errors import printable

MOST_SAID = 10  # words that a line lists

Say = Callable[[str, str], None]  # what a line is about, at most ten letters, and its text


class Clock:
    """Wall time of every step, s."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.steps[name] = self.steps.get(name, 0.0) + time.perf_counter() - start

    def __str__(self) -> str:
        steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.steps.items())
        return f"{steps}; {sum(self.steps.values()):.1f} s in all"


def say(what: str, text: str, stream: Any = None) -> None:
    """A line for people, on standard output unless told."""
    write_line(f"{what:<10} {printable(text)}" if what else f"{'':<11}{printable(text)}", stream)


def write_line(line: str, stream: Any = None) -> None:
    """Print a line; letters that the stream's encoding lacks are escaped."""
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def listed(words: Sequence[str]) -> str:
    """The first words, and how many more there are."""
    more = f" and {len(words) - MOST_SAID} more" if len(words) > MOST_SAID else ""
    return ", ".join(words[:MOST_SAID]) + more


def short(text: str, most: int = 120) -> str:
    """The text's beginning, at most `most` letters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
