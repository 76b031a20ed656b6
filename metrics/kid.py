"""Kernel distance: KID (Binkowski et al. 2018, section 4)."""

import numpy as np


def kernel_distance(
    a: np.ndarray, b: np.ndarray, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Features (N, D), (M, D) -> mean and standard deviation over `subsets` of the unbiased squared MMD.

    The kernel is (x . y / D + 1)^3. Each subset draws `subset_size` rows of either set without replacement.
    An unbiased estimate of a small distance can be negative.
    Raises ValueError where a set has fewer rows than a subset.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features (N, D) and (M, D) expected, found {a.shape} and {b.shape}")
    if not 2 <= subset_size <= min(len(a), len(b)):
        raise ValueError(f"a subset of 2 to {min(len(a), len(b))} rows expected, found {subset_size}")
    estimates = []
    for index in range(subsets):
        rng = np.random.default_rng([seed, index])
        estimates.append(
            squared_mmd(
                a[rng.choice(len(a), subset_size, replace=False)],
                b[rng.choice(len(b), subset_size, replace=False)],
            )
        )
    return float(np.mean(estimates)), float(np.std(estimates))


def squared_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """(n, D), (m, D) -> the unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, eq. 3)."""
    n, m = len(a), len(b)
    k_aa, k_bb, k_ab = _kernel(a, a), _kernel(b, b), _kernel(a, b)
    # a row's kernel with itself is left out: that is what makes the estimate unbiased
    within_a = (k_aa.sum() - np.trace(k_aa)) / (n * (n - 1))
    within_b = (k_bb.sum() - np.trace(k_bb)) / (m * (m - 1))
    return float(within_a + within_b - 2 * k_ab.mean())


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3
