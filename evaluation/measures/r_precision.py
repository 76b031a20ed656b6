"""r_precision: how often an image's own caption ranks first among a hundred."""

from typing import TYPE_CHECKING

from evaluation.registry import Metric
from evaluation.result import Result, Row, percent, scored

if TYPE_CHECKING:
    import numpy as np

    from evaluation.evaluator import Evaluator
    from evaluation.pairs import Pairs

CANDIDATES, GROUPS = 100, 10


def measure(evaluator: "Evaluator") -> Result:
    from metrics.r_precision import r_precision

    pairs = evaluator.pairs()
    sentences = evaluator.sentence_features(pairs.captions)
    groups, whose = groups_of(pairs)
    rows, found = [], {}
    for name, of in (("generated", evaluator.generated_features), ("real", evaluator.features_of_real)):
        score = scored(r_precision, of(pairs, evaluator.image_encoder), sentences, groups, CANDIDATES, GROUPS,
                       evaluator.options.seed)  # fmt: skip
        rows.append(Row(name, score.value, {
            "std": score.std, "of": f"{GROUPS} groups", "standard_error": score.standard_error}))  # fmt: skip
        found[name] = score.hits
    trainer = evaluator.generator.encoder
    protocol = pairs.protocol | evaluator.caption_protocol(pairs) | {
        "candidates": f"1 true caption and {CANDIDATES - 1} {whose}, cosine of global features",
        "encoder": evaluator.model_entry("encoder"),
        "encoder trained the generator": None if trainer is None else trainer == evaluator.encoder.checksum,
    }  # fmt: skip
    told = [rows[0], *by_caption(found["generated"], evaluator.seen_in_training(pairs))]
    return Result(told, rows[1], protocol, chance=1 / CANDIDATES)


def groups_of(pairs: "Pairs") -> tuple["np.ndarray", str]:
    """Of which class each pair is (N,), or of which picture where there are no two classes; and what the candidates
    are then called."""
    import numpy as np

    classes = pairs.real.class_ids[pairs.indices]
    if pairs.real.has_classes and len(np.unique(classes)) > 1:
        return classes, "captions of other classes"
    return pairs.indices, "captions of other pictures, of any class"


def by_caption(hits: "np.ndarray", seen: "np.ndarray | None") -> list[Row]:
    """The figure apart for captions that stand among the training captions and others, where there are both."""
    if seen is None or not seen.any() or seen.all():
        return []
    return [
        Row(f"generated, {name} training ({of.sum()})", float(hits[of].mean()))
        for name, of in (("captions seen in", seen), ("captions not seen in", ~seen))
    ]


METRIC = Metric("r_precision", "R-precision (higher is better)", percent, ("captions", "encoder"), measure)
