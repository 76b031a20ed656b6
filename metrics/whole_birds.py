"""Whole birds: how many heads a picture shows, and whether its parts lie as those of a bird do.

What a network that finds parts read is counted here (evaluation/part_locator.py). Kinds of parts, K of them, are named
as in CUB-200-2011; places are x, y in shares of the picture's side.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

HEAD = ("beak", "crown", "forehead", "eye", "nape", "throat")  # the kinds of parts that make a head
FEWEST = 2  # kinds of them in one place; a beak alone is a misreading more often than a head

SIGMA = (
    0.05  # shares of the side: how far a part may lie from where it lies in a photograph much like this one
)
FURTHEST = 8.0  # cost of a part that lies anywhere (4 sigma), so that one misread part does not decide
UNSHARED = 2.0  # cost of a part that is seen in one of two layouts only


def count_peaks(peaks: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """peaks (N, K, n, 3) as x, y, height; a threshold a kind -> how many are at least as high (N, K)."""
    return (peaks[..., 2] >= np.asarray(thresholds)[:, None]).sum(2)


def count_heads(
    peaks: np.ndarray, kinds: Sequence[str], thresholds: Sequence[float], reach: float
) -> np.ndarray:
    """peaks (N, K, n, 3) as x, y, height -> how many heads each picture shows (N,).

    Parts of a head (HEAD) that lie within `reach` of each other, directly or through others, are one group (single
    linkage). A group of fewer than FEWEST kinds is no head. Any other is one, or as many as it has beaks or crowns, or
    half as many as it has eyes: of two heads that touch, the parts are in one group.
    """
    ours = [kinds.index(kind) for kind in HEAD]
    high = peaks[..., 2] >= np.asarray(thresholds)[:, None]  # (N, K, n)
    heads = np.zeros(len(peaks), np.int64)
    for picture, (found, is_peak) in enumerate(zip(peaks[:, ours], high[:, ours], strict=True)):
        of, which = np.nonzero(is_peak)
        if len(of) < FEWEST:
            continue
        places = found[of, which, :2]
        count, group = connected_components(cdist(places, places) <= reach, directed=False)
        for number in range(count):
            seen = np.bincount(of[group == number], minlength=len(HEAD))
            if (seen > 0).sum() >= FEWEST:
                beaks, crowns, eyes = (seen[HEAD.index(kind)] for kind in ("beak", "crown", "eye"))
                heads[picture] += max(1, beaks, crowns, -(-eyes // 2))
    return heads


def head_gap(places: np.ndarray) -> float:
    """Places (n, 2) of the parts of one head -> the least `reach` that makes them one group; 0 for fewer than two."""
    distances = cdist(places, places)
    return float(minimum_spanning_tree(distances).toarray().max()) if len(places) > 1 else 0.0


def layout_likelihood(
    places: np.ndarray, seen: np.ndarray, examples: np.ndarray, examples_seen: np.ndarray
) -> np.ndarray:
    """How likely N layouts are under those of M photographs: places (N, K, 2), seen (N, K) bool; examples likewise ->
    natural logarithms (N,), up to one constant of all.

    A kernel density (Parzen 1962) over examples and their mirror images, each moved so that the parts which both
    layouts show have one mean: log of the mean over 2 M examples of exp(-cost). A part costs d^2 / 2 SIGMA^2, at most
    FURTHEST, where it lies d from the example's; UNSHARED where one of the two does not show it; and nothing where
    neither does. Birds turned, bent or in flight are compared with photographs of birds that were. Size counts, since
    pictures of birds are cut about them. Raises ValueError without examples.
    """
    if not len(examples):
        raise ValueError("layouts of photographs expected, found none")
    mirrored = np.stack([1 - examples[..., 0], examples[..., 1]], 2)
    examples, examples_seen = np.concatenate([examples, mirrored]), np.concatenate([examples_seen] * 2)
    found = np.empty(len(places))
    for row, (place, is_seen) in enumerate(zip(places, seen, strict=True)):
        shared = examples_seen & is_seen  # (2 M, K)
        away = np.where(shared[..., None], place - examples, 0.0)  # (2 M, K, 2)
        away -= away.sum(1, keepdims=True) / np.maximum(shared.sum(1), 1)[:, None, None]
        costs = np.minimum((away**2).sum(2) / (2 * SIGMA**2), FURTHEST) * shared
        costs += UNSHARED * (examples_seen != is_seen)
        found[row] = logsumexp(-costs.sum(1)) - np.log(len(examples))
    return found
