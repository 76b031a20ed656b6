"""fid: Frechet distance of features from those of all real pictures of the split."""

from typing import TYPE_CHECKING

from evaluation.registry import Metric
from evaluation.result import Result, Row, fixed, scored

if TYPE_CHECKING:
    from evaluation.evaluator import Evaluator


def measure(evaluator: "Evaluator") -> Result:
    from metrics.fid import frechet_distance

    found = evaluator.feature_sets
    some, reference, others = found.equal
    n, width = len(some), found.generated.shape[1]
    rows = [
        Row("generated", scored(frechet_distance, found.generated, found.reference)),
        Row(f"generated, {n} against {n}", scored(frechet_distance, some, reference)),
    ]
    real = Row(f"real, {n} against {n}", scored(frechet_distance, others, reference))
    warnings = [
        f"{what} of {count} images in {width} dimensions: fewer images than dimensions give distances that are "
        "far too large; measure more"
        for what, count in (("FID", len(found.generated)), ("equal counts", n))
        if count < width
    ]
    return Result(rows, real, found.protocol, warnings=warnings)


TITLE = "FID, Frechet distance of features (lower is better)"
METRIC = Metric("fid", TITLE, fixed(3), ("images", "feature_network"), measure)
