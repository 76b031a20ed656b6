"""kid: kernel distance of features from those of all real pictures of the split."""

from typing import TYPE_CHECKING

from evaluation.registry import Metric
from evaluation.result import Result, Row, scientific, scored

if TYPE_CHECKING:
    import numpy as np

    from evaluation.evaluator import Evaluator

SUBSETS, SUBSET_SIZE = 100, 1000


def measure(evaluator: "Evaluator") -> Result:
    found = evaluator.feature_sets
    some, reference, others = found.equal
    n, seed = len(some), evaluator.options.seed
    rows = [
        _row("generated", found.generated, found.reference, seed),
        _row(f"generated, {n} against {n}", some, reference, seed),
    ]
    return Result(rows, _row(f"real, {n} against {n}", others, reference, seed), found.protocol)


def _row(name: str, a: "np.ndarray", b: "np.ndarray", seed: int) -> Row:
    from metrics.kid import kernel_distance

    # a subset of everything would be the same in every draw and hide how much the estimate varies
    size = max(2, min(SUBSET_SIZE, min(len(a), len(b)) // 2))
    mean, std = scored(kernel_distance, a, b, SUBSETS, size, seed)
    return Row(name, mean, {"std": std, "of": f"{SUBSETS} subsets of {size}"})


TITLE = "KID, kernel distance of features (lower is better)"
METRIC = Metric("kid", TITLE, scientific, ("images", "feature_network"), measure)
