"""What a trained part locator learns of photographs beside its weights, and how well it reads them.

Thresholds of peaks, how far the parts of a head lie from each other, layouts of birds, and what colour words mean; all
of training photographs.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from data.captioned_images import CaptionedImages
from data.cub_captions import named_colours
from data.cub_parts import PartLocations, located_in
from data.painted_birds.grammar import COLOURS
from data.sampling import to_unit
from evaluation.part_locator import COLOUR_AT, DISC, KIND_OF, KINDS, PartLocator, PartLocatorConfig
from metrics.named_colours import BASIC, disc_colours, to_lab
from metrics.whole_birds import HEAD, count_heads, count_peaks, head_gap, layout_likelihood
from training.located import Located, cut_together

BATCH = 64  # pictures that are read at once
TRIED = np.arange(0.1, 0.71, 0.05)  # thresholds of a peak
FARTHEST = 99  # percentile of the gaps in heads that are still bridged
UNLIKELY = 2  # percentile of the layouts of photographs that are called no bird's
MENTIONS = 20  # of a colour, by which its meaning is learnt
NEAR = 0.1  # shares of the side: what counts as found


class Readings(NamedTuple):
    """N pictures as they are read and as they are annotated, A birds each: peaks (N, K, n, 3), visible (N, K); places
    (N, A, P, 2) in shares of the side, shown (N, A, P)."""

    peaks: np.ndarray
    visible: np.ndarray
    places: np.ndarray
    shown: np.ndarray

    @property
    def of_kinds(self) -> np.ndarray:
        """Which birds show a part of each kind (N, A, K)."""
        return np.stack([self.shown[..., [of == kind for of in KIND_OF]].any(2) for kind in KINDS], 2)

    @property
    def counts(self) -> np.ndarray:
        """How many parts of each kind are shown (N, K)."""
        return np.stack([self.shown[..., [of == kind for of in KIND_OF]].sum((1, 2)) for kind in KINDS], 1)

    @property
    def heads(self) -> np.ndarray:
        """How many birds show two kinds of parts of their heads (N,)."""
        return (self.of_kinds[..., [KINDS.index(kind) for kind in HEAD]].sum(2) >= 2).sum(1)


@torch.inference_mode()
def read_set(
    model: PartLocator,
    birds: CaptionedImages,
    parts: PartLocations,
    together: bool = False,
    most: int | None = None,
) -> Readings:
    """The centres of the pictures, or, together, the halves of every two that follow each other, side by side or one
    below the other in turns."""
    device = model.palette.device
    model.eval()
    found = []
    for start in range(0, min(len(birds), most or len(birds)), BATCH):
        indices = np.arange(start, min(start + BATCH, len(birds)))
        cuts = birds.cuts(indices, None)
        inside = located_in(parts, indices, cuts, birds.size)
        batch = Located(
            to_unit(birds.cut(indices, cuts)),
            torch.from_numpy(inside.places / birds.size).float()[:, None],
            torch.from_numpy(inside.visible)[:, None],
        )
        if together:
            B = len(indices)
            batch = cut_together(
                batch, torch.ones(B, dtype=torch.bool), torch.arange(B) % 2, torch.full((B,), 0.5)
            )
        read = model.read(batch.images.to(device))
        found.append([t.float().cpu().numpy() for t in (*read, *batch[1:])])
    peaks, visible, places, shown = (np.concatenate(values) for values in zip(*found, strict=True))
    return Readings(peaks, visible, places, shown > 0)


# --- what is learnt ----------------------------------------------------------------------------------------------


def calibrated(
    model: PartLocator, birds: CaptionedImages, parts: PartLocations, examples: int
) -> PartLocator:
    """The model with what is learnt from its training photographs, read at last.

    Every so many photographs are examples of layouts, about `examples` of them; the likelihoods of the others under
    these say what is unlikely.
    """
    photographs, together = (read_set(model, birds, parts, both) for both in (False, True))
    thresholds = peak_thresholds(photographs, together)
    every = max(2, -(-len(birds) // examples))
    is_example = np.arange(len(birds)) % every == 0
    places, seen = photographs.peaks[:, :, 0, :2], photographs.visible >= 0.5
    likelihoods = layout_likelihood(
        places[~is_example], seen[~is_example], places[is_example], seen[is_example]
    )
    config = replace(
        model.config,
        thresholds=thresholds,
        reach=head_reach(photographs, model.config.reach),
        examples=int(is_example.sum()),
        least_likelihood=float(np.percentile(likelihoods, UNLIKELY)),
    )
    learnt = PartLocator(config).to(model.palette.device)
    learnt.load_state_dict(
        model.state_dict()
        | {
            "layouts": torch.from_numpy(places[is_example]),
            "layouts_seen": torch.from_numpy(seen[is_example]),
            "palette": torch.from_numpy(colour_words(birds, photographs)),
        }
    )
    return learnt.eval().requires_grad_(False)


def peak_thresholds(*readings: Readings) -> list[float]:
    """For each kind that of TRIED by which most pictures show as many peaks as parts; the lowest of several."""
    heights = np.concatenate([r.peaks[..., 2] for r in readings])  # (N, K, n)
    truth = np.concatenate([r.counts for r in readings])
    right = [((heights >= threshold).sum(2) == truth).mean(0) for threshold in TRIED]
    return [round(float(TRIED[best]), 2) for best in np.argmax(right, axis=0)]


def head_reach(readings: Readings, default: float) -> float:
    """The percentile FARTHEST of the largest gap between the annotated parts of a head, in shares of the side."""
    is_head = np.array([of in HEAD for of in KIND_OF])
    gaps = [
        head_gap(places[0][shown[0] & is_head])
        for places, shown in zip(readings.places, readings.shown, strict=True)
        if (shown[0] & is_head).sum() > 1
    ]
    return float(np.percentile(gaps, FARTHEST)) if gaps else default


def colour_words(birds: CaptionedImages, readings: Readings) -> np.ndarray:
    """What captions mean by a colour, L, a, b of each of COLOURS (C, 3): the median over the annotated parts of
    photographs of which any caption says it; that of `BASIC` where it is said less than MENTIONS times."""
    meant: dict[str, list[np.ndarray]] = {colour: [] for colour in COLOURS}
    for start in range(0, len(birds), BATCH):
        indices = np.arange(start, min(start + BATCH, len(birds)))
        images = birds.batch(indices, None).numpy() / 255
        places, shown = readings.places[indices, 0], readings.shown[indices, 0]
        found = disc_colours(images, places, DISC)  # (B, P, 3)
        for row, i in enumerate(indices):
            for caption in birds.captions[i]:
                for part, colour in named_colours(caption).items():
                    at = [p for p, of in enumerate(KIND_OF) if of == COLOUR_AT[part] and shown[row, p]]
                    meant[colour] += [found[row, p] for p in at]
    basic = to_lab(np.array([BASIC[colour] for colour in COLOURS]) / 255)
    learnt = [
        np.median(meant[colour], axis=0) if len(meant[colour]) >= MENTIONS else basic[c]
        for c, colour in enumerate(COLOURS)
    ]
    return np.array(learnt, np.float32)


# --- how well photographs are read -------------------------------------------------------------------------------


@dataclass
class Accuracy:
    """within: of the photographs that show a kind of part, the share whose highest peak of it lies within NEAR of such
    a part, by kind (absent where none shows it); visible: how often "is it visible" is right; one_head: of photographs
    that show one head, the share in which one is counted; counts: in which as many of a kind are counted as annotated,
    by kind; put_together: share of pictures of two halves in which as many heads are counted as there are."""

    within: dict[str, float]
    visible: float
    one_head: float
    counts: dict[str, float]
    put_together: float

    def scores(self) -> dict[str, float]:
        mean = sum(self.within.values()) / max(len(self.within), 1)
        counts = {f"{kind}_count": value for kind, value in self.counts.items()}
        return {"within_a_tenth": mean, "visible": self.visible, "one_head": self.one_head,
                "put_together": self.put_together, **counts}  # fmt: skip

    def told(self) -> str:
        def percent(value: float) -> str:
            return f"{100 * value:.1f} %"

        parts = ", ".join(f"{kind} {percent(value)}" for kind, value in self.within.items())
        mean = percent(self.scores()["within_a_tenth"])
        return (
            f"of the parts that are visible, {mean} are found within a tenth of the picture's side ({parts}); whether "
            f"a part is visible is read right in {percent(self.visible)}; of photographs with one head one is counted "
            f"in {percent(self.one_head)}; of pictures put together from two halves as many heads as there are in "
            f"{percent(self.put_together)}"
        )


def measured(
    model: PartLocator, birds: CaptionedImages, parts: PartLocations, most: int | None = None
) -> Accuracy:
    """How well a model reads pictures as they are and put together, all of a split or the first of them."""
    photographs, together = (read_set(model, birds, parts, both, most) for both in (False, True))
    return accuracy(model.config, photographs, together)


def accuracy(config: PartLocatorConfig, photographs: Readings, together: Readings) -> Accuracy:
    within = {}
    for k, kind in enumerate(KINDS):
        ours = [p for p, of in enumerate(KIND_OF) if of == kind]
        away = np.linalg.norm(
            photographs.places[:, 0, ours] - photographs.peaks[:, k, :1, :2], axis=2
        )  # (N, ours)
        away = np.where(photographs.shown[:, 0, ours], away, np.inf).min(1)
        is_shown = photographs.of_kinds[:, 0, k]
        if is_shown.any():
            within[kind] = float((away[is_shown] <= NEAR).mean())
    counted = [count_heads(r.peaks, KINDS, config.thresholds, config.reach) for r in (photographs, together)]
    peaks, one = count_peaks(photographs.peaks, config.thresholds), photographs.heads == 1
    return Accuracy(
        within,
        float(((photographs.visible >= 0.5) == photographs.of_kinds[:, 0]).mean()),
        float((counted[0][one] == 1).mean()) if one.any() else 0.0,
        {
            kind: float((peaks == photographs.counts)[:, KINDS.index(kind)].mean())
            for kind in ("beak", "crown", "tail")
        },
        float((counted[1] == together.heads).mean()),
    )
