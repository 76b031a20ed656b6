"""Quality and variety apart: how much of each set lies where the other does, in a network's features."""

from typing import NamedTuple

import numpy as np

from metrics.vectors import finite_rows, squared_distances


class Manifold(NamedTuple):
    precision: float
    recall: float
    density: float
    coverage: float


def manifold(real: np.ndarray, generated: np.ndarray, k: int = 3, k_density: int = 5) -> Manifold:
    """Features (N, D), (M, D) -> precision and recall (Kynkaanniemi et al. 2019, section 2), density and coverage
    (Naeem et al. 2020, section 3).

    Around every picture of a set lies a ball that reaches to its k-th nearest neighbour in the set. Precision: the
    share of generated pictures in some ball of a real one; recall: the other way round. Density: in how many balls of
    real ones a generated picture lies, over k_density; coverage: the share of real pictures whose ball holds a
    generated one. Raises ValueError for sets of k or fewer pictures.
    """
    real, generated = finite_rows(real), finite_rows(generated)
    fewest, most = min(len(real), len(generated)), max(k, k_density)
    if fewest <= most:
        raise ValueError(f"more than {most} pictures in each set expected, found {fewest}")
    of_real, of_generated = squared_distances(real, real), squared_distances(generated, generated)
    across = squared_distances(generated, real)  # (M, N)
    in_real = across <= _reach(of_real, k)[None]
    in_generated = across <= _reach(of_generated, k)[:, None]
    in_wider = across <= _reach(of_real, k_density)[None]
    return Manifold(
        precision=float(in_real.any(axis=1).mean()),
        recall=float(in_generated.any(axis=0).mean()),
        density=float(in_wider.sum(axis=1).mean() / k_density),
        coverage=float(in_wider.any(axis=0).mean()),
    )


def _reach(distances: np.ndarray, k: int) -> np.ndarray:
    """Squared distances (N, N) within a set -> (N,), of each to its k-th nearest other."""
    return np.partition(distances, k, axis=1)[:, k]  # place 0 is the picture itself
