"""confidence: whether the recogniser's confidence of a word tells the right words from the wrong."""

from typing import TYPE_CHECKING, Any

from core.errors import UserError
from evaluation.registry import Metric
from evaluation.result import Result, Row, fixed, scored

if TYPE_CHECKING:
    from evaluation.evaluator import Evaluator
    from evaluation.options import Options


def measure(evaluator: "Evaluator") -> Result:
    """Of every split that is heard, before and after the calibration that the model's config holds."""
    from asr.recognizers.registry import own
    from evaluation import sets
    from evaluation.batches import progress
    from evaluation.word_confidence import compare_words, plain_confidences
    from metrics.confidence import BINS, confidence_quality

    options, recognizer = evaluator.options, own(evaluator.recognizer, "--metric confidence")
    calibration = recognizer.calibration
    rows, counts, parts, warnings = [], {}, {}, []
    for split in sets.speech_splits(options):
        clips = sets.clips_to_hear(options, split)
        scores, is_right = compare_words(clips, recognizer, options.beam, progress)
        found: dict[str, Any] = {"before": scored(confidence_quality, plain_confidences(scores), is_right)}
        if calibration:
            found["after"] = scored(confidence_quality, calibration(scores), is_right)
        for when, quality in found.items():
            parts[f"{split} {when}"] = {"AUROC": quality.auroc, "ECE": quality.ece, "NCE": quality.nce}
        last = found.get("after", found["before"])
        rows.append(Row(split, last.auroc))
        counts[split] = clips.counts | {"words heard": last.words, "right": last.right}
    if not calibration:
        warnings.append(
            "not calibrated: fit it on clips of other readers with python -m evaluation.calibrate"
        )
    protocol = {
        "set": sets.speech_name(options),
        "split": options.split,
        "counts": counts,
        "recognizer": evaluator.model_entry("recognizer"),
        "beam": options.beam,
        "before": "the mean probability of a word's tokens",
        "after": "by the calibration of the model's config" if calibration else "there is none",
        "right words": "equal in an alignment of least edits (jiwer)",
        "ECE": f"{BINS} bins of equal width; NCE: 1 is best, 0 tells no more than the share of right words",
        "real": "none",
    }
    return Result(rows, None, protocol, chance=0.5, parts=parts, warnings=warnings)


def check(options: "Options") -> None:
    from asr.recognizers.registry import external

    if external(options.recognizer):
        raise UserError(
            f"--metric confidence reads scores that only this project's recognisers have; {options.recognizer} has none"
        )


METRIC = Metric(
    "confidence",
    "confidence of words, AUROC (higher is better)",
    fixed(3),
    ("recognizer",),
    measure,
    check,
)
