"""Percentile bootstrap of a ratio of sums (Efron 1979; for error rates: Bisani & Ney 2004)."""

import numpy as np


def ratio_interval(
    numerators: np.ndarray, denominators: np.ndarray, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Per-item counts (N,), (N,) -> interval of sum(numerators) / sum(denominators), items drawn with replacement."""
    top, bottom = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    ratios = np.empty(draws)
    for draw in range(draws):
        rows = np.random.default_rng([seed, draw]).integers(len(top), size=len(top))
        total = bottom[rows].sum()
        ratios[draw] = (
            top[rows].sum() / total if total else np.nan
        )  # a draw of empty references alone has no rate
    low, high = np.nanquantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
