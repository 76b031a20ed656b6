"""colour_edits: one colour word of a caption is changed; that part should change, and no other."""

from dataclasses import replace
from typing import TYPE_CHECKING

from core.errors import UserError
from evaluation.measures.part_colours import colours_read, require_part_truth
from evaluation.options import Options
from evaluation.registry import Metric
from evaluation.result import Result, Row, bounds, percent, scored

if TYPE_CHECKING:
    from evaluation.evaluator import Evaluator


def check(options: Options) -> None:
    if options.source == "transcript":
        raise UserError("--from transcript changes no words; colour_edits is measured from captions")


def measure(evaluator: "Evaluator") -> Result:
    import numpy as np

    from data.painted_birds.grammar import named_colours, swap_colour
    from metrics.colour_edits import colour_edits

    require_part_truth(evaluator.options)
    classifier, pairs, seed = evaluator.part_classifier, evaluator.pairs(), evaluator.options.seed
    rows, texts, parts, colours = [], [], [], []
    for row, caption in enumerate(pairs.captions):
        rng = np.random.default_rng([seed, row, 3])
        named = named_colours(caption)
        free = [colour for colour in classifier.colours if colour not in named.values()]
        edits = [(part, free[rng.integers(len(free))]) for part in rng.permutation(list(named))]
        edit = next(((p, c, t) for p, c in edits if (t := swap_colour(caption, p, c)) is not None), None)
        if edit and len(named) > 1:
            rows.append(row)
            parts.append(classifier.parts.index(edit[0]))
            colours.append(classifier.colours.index(edit[1]))
            texts.append(edit[2])
    if not rows:
        raise UserError(
            "no caption names two parts of which one can be changed; measure more of them (--samples)"
        )
    before = pairs.only(rows)
    named_parts = np.array([[part in named_colours(c) for part in classifier.parts] for c in before.captions])
    read = colours_read(evaluator)
    colours_before = evaluator.generated_features(pairs, read)[rows]
    colours_after = evaluator.generated_features(replace(before, texts=texts), read)
    found = scored(colour_edits, colours_before.astype(int), colours_after.astype(int), parts, colours, named_parts,
                   seed)  # fmt: skip
    protocol = pairs.protocol | {
        "samples": len(rows),
        "text": "a caption, and the same with one colour word changed to a colour that it does not name; same noise",
        "kept": f"{found.others} other named parts, read as before the edit",
        "classifier": evaluator.model_entry("part_classifier"),
    }
    told = [
        Row("the edited part takes its new colour", found.changed, bounds(found.changed_interval)),
        Row("other named parts are read as before", found.kept, bounds(found.kept_interval)),
    ]
    return Result(told, None, protocol, 1 / len(classifier.colours))


TITLE = "colour edits: one colour word is changed (higher is better)"
METRIC = Metric("colour_edits", TITLE, percent, ("generator", "part_classifier"), measure, check)
