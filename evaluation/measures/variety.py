"""variety: how far apart images of one caption are."""

from dataclasses import replace
from typing import TYPE_CHECKING

from evaluation.registry import Metric
from evaluation.result import Result, Row, fixed, scored

if TYPE_CHECKING:
    from evaluation.evaluator import Evaluator

CAPTIONS, SEEDS = 100, 8  # captions unless --samples says otherwise


def measure(evaluator: "Evaluator") -> Result:
    import numpy as np

    from metrics.variety import mean_pairwise_distance

    extractor, pairs = evaluator.extractor, evaluator.pairs(CAPTIONS)
    captions = np.repeat(np.arange(len(pairs)), SEEDS)
    pairs.real.require_classes("variety, whose real row compares pictures of one class,")
    many = replace(pairs.only(captions), noise=list(range(SEEDS)) * len(pairs))
    rows = []
    for name, features, groups, of in (
        (
            "real",
            evaluator.real_features(pairs.real, extractor),
            pairs.real.class_ids,
            "species of the split",
        ),
        ("generated", evaluator.generated_features(many, extractor), captions, "captions"),
    ):
        mean, std = scored(mean_pairwise_distance, features, groups)
        rows.append(Row(name, mean, {"std": std, "of": f"{len(np.unique(groups))} {of}"}))
    protocol = pairs.protocol | extractor.protocol | {
        "distance": f"Euclidean, mean over the pairs of {SEEDS} seeds of a caption",
        "real pictures": "pairs of one species: the same colours, other poses, places and light",
    }  # fmt: skip
    return Result(rows[1:], rows[0], protocol)


TITLE = "variety, distance between pictures of one caption (as real ones is best)"
METRIC = Metric("variety", TITLE, fixed(3), ("generator", "feature_network"), measure)
