"""whole_birds: in how many images a part locator counts exactly one head, and how many show a bird's layout of parts.

A head is counted where two or more kinds of its parts (beak, crown, forehead, eye, nape, throat) peak together
(metrics/whole_birds.count_heads). A bird is whole that has exactly one, and whose parts, each where its map is highest,
lie as in photographs: the logarithm of the kernel density of its layout under those of training photographs
(metrics/whole_birds.layout_likelihood) is at least that of all but 2 % of training photographs, which the same network
read (training/locator_judgement.py). What photographs of the split themselves reach stands beside it: their row says
what the network misreads.
"""

from typing import TYPE_CHECKING, NamedTuple

from core.errors import UserError
from evaluation.options import Options
from evaluation.registry import Metric
from evaluation.result import Result, Row, bounds, percent, scored

if TYPE_CHECKING:
    import numpy as np
    import torch

    from evaluation.evaluator import Evaluator
    from evaluation.features import Extractor
    from evaluation.part_locator import PartLocator

COUNTED = {"beak": 1, "crown": 1, "eye": 2, "tail": 1}  # and how many of each a bird has at most


class Birds(NamedTuple):
    """Of N images: heads (N,), counts (N, K) of each kind of part, and whether the layout is a bird's (N,)."""

    heads: "np.ndarray"
    counts: "np.ndarray"
    is_bird: "np.ndarray"


def measure(evaluator: "Evaluator") -> Result:
    from evaluation.part_locator import KINDS
    from metrics.bootstrap import share_interval

    locator, pairs = evaluator.part_locator, evaluator.pairs()
    read = parts_read(locator)
    birds = {
        name: judged(locator, of(pairs, read))
        for name, of in (("generated", evaluator.generated_features), ("real", evaluator.features_of_real))
    }

    def row(name: str, hits: "np.ndarray") -> Row:
        interval = scored(share_interval, int(hits.sum()), len(hits), "images")
        return Row(name, float(hits.mean()), bounds(interval))

    rows = []
    for name, found in birds.items():
        rows += [
            row(f"{name}, one head", found.heads == 1),
            row(f"{name}, no head", found.heads == 0),
            row(f"{name}, two heads or more", found.heads > 1),
            row(f"{name}, one head and a bird's layout", (found.heads == 1) & found.is_bird),
        ]
    real = rows.pop(4)
    parts: dict[str, dict[str, float]] = {}
    for kind, most in COUNTED.items():
        parts[kind] = {}
        for name, found in birds.items():
            counts = found.counts[:, KINDS.index(kind)]
            some = "one" if most == 1 else "one or two"
            shares = {"none": counts == 0, some: (counts >= 1) & (counts <= most), "more": counts > most}
            parts[kind] |= {f"{name} {told}": float(of.mean()) for told, of in shares.items()}
    protocol = pairs.protocol | {
        "locator": evaluator.model_entry("part_locator"),
        "head": f"two kinds of its parts or more within {locator.config.reach:.3f} of the side of each other",
        "layout": f"log likelihood of at least {locator.config.least_likelihood:.2f} under "
        f"{locator.config.examples} training photographs, which 98 % of others among these reach",
    }
    return Result(rows, real, protocol, parts=parts)


def parts_read(locator: "PartLocator") -> "Extractor":
    """images (B, 3, S, S) -> peaks and visibilities of every kind of part in one row (B, K * (3 n + 1))."""
    import torch

    from evaluation.features import Extractor

    def read(images: "torch.Tensor") -> "torch.Tensor":
        peaks, visible = locator.read(images)
        return torch.cat([peaks.flatten(2), visible[..., None]], 2).flatten(1)

    return Extractor("parts", read, {"locator": locator.checksum})


def judged(locator: "PartLocator", rows: "np.ndarray") -> Birds:
    """Rows of `parts_read` (N, K * (3 n + 1)) -> what they show."""
    from evaluation.part_locator import KINDS
    from metrics.whole_birds import count_heads, count_peaks, layout_likelihood

    config = locator.config
    values = rows.reshape(len(rows), len(KINDS), -1)
    peaks, seen = values[..., :-1].reshape(len(rows), len(KINDS), -1, 3), values[..., -1] >= 0.5
    likelihoods = scored(
        layout_likelihood,
        peaks[:, :, 0, :2],
        seen,
        locator.layouts.double().cpu().numpy(),
        locator.layouts_seen.cpu().numpy(),
    )
    return Birds(
        count_heads(peaks, KINDS, config.thresholds, config.reach),
        count_peaks(peaks, config.thresholds),
        likelihoods >= config.least_likelihood,
    )


def require_locator(options: Options) -> None:
    from evaluation.sets import has_part_truth

    if not (options.locator / "config.json").is_file():
        raise UserError(
            f"no part locator at {options.locator}: train one (python train_locator.py experiment=part_locator_real "
            "backbone_weights=FILE of MobileNetV2) and name it: --locator runs/part_locator_real/model"
        )
    if has_part_truth(options):
        raise UserError(
            f"the part locator reads real birds, and {options.data} is painted; name photographs (--data datasets/cub) "
            "and a painter of such birds (--model real)"
        )


TITLE = "whole birds, images with exactly one head (higher is better)"
METRIC = Metric("whole_birds", TITLE, percent, ("images", "part_locator"), measure, require_locator)
