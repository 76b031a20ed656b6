"""stage_agreement: of the parts that a caption names, how many are read alike in an early picture and in the last."""

from typing import TYPE_CHECKING

from core.errors import UserError
from evaluation.measures.part_colours import require_part_truth
from evaluation.options import Options
from evaluation.registry import Metric
from evaluation.result import Result, Row, bounds, percent, scored

if TYPE_CHECKING:
    from evaluation.evaluator import Evaluator


def check(options: Options) -> None:
    if options.pictures or options.nearest:
        raise UserError("stage_agreement looks at the pictures of a painter's stages; measure a --model")


def measure(evaluator: "Evaluator") -> Result:
    import numpy as np

    from data.painted_birds.grammar import named_colours
    from evaluation.generators import TrainedPainter
    from metrics.stage_agreement import stage_agreement

    require_part_truth(evaluator.options)
    painter = evaluator.generator
    assert isinstance(painter, TrainedPainter)
    sizes = painter.painter.resolutions
    if len(sizes) < 2:
        raise UserError(f"{evaluator.options.model} paints in one stage; stage_agreement compares two or more")
    classifier, pairs = evaluator.part_classifier, evaluator.pairs()
    read = [
        np.stack([classifier(images.float()).argmax(dim=2).cpu().numpy() for images in stages])  # (S, B, P)
        for stages in evaluator.stage_images(pairs)
    ]
    named = np.array([[part in named_colours(c) for part in classifier.parts] for c in pairs.captions])
    found = scored(stage_agreement, np.concatenate(read, axis=1), named, evaluator.options.seed)
    rows = [
        Row(f"{size} px as {sizes[-1]} px", value, bounds(interval))
        for size, value, interval in zip(sizes, found.values, found.intervals, strict=False)
    ]
    protocol = pairs.protocol | evaluator.caption_protocol(pairs) | {
        "named colours": found.named,
        "classifier": evaluator.model_entry("part_classifier"),
    }  # fmt: skip
    return Result(rows, None, protocol, 1 / len(classifier.colours))


TITLE = "named parts read alike in a stage's picture and in the last (higher is better)"
METRIC = Metric("stage_agreement", TITLE, percent, ("generator", "captions", "part_classifier"), measure, check)
