"""cer: character error rate of the recogniser."""

from typing import TYPE_CHECKING

from evaluation.measures.wer import error_rate
from evaluation.registry import Metric
from evaluation.result import Result, percent

if TYPE_CHECKING:
    from evaluation.evaluator import Evaluator


def measure(evaluator: "Evaluator") -> Result:
    from metrics.cer import character_error_rate

    return error_rate(evaluator, character_error_rate, "characters")


METRIC = Metric("cer", "character error rate (lower is better)", percent, ("recognizer",), measure)
