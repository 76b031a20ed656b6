"""real_part_colours: of the colours that a caption names, how many its picture has at the places of these parts.

The part locator finds the place; the median of a small disc there, in CIELAB, takes the name of the nearest of eleven
colours, each of which is the median of what training captions called so. Photographs are read in the same way, and
their row says what the measure is worth: a caption names what an annotator saw, a disc is one place of a bird
that may be patterned.
"""

from typing import TYPE_CHECKING

from evaluation.measures.whole_birds import require_locator
from evaluation.registry import Metric
from evaluation.result import Result, Row, bounds, percent, scored

if TYPE_CHECKING:
    import numpy as np
    import torch

    from evaluation.evaluator import Evaluator
    from evaluation.features import Extractor
    from evaluation.part_locator import PartLocator
    from metrics.part_colours import PartColours


def measure(evaluator: "Evaluator") -> Result:
    from data.cub_captions import named_colours
    from evaluation.part_locator import DISC

    locator, pairs = evaluator.part_locator, evaluator.pairs()
    named = [named_colours(caption) for caption in pairs.captions]  # of what was said, not of what was heard
    read = colours_at_parts(locator)
    (generated, found), (real, real_found) = (
        score(locator, of(pairs, read), named, evaluator.options.seed)
        for of in (evaluator.generated_features, evaluator.features_of_real)
    )
    rows = [
        Row("generated", generated.value, bounds(generated.interval)),
        Row("generated, shuffled captions", generated.shuffled),
    ]
    protocol = pairs.protocol | evaluator.caption_protocol(pairs) | {
        "named colours": sum(map(len, named)),
        "of parts that were found": f"{found} in generated images, {real_found} in real ones; the others do not count",
        "colour": f"median of a disc of radius {DISC} of the side, nearest of the eleven in CIELAB (CIE 1976)",
        "locator": evaluator.model_entry("part_locator"),
    }  # fmt: skip
    parts = {
        part: {"generated": accuracy, "named": count}
        | ({"real": real.parts[part][0]} if part in real.parts else {})
        for part, (accuracy, count) in generated.parts.items()
    }
    return Result(rows, Row("real", real.value, bounds(real.interval)), protocol, generated.chance, parts)


def colours_at_parts(locator: "PartLocator") -> "Extractor":
    """images (B, 3, S, S) -> L, a, b of every kind of part and how sure it is visible, in one row (B, K * 4)."""
    import torch

    from evaluation.features import Extractor
    from evaluation.part_locator import DISC
    from metrics.named_colours import disc_colours

    def read(images: "torch.Tensor") -> "torch.Tensor":
        peaks, visible = locator.read(images)
        pixels = ((images.float() + 1) / 2).clamp(0, 1).cpu().numpy()
        lab = torch.from_numpy(disc_colours(pixels, peaks[:, :, 0, :2].cpu().numpy(), DISC))  # (B, K, 3)
        return torch.cat([lab, visible[..., None].double().cpu()], 2).flatten(1)

    return Extractor("colours at parts", read, {"locator": locator.checksum})


def score(
    locator: "PartLocator", rows: "np.ndarray", named: list[dict[str, str]], seed: int
) -> tuple["PartColours", int]:
    """Rows of `colours_at_parts` (N, K * 4) against what captions name, {part: colour} -> the score, and how many of
    the named parts were found, which alone it is about."""
    import numpy as np

    from data.cub_captions import PARTS
    from data.painted_birds.grammar import COLOURS
    from evaluation.part_locator import COLOUR_AT, KINDS
    from metrics.named_colours import nearest
    from metrics.part_colours import part_colour_accuracy

    values = rows.reshape(len(rows), len(KINDS), 4)
    colours = nearest(values[..., :3], locator.palette.double().cpu().numpy())
    colours = np.where(values[..., 3] >= 0.5, colours, -1)  # (N, K)
    predicted = colours[:, [KINDS.index(COLOUR_AT[part]) for part in PARTS]]  # (N, parts that captions name)
    asked = [
        {part: colour for part, colour in caption.items() if of[PARTS.index(part)] >= 0}
        for caption, of in zip(named, predicted, strict=True)
    ]
    found = scored(part_colour_accuracy, predicted, asked, PARTS, COLOURS, seed)
    return found, found.named


TITLE = "part colours of real birds (higher is better)"
METRIC = Metric("real_part_colours", TITLE, percent, ("captions", "part_locator"), measure, require_locator)
