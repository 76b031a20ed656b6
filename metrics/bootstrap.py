"""Confidence intervals: of a ratio of sums by bootstrap (Efron 1979; of error rates: Bisani & Ney 2004) or exact, of a
share of items by Wilson's score (1927)."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

LEVEL, DRAWS = 0.95, 1000


class Interval(NamedTuple):
    low: float
    high: float
    of: str  # how it was found, over how many of what


def ratio_interval(
    numerators: np.ndarray,
    denominators: np.ndarray,
    unit: str = "items",
    groups: Sequence[Any] | np.ndarray | None = None,
    seed: int = 0,
) -> Interval:
    """Counts (N,), (N,) -> the 95 % interval of sum(numerators) / sum(denominators), units drawn with replacement.

    A unit is an item or, with `groups` (N,), all items of one group (a voice, a reader): an interval says something of
    units that were not measured, so it has to be drawn over what a figure is meant to generalise to. Where all units
    agree, a bootstrap has no width whatever their number; the interval is then the exact binomial one (Clopper &
    Pearson 1934). Raises ValueError where the denominators sum to zero.
    """
    top, bottom = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if groups is not None:
        number = np.unique(np.asarray(groups), return_inverse=True)[1]
        top, bottom = (np.bincount(number, counts).astype(np.float64) for counts in (top, bottom))
    top, bottom = (counts[(bottom > 0) | (top > 0)] for counts in (top, bottom))
    if not bottom.sum():
        raise ValueError("a ratio of nothing: all denominators are 0")
    ratio = top.sum() / bottom.sum()
    if np.allclose(top, ratio * bottom, rtol=0, atol=1e-9):
        return _exact(top, bottom, ratio, unit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # of draws without a rate, see below
        found = stats.bootstrap((top, bottom), _ratio, n_resamples=DRAWS, batch=100, vectorized=True, paired=True,
                                method="percentile", rng=np.random.default_rng(seed))  # fmt: skip
    # a draw of empty references alone has no rate, and no say
    low, high = np.nanquantile(found.bootstrap_distribution, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), f"95 % bootstrap over {len(top)} {unit}")


def share_interval(hits: int, trials: int, unit: str = "items") -> Interval:
    """`hits` of `trials` items, each of which counts once -> the 95 % interval of their share (Wilson 1927, eq. 4).

    Raises ValueError where there are no trials.
    """
    if trials < 1:
        raise ValueError(f"a share of nothing: there are no {unit}")
    low, high = stats.binomtest(int(hits), int(trials)).proportion_ci(LEVEL, method="wilson")
    return Interval(float(low), float(high), f"95 % Wilson over {trials} {unit}")


def _ratio(top: np.ndarray, bottom: np.ndarray, axis: int) -> np.ndarray:
    total = bottom.sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, top.sum(axis=axis) / total, np.nan)


def _exact(top: np.ndarray, bottom: np.ndarray, ratio: float, unit: str) -> Interval:
    """Of units that all agree: each counts once where all or nothing is right, else each of its counts."""
    whole = ratio in (0, 1)
    trials = len(top) if whole else round(bottom.sum())
    hits = round(ratio * trials)
    low, high = stats.binomtest(min(hits, trials), trials).proportion_ci(LEVEL)
    over = (
        f"{len(top)} {unit}, which agree" if whole else f"{trials} counts of {len(top)} {unit}, which agree"
    )
    return Interval(float(low), max(float(high), ratio), f"95 % exact binomial over {over}")
