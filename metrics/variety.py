"""Variety: how far apart pictures of one caption are, in the features of a network."""

import numpy as np


def mean_pairwise_distance(features: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Features (N, D) and the caption or species of each (N,) -> mean and standard deviation over the groups of a
    group's mean Euclidean distance between two of its members; groups of one are left out.

    Raises ValueError where every group has one member.
    """
    features, groups = np.asarray(features, dtype=np.float64), np.asarray(groups)
    if len(features) != len(groups):
        raise ValueError(f"{len(features)} features and {len(groups)} groups: one group a feature expected")
    means = []
    for group in np.unique(groups):
        of_one = features[groups == group]
        if len(of_one) > 1:
            rows, columns = np.triu_indices(len(of_one), 1)
            means.append(np.linalg.norm(of_one[rows] - of_one[columns], axis=1).mean())
    if not means:
        raise ValueError("no two pictures of one caption")
    return float(np.mean(means)), float(np.std(means))
