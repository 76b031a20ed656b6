"""Exact search: one product of a matrix with the queries, and the best of each without sorting the rest."""

from typing import NamedTuple, Protocol

import numpy as np
import torch

BLOCK_BYTES = 2**28  # of scores at once


class Found(NamedTuple):
    """The best k rows of each of Q queries, the best first: rows (Q, k), -1 where there were fewer; scores (Q, k),
    cosines in float64."""

    rows: np.ndarray
    scores: np.ndarray


class Search(Protocol):
    """Whatever finds rows near to queries."""

    def search(self, queries: np.ndarray, count: int) -> Found:
        """Unit rows (Q, E) -> the `count` nearest rows of each, ties in the order of the rows."""
        ...


class ExactSearch:
    """Over unit rows (N, E) float32, in memory or mapped."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors
        self._tensor = torch.from_numpy(vectors)

    def search(self, queries: np.ndarray, count: int) -> Found:
        count = min(count, len(self.vectors))
        step = max(1, BLOCK_BYTES // (4 * max(1, len(self.vectors))))
        parts = [self._search(queries[i : i + step], count) for i in range(0, len(queries), step)]
        return Found(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    @torch.inference_mode()
    def _search(self, queries: np.ndarray, count: int) -> Found:
        queries = np.ascontiguousarray(queries, np.float32)
        scores = (self._tensor @ torch.from_numpy(queries).T).T.contiguous().numpy()  # (Q, N)
        slack = 4 * np.finfo(np.float32).eps * queries.shape[1]
        found = []
        for query, of_query in zip(queries, scores, strict=True):
            least = np.partition(of_query, -count)[-count] if count else np.inf
            found.append(best_of(self.vectors, np.flatnonzero(of_query >= least - slack), query, count))
        return Found(np.stack([f.rows for f in found]), np.stack([f.scores for f in found]))


def best_of(vectors: np.ndarray, rows: np.ndarray, query: np.ndarray, count: int) -> Found:
    """The best `count` of some rows (n,), ascending, for a query (E,).

    The scores are summed anew in float64, each by itself: equal rows have equal scores, whatever stands beside them,
    and among those the first row is the first.
    """
    scores = np.concatenate([
        (vectors[part].astype(np.float64) * query.astype(np.float64)).sum(axis=1)
        for part in np.array_split(rows, -(-len(rows) // 4096) or 1)
    ])  # fmt: skip
    order = np.argsort(-scores, kind="stable")[:count]
    missing = count - len(order)
    return Found(
        np.concatenate([rows[order], np.full(missing, -1, rows.dtype)]),
        np.concatenate([scores[order], np.full(missing, -np.inf)]),
    )
