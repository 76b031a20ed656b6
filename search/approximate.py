"""Approximate search for millions of rows: a graph of neighbours (HNSW) by usearch, with the interface of exact search.

The graph lies beside the index, holds the rows in float16 and is memory-mapped. What it finds is scored and ordered as
exact search does it. usearch comes with the extra `search-large`.
"""

import glob
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from core.errors import UserError
from core.files import write_atomically
from data.packed import locked
from search.exact import Found, best_of

NEIGHBOURS, BREADTH_OF_BUILDING = 16, 128
BREADTH = 256  # rows that are kept in mind while one query is looked for; more find more and take longer
AT_ONCE = 10_000  # rows that are added between two steps of the bar


class ApproximateSearch:
    """Over unit rows (N, E) float32 and their graph."""

    def __init__(
        self, vectors: np.ndarray, path: Path, breadth: int = BREADTH, label: str = "linking"
    ) -> None:
        """path: of the graph, which is made of these rows where there is none of as many, or a damaged one.

        Raises UserError where usearch is not installed or the graph cannot be written.
        """
        self.vectors, self.path = vectors, path
        graph = _open(vectors, path)
        if graph is None:
            with locked(path):
                graph = _open(vectors, path)  # another process may have made it meanwhile
                if graph is None:
                    _build(vectors, path, label)
                    graph = _open(vectors, path)
        assert graph is not None, path
        self.graph = graph
        self.graph.expansion_search = breadth

    def search(self, queries: np.ndarray, count: int) -> Found:
        count = min(count, len(self.vectors))
        queries = np.ascontiguousarray(queries, np.float32)
        # more than asked for: in float16 the order of the last ones may differ
        matches = self.graph.search(
            queries, min(4 * count, len(self.vectors)), threads=torch.get_num_threads()
        )
        of_each = [matches] if len(queries) == 1 else matches  # usearch takes the row of one query for itself
        found = [
            best_of(self.vectors, np.sort(np.asarray(one.keys).astype(np.int64)), query, count)
            for one, query in zip(of_each, queries, strict=True)
        ]
        return Found(np.stack([f.rows for f in found]), np.stack([f.scores for f in found]))


def graph_path(index: Path, of: str, mark: str) -> Path:
    """Where the graph of an index's rows lies. of: pictures or captions; mark: of what the index was made of."""
    return index.with_name(f"{index.name}.{of}-{mark[:16]}.usearch")


def _open(vectors: np.ndarray, path: Path) -> Any:
    """The graph at `path`, memory-mapped; None where there is none of these rows, or a damaged one."""
    index = load_usearch().Index
    if not path.exists():
        return None
    try:
        graph = index.restore(path, view=True)
    except Exception:  # RuntimeError and others, by what is damaged
        return None
    return graph if graph is not None and (len(graph), graph.ndim) == vectors.shape else None


def _build(vectors: np.ndarray, path: Path, label: str) -> None:
    graph = load_usearch().Index(
        ndim=vectors.shape[1], metric="ip", dtype="f16", connectivity=NEIGHBOURS, expansion_add=BREADTH_OF_BUILDING
    )  # fmt: skip
    with tqdm(total=len(vectors), desc=label, mininterval=0.5, leave=False, disable=None) as bar:
        for start in range(0, len(vectors), AT_ONCE):
            block = np.ascontiguousarray(vectors[start : start + AT_ONCE])
            keys = np.arange(start, start + len(block), dtype=np.uint64)
            graph.add(keys, block, threads=torch.get_num_threads())
            bar.update(len(block))
    of = path.name.rpartition("-")[0]
    write_atomically(path, lambda beside: graph.save(str(beside)))
    for left in path.parent.glob(f"{glob.escape(of)}-*.usearch"):  # of what the index was before
        if left != path:
            left.unlink(missing_ok=True)


def load_usearch() -> Any:
    """usearch's module of indexes. Raises UserError where it is not installed."""
    try:
        import usearch.index

        return usearch.index
    except ImportError as error:
        raise UserError(
            'approximate search needs usearch, which is not installed: pip install "saybird[search-large]"; or search '
            "exactly, without --approximate"
        ) from error
