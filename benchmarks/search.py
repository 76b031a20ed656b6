"""How many pictures are searched in 50 ms, and what a graph of neighbours gains: `python -m benchmarks.search`.

Exact search of one query among more and more rows: the textbook's form (numpy's product, everything sorted), ours, and
ours with rows kept in float16; the ten best must be the same. Then a graph of usearch over --vectors rows: how long it
takes to make, how large it is, and how many of the ten best it finds for how long a query, one at a time.

The rows are synthetic but lie as real ones do: each is drawn between a row of --like, an index of search.py, and one of
the rows nearest to it. Queries are captions of that index, which lie apart from pictures, as a searcher's do; that is
harder for a graph than looking for its own rows. Without --like both are rows of DAMSM's width in clusters.
"""

import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.common import RESULTS, cores, in_turn, parser, ratios, timer
from core.errors import UserError
from core.files import write_json
from search.approximate import ApproximateSearch
from search.exact import ExactSearch
from search.storage import read_index

WIDTH = 256  # of the released DAMSM of photographs
SIZES = (1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
BREADTHS = (64, 128, 256, 512)
LIMIT = 50.0  # milliseconds
BEST, QUERIES, BLOCK = 10, 200, 50_000


# ---- rows ----


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(clusters: int, each: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows in clusters and queries near them, whose spectrum falls as that of trained features does; queries lie apart
    by an offset of their own."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal((*shape, width)) / np.sqrt(1 + np.arange(width))

    centres = drawn(clusters)
    rows = np.repeat(centres, each, 0) + 0.6 * drawn(clusters * each)
    queries = centres[rng.integers(clusters, size=4 * QUERIES)] + 0.6 * drawn(4 * QUERIES)
    return unit(rows), unit(queries + drawn())


def enlarged(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` rows, each between one of `rows` and one of the ten nearest to it."""
    rng = np.random.default_rng(seed)
    near = ExactSearch(rows).search(rows, 11).rows[:, 1:]
    made = np.empty((count, rows.shape[1]), np.float32)
    for start in range(0, count, BLOCK):
        part = made[start : start + BLOCK]
        first = rng.integers(len(rows), size=len(part))
        other = near[first, rng.integers(near.shape[1], size=len(part))]
        share = rng.random((len(part), 1), dtype=np.float32)
        part[:] = unit(rows[first] + share * (rows[other] - rows[first]))
    return made


# ---- forms of exact search ----


def textbook(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    return np.argsort(-(vectors @ query), kind="stable")[:BEST]


def halves(vectors: torch.Tensor, query: torch.Tensor, block: int = 2048) -> np.ndarray:
    """As ours, of rows in float16, which are widened block by block."""
    scores, wide = torch.empty(len(vectors)), torch.empty(block, vectors.shape[1])
    for start in range(0, len(vectors), block):
        part = vectors[start : start + block]
        torch.mv(wide[: len(part)].copy_(part), query, out=scores[start : start + block])
    return torch.topk(scores, BEST).indices.numpy()


def exact(vectors: np.ndarray, queries: np.ndarray, sizes: list[int], rounds: int) -> list[dict[str, Any]]:
    """Milliseconds of one query among the first n rows, for every n."""
    rows = []
    for n in sizes:
        some, half = vectors[:n], torch.from_numpy(vectors[:n]).half()
        ours = ExactSearch(some)
        expected = [textbook(some, query) for query in queries[:3]]
        for query, best in zip(queries, expected, strict=False):
            found = set(ours.search(query[None], BEST).rows[0])
            assert len(found & set(best)) >= BEST - 1, (
                "another ten"
            )  # the last may be as near as the next, to rounding
        at = iter(range(10**9))  # a query of its own for every call

        def query(at=at) -> np.ndarray:
            return queries[next(at) % len(queries)]

        times = in_turn(
            {
                "textbook": timer(lambda some=some, query=query: textbook(some, query())),
                "ours": timer(lambda ours=ours, query=query: ours.search(query()[None], BEST)),
                "ours, float16": timer(
                    lambda half=half, query=query: halves(half, torch.from_numpy(query()))
                ),
            },
            rounds,
        )
        for form, ratio in ratios(times).items():
            rows.append(
                {"rows": n, "form": form, "milliseconds": median(times[form]), "ratio": round(ratio, 2)}
            )
            print(
                f"{n:>9,} rows  {form:14} {rows[-1]['milliseconds']:9.2f} ms {ratio:6.2f} times", flush=True
            )
    return rows


def within_limit(rows: list[dict[str, Any]], form: str = "ours") -> int:
    """Among how many rows a query takes LIMIT, between the sizes measured or in proportion to the largest."""
    times = [(row["rows"], row["milliseconds"]) for row in rows if row["form"] == form]
    for (less, fast), (more, slow) in zip(times, times[1:], strict=False):
        if fast <= LIMIT < slow:
            return int(less + (more - less) * (LIMIT - fast) / (slow - fast))
    most, slowest = times[-1]
    return int(most * LIMIT / slowest)


# ---- the graph ----


def approximate(vectors: np.ndarray, queries: np.ndarray, folder: Path) -> dict[str, Any]:
    expected = ExactSearch(vectors).search(queries, BEST).rows
    path = folder / "rows.usearch"
    start = time.perf_counter()
    graph = ApproximateSearch(vectors, path, label="linking")
    found: dict[str, Any] = {
        "rows": len(vectors),
        "bytes_of_the_rows": vectors.nbytes,
        "bytes_of_the_graph": path.stat().st_size,
        "seconds_to_make": round(time.perf_counter() - start, 1),
    }
    start = time.perf_counter()
    ApproximateSearch(vectors, path)
    found["milliseconds_to_open"] = round(1e3 * (time.perf_counter() - start), 1)
    print("graph     " + ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in found.items()))
    found["queries"] = []
    for breadth in BREADTHS:
        graph = ApproximateSearch(vectors, path, breadth)
        graph.search(queries, BEST)  # every page that it reads is in memory
        times, hits = [], []
        for query, best in zip(queries, expected, strict=True):
            start = time.perf_counter()
            rows = graph.search(query[None], BEST).rows[0]
            times.append(1e3 * (time.perf_counter() - start))
            hits.append(len(set(rows) & set(best)) / BEST)
        told = {
            "breadth": breadth,
            "milliseconds": round(median(times), 3),
            "recall_at_10": round(np.mean(hits), 4),
        }
        found["queries"].append(told)
        print(
            f"breadth {breadth:4}  {told['milliseconds']:8.2f} ms  recall@{BEST} {100 * told['recall_at_10']:6.2f} %"
        )
    return found


def main() -> None:
    options = parser(__doc__, rounds=15)
    options.add_argument(
        "--vectors", type=int, default=SIZES[-1], help="rows of the graph; 1,000,000 unless told"
    )
    options.add_argument(
        "--like", type=Path, help="an index of search.py whose rows the synthetic ones resemble"
    )
    options.add_argument("--no-graph", action="store_true", help="exact search alone, which needs no usearch")
    args = options.parse_args()
    count = 2_000 if args.tiny else args.vectors
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or cores()))
    if args.like:
        index = read_index(args.like)
        if index is None or not len(index.captions):
            raise UserError(
                f"{args.like} is no index with captions; make one: python search.py --data ... --index ..."
            )
        seeds, queries = np.array(index.pictures), np.array(index.captions)
    else:
        seeds, queries = clustered(20 if args.tiny else 500, 10, 16 if args.tiny else WIDTH, seed=0)
    queries = queries[np.random.default_rng(1).permutation(len(queries))[:QUERIES]]
    vectors = enlarged(seeds, count, seed=2)
    rows = exact(vectors, queries, sorted({n for n in SIZES if n < count} | {count}), args.rounds)
    limit = within_limit(rows)
    print(f"exact search takes {LIMIT:.0f} ms among about {limit:,} rows")
    result = {
        "benchmark": "search",
        "machine": {"cores": cores(), "threads": torch.get_num_threads(), "torch": torch.__version__},
        "protocol": {"width": vectors.shape[1], "like": args.like.name if args.like else "clusters", "best": BEST,
                     "queries": len(queries), "rounds": args.rounds},
        "exact": rows,
        f"rows_in_{LIMIT:.0f}_ms": limit,
    }  # fmt: skip
    if not args.no_graph:
        with tempfile.TemporaryDirectory() as folder:
            result["graph"] = approximate(vectors, queries, Path(folder))
    if not args.tiny:
        write_json(RESULTS / "search.json", result)


if __name__ == "__main__":
    main()
