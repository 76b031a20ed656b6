"""Frechet distance between Gaussians fitted to features: FID (Heusel et al. 2017, section 3)."""

import numpy as np
from scipy import linalg

from metrics.vectors import finite_rows


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Features (N, D), (M, D) -> |mean_a - mean_b|^2 + Tr(C_a + C_b - 2 (C_a C_b)^(1/2)).

    With centred features A, scaled so that C_a = A^T A, and B likewise, the non-zero eigenvalues of C_a C_b are the
    squared singular values of A B^T: the trace of the root is their sum. No matrix square root is taken, so
    singular covariances (N < D) need no epsilon on the diagonal and no complex part has to be dropped.
    Raises ValueError for sets of fewer than two rows or of different widths, and for values that are not finite.
    """
    a, b = finite_rows(a), finite_rows(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features of one width expected, found {a.shape[1]} and {b.shape[1]}")
    root_a, root_b = _root_of_covariance(a), _root_of_covariance(b)
    cross = linalg.svdvals(root_a @ root_b.T).sum()
    mean = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    # rounding can leave equal sets a hair below zero
    return max(0.0, float(mean + np.square(root_a).sum() + np.square(root_b).sum() - 2 * cross))


def _root_of_covariance(features: np.ndarray) -> np.ndarray:
    """(N, D) -> R (min(N, D), D) with R^T R the unbiased covariance (divisor N - 1, as in pytorch-fid)."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    if len(features) <= features.shape[1]:
        return centred
    return linalg.qr(centred, mode="r", check_finite=False)[0][: features.shape[1]]
