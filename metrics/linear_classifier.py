"""A linear classifier of features: what tells species apart where the Inception Score asks for one of birds."""

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from metrics.vectors import finite_rows


class LinearClassifier(NamedTuple):
    """classes (K,), of which `model` knows those that it was shown; None where that was a single one."""

    classes: np.ndarray
    shown: np.ndarray
    scaler: StandardScaler
    model: LogisticRegression | None

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, K), 0 for classes that were not shown."""
        features = np.asarray(features, dtype=np.float64)
        found = np.zeros((len(features), len(self.classes)))
        columns = np.searchsorted(self.classes, self.shown)
        found[:, columns] = 1.0 if self.model is None else self.model.predict_proba(self._inputs(features))
        return found

    def accuracy(self, features: np.ndarray, labels: np.ndarray) -> float:
        return float((self.classes[self.probabilities(features).argmax(axis=1)] == np.asarray(labels)).mean())

    def _inputs(self, features: np.ndarray) -> np.ndarray:
        """Standardised features and a one, whose weight is the (equally penalised) bias."""
        return np.hstack([self.scaler.transform(features), np.ones((len(features), 1))])


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    classes: np.ndarray | None = None,
    decay: float = 1e-2,
    iterations: int = 200,
) -> LinearClassifier:
    """Softmax regression of labels (N,) on features (N, D), by scikit-learn's L-BFGS.

    classes (K,): sorted, where there are more than the labels show; decay: weight of the squared weights beside the
    mean cross entropy.
    """
    features, shown = finite_rows(features), np.unique(labels)
    fitted = LinearClassifier(
        shown if classes is None else classes, shown, StandardScaler().fit(features), None
    )
    if len(shown) < 2:
        return fitted
    model = LogisticRegression(C=1 / (decay * len(features)), fit_intercept=False, max_iter=iterations)
    return fitted._replace(model=model.fit(fitted._inputs(features), labels))
