"""part_colours: of the colours that a caption names, how many the part classifier reads in its image."""

from typing import TYPE_CHECKING

from core.errors import UserError
from evaluation.options import PAINTED, Options
from evaluation.registry import Metric
from evaluation.result import Result, Row, bounds, percent, scored

if TYPE_CHECKING:
    import torch

    from evaluation.evaluator import Evaluator
    from evaluation.features import Extractor


def measure(evaluator: "Evaluator") -> Result:
    from data.painted_birds.grammar import named_colours
    from metrics.part_colours import part_colour_accuracy

    require_part_truth(evaluator.options)
    classifier, pairs = evaluator.part_classifier, evaluator.pairs()
    named = [named_colours(caption) for caption in pairs.captions]  # of what was said, not of what was heard
    read = colours_read(evaluator)
    generated, real = (
        scored(part_colour_accuracy, of(pairs, read).astype(int), named, classifier.parts, classifier.colours,
               evaluator.options.seed)
        for of in (evaluator.generated_features, evaluator.features_of_real)
    )  # fmt: skip
    rows = [
        Row("generated", generated.value, bounds(generated.interval)),
        Row("generated, shuffled captions", generated.shuffled),
    ]
    protocol = pairs.protocol | evaluator.caption_protocol(pairs) | {
        "named colours": generated.named,
        "classifier": evaluator.model_entry("part_classifier"),
    }  # fmt: skip
    parts = {
        part: {"generated": accuracy, "real": real.parts[part][0], "named": count}
        for part, (accuracy, count) in generated.parts.items()
    }
    return Result(rows, Row("real", real.value, bounds(real.interval)), protocol, generated.chance, parts)


def colours_read(evaluator: "Evaluator") -> "Extractor":
    """images (B, 3, S, S) -> colour numbers of every part (B, P)."""
    from evaluation.features import Extractor

    classifier = evaluator.part_classifier

    def read(images: "torch.Tensor") -> "torch.Tensor":
        return classifier(images).argmax(dim=2)

    return Extractor("colours", read, {"classifier": classifier.checksum})


def require_part_truth(options: Options) -> None:
    from evaluation.sets import has_part_truth

    if not has_part_truth(options):
        raise UserError(
            f"{options.data} has no parts.csv: the colours of its parts are not known and the classifier reads painted "
            f"birds only; measure r_precision or fid there, or this on {PAINTED}"
        )


TITLE = "part-colour accuracy (higher is better)"
METRIC = Metric("part_colours", TITLE, percent, ("captions", "part_classifier"), measure)
