"""wer: word error rate of the recogniser."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from evaluation.registry import Metric
from evaluation.result import Result, Row, bounds, percent, scored

if TYPE_CHECKING:
    from evaluation.evaluator import Evaluator
    from metrics.error_rates import ErrorRate


def measure(evaluator: "Evaluator") -> Result:
    from metrics.wer import word_error_rate

    return error_rate(evaluator, word_error_rate, "words")


def error_rate(evaluator: "Evaluator", score: "Callable[..., ErrorRate]", unit: str) -> Result:
    """Of every split that is heard, its interval over voices where there are several."""
    from evaluation import sets
    from metrics.error_rates import NORMALISATION

    options, rows, counts = evaluator.options, [], {}
    for split in sets.speech_splits(options):
        heard = evaluator.heard(split)
        found = scored(score, heard.references, heard.hypotheses, options.seed, heard.speakers)
        rows.append(Row(split, found.value, bounds(found.interval)))
        counts[split] = heard.counts | {unit: found.length, "edits": found.edits}
    protocol = {
        "set": sets.speech_name(options),
        "split": options.split,
        "counts": counts,
        "interval": "voices (readers) drawn with replacement where a split has several, else clips of the one voice, "
        "which says nothing of other voices",
        "recognizer": evaluator.model_entry("recognizer"),
        **evaluator.search,
        "normalisation": NORMALISATION,
        "real": "none: the clips are what they are; no model stands between them and their transcripts",
    }
    return Result(rows, None, protocol)


METRIC = Metric("wer", "word error rate (lower is better)", percent, ("recognizer",), measure)
