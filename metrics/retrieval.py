"""Retrieval between pictures and captions: recall at K, both ways."""

from typing import NamedTuple

import numpy as np

from metrics.vectors import unit_rows


class Retrieval(NamedTuple):
    """Share of queries with a true answer among the first K, for every K asked for."""

    text_to_picture: dict[int, float]
    picture_to_text: dict[int, float]


def retrieval(
    images: np.ndarray,
    captions: np.ndarray,
    picture_of: np.ndarray,
    ks: tuple[int, ...] = (1, 5, 10),
    block: int = 500,
) -> Retrieval:
    """Features (N, E) of pictures and (M, E) of captions, and the picture (M,) of each caption -> recall at every K.

    Each caption ranks all pictures by cosine, of which one is its own; each picture ranks all captions, of which any of
    its own counts. A tie is decided against the query. Raises ValueError for a picture without a caption.
    """
    images, captions = unit_rows(images), unit_rows(captions)
    picture_of = np.asarray(picture_of)
    if len(picture_of) != len(captions) or set(np.unique(picture_of)) != set(range(len(images))):
        raise ValueError(
            f"one picture a caption and a caption for each of {len(images)} pictures expected, "
            f"found {len(picture_of)} captions of {len(np.unique(picture_of))}"
        )
    of_captions = _ranks(captions, images, picture_of, np.arange(len(images)), block)
    of_pictures = _ranks(images, captions, np.arange(len(images)), picture_of, block)
    return Retrieval(*({k: float((ranks < k).mean()) for k in ks} for ranks in (of_captions, of_pictures)))


def chance(picture_of: np.ndarray, ks: tuple[int, ...] = (1, 5, 10)) -> Retrieval:
    """What `retrieval` expects of ranks drawn at random, without ties: the picture (M,) of each caption -> recall at K.

    A caption meets its picture among K of N with K / N; a picture misses its c captions among K of M with the product
    of (M - c - j) / (M - j) over j < K.
    """
    counts, M = np.bincount(picture_of), len(picture_of)
    N = len(counts)
    missed = {k: np.prod([(M - counts - j).clip(0) / (M - j) for j in range(min(k, M))], axis=0) for k in ks}
    return Retrieval({k: min(1.0, k / N) for k in ks}, {k: float((1 - missed[k]).mean()) for k in ks})


def _ranks(
    queries: np.ndarray, answers: np.ndarray, of_query: np.ndarray, of_answer: np.ndarray, block: int
) -> np.ndarray:
    """How many wrong answers come before (or level with) the best true one, for each query."""
    ranks = np.empty(len(queries), dtype=int)
    for start in range(0, len(queries), block):
        part = slice(start, start + block)
        scores = queries[part] @ answers.T
        true = of_query[part, None] == of_answer[None]
        best = np.where(true, scores, -np.inf).max(axis=1, keepdims=True)
        ranks[part] = ((scores >= best) & ~true).sum(axis=1)
    return ranks
