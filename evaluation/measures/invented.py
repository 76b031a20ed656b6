"""invented: sounds in which nobody speaks, and in which the recogniser hears words all the same."""

from typing import TYPE_CHECKING

from evaluation.registry import Metric
from evaluation.result import Result, Row, percent

if TYPE_CHECKING:
    from evaluation.evaluator import Evaluator


def measure(evaluator: "Evaluator") -> Result:
    from evaluation import spoken
    from evaluation.batches import progress
    from evaluation.nonspeech import sounds

    clips = sounds(evaluator.options.seed)
    heard = spoken.hear(list(clips.values()), evaluator.recognizer, evaluator.options.beam, progress)
    invented = {name: text for name, text in zip(clips, heard, strict=True) if text}
    kinds: dict[str, int] = {}
    for name in clips:
        kinds[name.rpartition(" ")[0]] = kinds.get(name.rpartition(" ")[0], 0) + 1
    protocol = {
        "sounds": ", ".join(f"{count} {kind}" for kind, count in kinds.items()),
        "words heard in": ", ".join(f'{name} ("{text[:40]}")' for name, text in invented.items()) or "none",
        "recognizer": evaluator.model_entry("recognizer"),
        **evaluator.search,
        "real": "none: sounds are made",
    }
    return Result([Row("sounds with words", len(invented) / len(clips))], None, protocol)


METRIC = Metric(
    "invented",
    "sounds without speech in which words are heard (lower is better)",
    percent,
    ("recognizer",),
    measure,
)
