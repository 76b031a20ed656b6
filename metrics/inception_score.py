"""Inception Score (Salimans et al. 2016, section 4)."""

import numpy as np


def inception_score(probabilities: np.ndarray, splits: int = 10, seed: int = 0) -> tuple[float, float]:
    """Class probabilities p(y|x) (N, K) -> mean and standard deviation over `splits` of exp(mean KL(p(y|x) || p(y))).

    The images are shuffled with `seed` first: data sets lie sorted by class, and a split of few classes has
    another marginal p(y). The standard deviation is that of the population of splits, as in the original code.
    Raises ValueError where there are fewer images than splits or a row is not a distribution.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or len(p) < splits or splits < 1:
        raise ValueError(
            f"{splits} splits of (N, K) probabilities with N >= {splits} expected, found {p.shape}"
        )
    if (p < 0).any() or not np.allclose(p.sum(axis=1), 1, atol=1e-4):
        raise ValueError("every row of probabilities must be non-negative and sum to 1")
    p = p[np.random.default_rng(seed).permutation(len(p))]
    scores = [np.exp(_mean_divergence(part)) for part in np.array_split(p, splits)]
    return float(np.mean(scores)), float(np.std(scores))


def _mean_divergence(p: np.ndarray) -> float:
    """(n, K) -> mean over n of KL(p(y|x) || p(y)) in nats, with 0 log 0 = 0."""
    marginal = np.broadcast_to(p.mean(axis=0), p.shape)
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / marginal[seen])).sum() / len(p))
