"""coverage: with density, precision and recall, quality and variety apart."""

from typing import TYPE_CHECKING

from evaluation.registry import Metric
from evaluation.result import Result, Row, percent, scored

if TYPE_CHECKING:
    from evaluation.evaluator import Evaluator

FIGURES = ("coverage", "density", "precision", "recall")


def measure(evaluator: "Evaluator") -> Result:
    import numpy as np

    from metrics.coverage import manifold

    found = evaluator.feature_sets
    rng, count = (
        np.random.default_rng(evaluator.options.seed),
        min(len(found.reference), len(found.generated)),
    )
    # coverage depends on how many there are of each
    reference, generated = (rng.permutation(rows)[:count] for rows in (found.reference, found.generated))
    some, of_reference, others = found.equal
    n = len(some)
    rows = []
    for name, real, of_them in (
        ("", reference, generated),
        (f"{n} against {n}, ", of_reference, some),
        (f"real, {n} against {n}, ", of_reference, others),
    ):
        figures = scored(manifold, real, of_them)
        rows += [Row(f"{name}{figure}", getattr(figures, figure)) for figure in FIGURES]
    real_row = rows.pop(2 * len(FIGURES))
    protocol = found.protocol | {
        "balls": "precision and recall: 3 nearest; density and coverage: 5 nearest",
        "of each set": count,
    }
    return Result(rows, real_row, protocol)


TITLE = "coverage, density, precision and recall of features (higher is better)"
METRIC = Metric("coverage", TITLE, percent, ("images", "feature_network"), measure)
