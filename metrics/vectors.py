"""What several measures do with features first."""

import numpy as np


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Embeddings (N, E) -> the same of length 1, in float64. Raises ValueError for another shape, NaN or infinity."""
    vectors = finite_rows(vectors, least=0)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def finite_rows(features: np.ndarray, least: int = 2) -> np.ndarray:
    """Features (N, D) in float64. Raises ValueError for another shape, fewer rows than `least`, NaN or infinity."""
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < least:
        raise ValueError(f"features (N, D) with N >= {least} expected, found {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError("the features hold NaN or infinite values")
    return features


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, D), (M, D) -> (N, M)."""
    squares = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None] - 2 * (a @ b.T)
    return np.maximum(squares, 0)
