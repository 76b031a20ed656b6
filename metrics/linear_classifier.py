"""A linear classifier of features: what tells species apart where the Inception Score asks for one of birds."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from metrics.vectors import finite_rows


class LinearClassifier(NamedTuple):
    """classes (K,), weight (D + 1, K) of standardised features and a one, and what standardises them."""

    classes: np.ndarray
    weight: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, K)."""
        logits = _with_one((np.asarray(features, dtype=np.float64) - self.mean) / self.scale) @ self.weight
        return np.exp(logits - logsumexp(logits, axis=1, keepdims=True))

    def accuracy(self, features: np.ndarray, labels: np.ndarray) -> float:
        return float((self.classes[self.probabilities(features).argmax(axis=1)] == np.asarray(labels)).mean())


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    classes: np.ndarray | None = None,
    decay: float = 1e-2,
    iterations: int = 200,
) -> LinearClassifier:
    """Softmax regression of labels (N,) on features (N, D), by L-BFGS.

    classes (K,): sorted, where there are more than the labels show; decay: weight of the squared weights.
    """
    features = finite_rows(features)
    classes = np.unique(labels) if classes is None else classes
    targets = np.searchsorted(classes, labels)
    mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    x = _with_one((features - mean) / scale)
    truth = np.eye(len(classes))[targets]
    shape = (x.shape[1], len(classes))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight = flat.reshape(shape)
        logits = x @ weight
        log_p = logits - logsumexp(logits, axis=1, keepdims=True)
        value = -(truth * log_p).sum() / len(x) + decay * np.square(weight).sum() / 2
        slope = x.T @ (np.exp(log_p) - truth) / len(x) + decay * weight
        return value, slope.ravel()

    found = minimize(
        loss, np.zeros(np.prod(shape)), jac=True, method="L-BFGS-B", options={"maxiter": iterations}
    )
    return LinearClassifier(classes, found.x.reshape(shape), mean, scale)


def _with_one(features: np.ndarray) -> np.ndarray:
    return np.hstack([features, np.ones((len(features), 1))])
