"""Colour edits: one colour word of a caption is changed; does that part of the picture change, and no other?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metrics.bootstrap import Interval, ratio_interval


class ColourEdits(NamedTuple):
    changed: float  # the edited part shows its new colour
    changed_interval: Interval  # 95 %, over captions
    kept: float  # of the other named parts, those that are read as before the edit
    kept_interval: Interval
    others: int  # named parts that were not edited


def colour_edits(
    before: np.ndarray,
    after: np.ndarray,
    edited: Sequence[int],
    colours: Sequence[int],
    named: np.ndarray,
    seed: int = 0,
) -> ColourEdits:
    """What N edits did.

    before, after: colour ids read from the pictures (N, P); edited: which part (N,); colours: its new colour id (N,);
    named: (N, P) bool, the parts that the caption names. Raises ValueError for shapes that do not fit, or where no
    caption names a second part.
    """
    before, after, named = np.asarray(before), np.asarray(after), np.asarray(named, bool)
    part, colour = np.asarray(edited), np.asarray(colours)
    if (
        not before.shape == after.shape == named.shape
        or part.shape != colour.shape
        or len(part) != len(before)
    ):
        raise ValueError(
            f"{before.shape}, {after.shape} and {named.shape} readings of {len(part)} edits: one row an edit expected"
        )
    rows = np.arange(len(part))
    changed = after[rows, part] == colour
    others = named.copy()
    others[rows, part] = False
    if not others.any():
        raise ValueError("no caption names a part beside the edited one")
    kept = others & (before == after)
    return ColourEdits(
        changed=float(changed.mean()),
        changed_interval=ratio_interval(changed, np.ones(len(changed)), "captions", seed=seed),
        kept=float(kept.sum() / others.sum()),
        kept_interval=ratio_interval(kept.sum(1), others.sum(1), "captions", seed=seed),
        others=int(others.sum()),
    )
