"""Whether confidences of words tell right from wrong: AUROC, calibration error, normalised cross entropy."""

from collections.abc import Sequence
from typing import NamedTuple

import jiwer
import numpy as np

from metrics.error_rates import normalise

BINS = 10  # of the calibration error, of equal width
SMALLEST = 1e-6  # what a confidence of 0, or 1, is taken for by the cross entropy (its distance from there)


class ConfidenceQuality(NamedTuple):
    auroc: float  # probability that a right word has more confidence than a wrong one, 0.5 by chance
    ece: float  # expected calibration error: |share of right words - mean confidence|, weighted over bins
    nce: float  # normalised cross entropy (NIST): 1 at best, 0 where they tell no more than the share of right words
    words: int
    right: float  # share


def words_right(reference: str, words: Sequence[str]) -> np.ndarray:
    """Whether each of N words that were heard stands in the reference at its place (N,), by an alignment of least
    edits. Both are normalised; a word that normalises to several is right where all are."""
    parts = [normalise(word).split() for word in words]
    heard = " ".join(part for several in parts for part in several)
    said = normalise(reference)
    is_right = np.zeros(len(heard.split()), bool)
    if said and heard:  # jiwer aligns no empty text
        for chunk in jiwer.process_words(said, heard).alignments[0]:
            is_right[chunk.hyp_start_idx : chunk.hyp_end_idx] = chunk.type == "equal"
    ends = np.cumsum([len(several) for several in parts], dtype=int)
    return np.array(
        [
            bool(end > 0 and len(p) and is_right[end - len(p) : end].all())
            for p, end in zip(parts, ends, strict=True)
        ],
        dtype=bool,
    )


def confidence_quality(confidences: np.ndarray, is_right: np.ndarray) -> ConfidenceQuality:
    """Of N words: confidences (N,) in [0, 1], is_right (N,). Raises ValueError where all are right, or all wrong."""
    if is_right.all() or not is_right.any():
        raise ValueError(f"all of {len(is_right)} words are {'right' if is_right.all() else 'wrong'}")
    from sklearn.metrics import roc_auc_score

    of_bin = np.minimum((confidences * BINS).astype(int), BINS - 1)
    counts = np.bincount(of_bin, minlength=BINS)
    gaps = np.bincount(
        of_bin, weights=is_right - confidences, minlength=BINS
    )  # count * (share - mean confidence)
    p = np.clip(confidences, SMALLEST, 1 - SMALLEST)
    share = is_right.mean()
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    cross_entropy = -np.where(is_right, np.log(p), np.log(1 - p)).mean()
    return ConfidenceQuality(
        float(roc_auc_score(is_right, confidences)),
        float(np.abs(gaps).sum() / counts.sum()),
        float(1 - cross_entropy / entropy),
        len(is_right),
        float(share),
    )
