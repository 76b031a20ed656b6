"""Part-colour accuracy: of the colours that a caption names, how many does its picture show?"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from metrics.bootstrap import Interval, ratio_interval


class PartColours(NamedTuple):
    value: float  # correct / named, over all named parts of all pictures
    interval: Interval  # 95 %, over pictures
    parts: dict[str, tuple[float, int]]  # accuracy and how often named; a part that nobody names is absent
    chance: float  # 1 / number of colours
    shuffled: float  # expected where every picture is read against another picture's caption
    named: int


def part_colour_accuracy(
    predicted: np.ndarray,
    named: Sequence[Mapping[str, str]],
    parts: Sequence[str],
    colours: Sequence[str],
    seed: int = 0,
) -> PartColours:
    """Colour ids read from pictures (N, P) and what each caption names, {part: colour} -> accuracy.

    An id of -1 is of a part that was not found: what names its colour is wrong.
    `shuffled` is what a generator reaches that knows how often each colour is asked for, but not by which caption.
    Raises ValueError for a part or colour that is not listed and where nothing is named.
    """
    predicted = np.asarray(predicted)
    if predicted.shape != (len(named), len(parts)):
        raise ValueError(f"predictions of shape {(len(named), len(parts))} expected, found {predicted.shape}")
    wanted = np.full(predicted.shape, -1)
    for row, caption in enumerate(named):
        for part, colour in caption.items():
            if part not in parts or colour not in colours:
                raise ValueError(f"{part}: {colour} is not among {list(parts)} and {list(colours)}")
            wanted[row, list(parts).index(part)] = list(colours).index(colour)
    asked = wanted >= 0
    if not asked.any():
        raise ValueError("no caption names the colour of a part")
    right = asked & (predicted == wanted)
    return PartColours(
        value=float(right.sum() / asked.sum()),
        interval=ratio_interval(right.sum(axis=1), asked.sum(axis=1), "pictures", seed=seed),
        parts={
            part: (float(right[:, p].sum() / asked[:, p].sum()), int(asked[:, p].sum()))
            for p, part in enumerate(parts)
            if asked[:, p].any()
        },
        chance=1 / len(colours),
        shuffled=_agreement_by_frequency(predicted, wanted, len(colours)),
        named=int(asked.sum()),
    )


def _agreement_by_frequency(predicted: np.ndarray, wanted: np.ndarray, colours: int) -> float:
    """(N, P), (N, P) with -1 where unnamed -> expected accuracy of predictions dealt out at random within a part."""
    expected = 0.0
    for p in range(predicted.shape[1]):
        found = predicted[predicted[:, p] >= 0, p]
        shown = np.bincount(found, minlength=colours) / max(len(found), 1)
        expected += shown[wanted[wanted[:, p] >= 0, p]].sum()
    return float(expected / (wanted >= 0).sum())
