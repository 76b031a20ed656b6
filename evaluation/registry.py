"""Which metrics there are: each is declared once, by `register(Metric(...))`, here or in a file of your own.

    from evaluation.registry import Metric, register
    from evaluation.result import Result, Row, fixed

    def measure(evaluator):
        pairs = evaluator.pairs()
        ...
        return Result([Row("generated", value)], Row("real", of_real), pairs.protocol)

    register(Metric("sharpness", "sharpness (as real ones is best)", fixed(3), ("images",), measure))

The metrics of this project are the modules of `evaluation/measures`, listed in its `__init__`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import UserError, suggest

if TYPE_CHECKING:
    from evaluation.evaluator import Evaluator
    from evaluation.options import Options
    from evaluation.result import Result

# What a metric may need; options that serve none of these are refused, and results are named after those that do.
NEEDS = {
    "images": "generated images of the split's captions; a folder of images made elsewhere will do",
    "captions": "to know which caption an image belongs to",
    "generator": "to generate images of other texts or seeds",
    "texts": "captions of the split, which may be spoken (--from transcript) without anything being generated",
    "feature_network": "features of images",
    "part_classifier": "the colours of painted birds' parts",
    "part_locator": "the places of real birds' parts",
    "encoder": "a DAMSM that compares images with captions",
    "recognizer": "speech and a recogniser",
}


@dataclass(frozen=True)
class Metric:
    """name: on the command line; title: of its table, with the direction that is better; show: a value as text;
    needs: keys of NEEDS; measure: the evaluator -> Result; check: raises UserError for options it cannot serve, before
    anything is loaded."""

    name: str
    title: str
    show: Callable[[float], str]
    needs: tuple[str, ...]
    measure: "Callable[[Evaluator], Result]"
    check: "Callable[[Options], None] | None" = None


_METRICS: dict[str, Metric] = {}


def register(metric: Metric) -> Metric:
    """Make a metric known by its name. Raises ValueError for a name that is taken, or a need that nobody serves."""
    _built_in()
    return _add(metric)


def _add(metric: Metric) -> Metric:
    if metric.name in _METRICS:
        raise ValueError(f'there is a metric "{metric.name}" already; choose another name')
    if unknown := set(metric.needs) - set(NEEDS):
        raise ValueError(f'{metric.name} needs "{min(unknown)}"; what can be needed: {", ".join(NEEDS)}')
    _METRICS[metric.name] = metric
    return metric


def metrics() -> dict[str, Metric]:
    """Every metric by its name."""
    _built_in()
    return dict(_METRICS)


def find(name: str) -> Metric:
    """Raises UserError, with the nearest name, where there is none of that name."""
    known = metrics()
    if name not in known:
        raise UserError(f'no metric "{name}"{suggest(name, known)}: it is {", ".join(known)}')
    return known[name]


def _built_in() -> None:
    if not _METRICS:
        from evaluation.measures import BUILT_IN

        for metric in BUILT_IN:
            _add(metric)
