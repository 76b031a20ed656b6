"""R-precision with R = 1 (Xu et al. 2018, AttnGAN, section 4; protocol of the DM-GAN family's public code)."""

from typing import NamedTuple

import numpy as np

from metrics.vectors import unit_rows


class RPrecision(NamedTuple):
    value: float  # share of images whose own caption ranks first
    std: float  # spread over the groups
    standard_error: float  # of the mean over the images
    hits: np.ndarray  # (N,) in [0, 1]


def r_precision(
    images: np.ndarray,
    captions: np.ndarray,
    class_ids: np.ndarray,
    candidates: int = 100,
    groups: int = 10,
    seed: int = 0,
) -> RPrecision:
    """Image and caption embeddings (N, E), (N, E) and classes (N,) -> R-precision.

    Row i of `captions` describes row i of `images`. It is ranked by cosine similarity among itself and
    `candidates` - 1 captions drawn without replacement from the rows of OTHER classes. A tie for the first place
    counts its chance of winning (1/2 for two), so an encoder that maps everything to one point scores
    1 / `candidates`, not 1. `std` is the spread over `groups` equal shares of the shuffled images, as papers
    print it; how sure the mean is, `standard_error` says.
    Raises ValueError where a class has too few captions of others to choose from.
    """
    images, captions = unit_rows(images), unit_rows(captions)
    class_ids = np.asarray(class_ids)
    if not images.shape == captions.shape or len(class_ids) != len(images):
        raise ValueError(f"one caption and class an image expected, found {images.shape}, {captions.shape}, "
                         f"{class_ids.shape}")  # fmt: skip
    others = {label: np.flatnonzero(class_ids != label) for label in np.unique(class_ids)}
    fewest = min(len(rows) for rows in others.values())
    if fewest < candidates - 1:
        raise ValueError(f"{candidates - 1} captions of other classes expected, found {fewest}")
    hits = np.empty(len(images))
    for i, (image, label) in enumerate(zip(images, class_ids, strict=True)):
        rng = np.random.default_rng([seed, i])
        drawn = rng.choice(others[label], candidates - 1, replace=False, shuffle=False)
        own, best = image @ captions[i], captions[drawn] @ image
        tied = np.isclose(best, own, rtol=0, atol=1e-12).sum()
        hits[i] = 0 if (best > own + 1e-12).any() else 1 / (1 + tied)
    shuffled = hits[np.random.default_rng(seed).permutation(len(hits))]
    shares = np.array_split(shuffled, min(groups, len(hits)))
    spread = float(np.std([share.mean() for share in shares]))
    return RPrecision(float(hits.mean()), spread, float(hits.std() / np.sqrt(len(hits))), hits)
