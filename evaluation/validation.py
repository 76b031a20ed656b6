"""How a training fares, in the features of its own encoder: to choose by on the validation split, not for tables."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from data.captioned_images import CaptionedImages
from data.sampling import to_unit
from metrics.fid import frechet_distance
from metrics.r_precision import r_precision
from t2i.encoders.base import ConditionEncoder
from t2i.painter import Painter

AT_ONCE = 100


def drawn_captions(birds: CaptionedImages) -> list[str]:
    """One caption of every picture, the same at every call."""
    rng = np.random.default_rng(0)
    return [of_one[rng.integers(len(of_one))] for of_one in birds.captions]


def real_pictures(birds: CaptionedImages, rows: range) -> Iterator[Tensor]:
    """(B, 3, S, S) in [-1, 1], uncropped."""
    for start in rows[::AT_ONCE]:
        yield to_unit(birds.batch(range(start, min(start + AT_ONCE, rows.stop)), None))


def image_features(encoder: ConditionEncoder, pictures: Iterable[Tensor]) -> np.ndarray:
    """Batches (B, 3, S, S) -> global features (N, E)."""
    device = next(encoder.parameters()).device
    return torch.cat([encoder.encode_images(part.to(device))[1] for part in pictures]).cpu().numpy()


def precision(
    encoder: ConditionEncoder, seen: np.ndarray, captions: list[str], class_ids: np.ndarray
) -> float:
    """R-precision of features (N, E) with the caption of each, 99 others; a tiny set has fewer of other classes."""
    said = torch.cat(
        [encoder.encode(captions[i : i + AT_ONCE]).sentence for i in range(0, len(captions), AT_ONCE)]
    )
    return r_precision(seen, said.cpu().numpy(), class_ids, candidates=caption_candidates(class_ids)).value


def caption_candidates(class_ids: np.ndarray) -> int:
    """How many captions each image of these classes (N,) chooses from: its own and up to 99 of other classes."""
    others = len(class_ids) - int(np.unique(class_ids, return_counts=True)[1].max())
    return min(100, 1 + others)


@torch.inference_mode()
def real_r_precision(encoder: ConditionEncoder, birds: CaptionedImages) -> float:
    """R-precision of the set's own pictures with one caption each."""
    encoder.eval()
    seen = image_features(encoder, real_pictures(birds, range(len(birds))))
    return precision(encoder, seen, drawn_captions(birds), birds.class_ids)


@torch.inference_mode()
def painted_scores(
    painter: Painter, encoder: ConditionEncoder, birds: CaptionedImages, count: int
) -> dict[str, float]:
    """R-precision of pictures of `count` captions of the set, and their Frechet distance from its own pictures."""
    rows = np.random.default_rng(0).permutation(len(birds))[:count]
    captions = [drawn_captions(birds)[row] for row in rows]
    pictures = (
        painter.paint(captions[i : i + AT_ONCE], range(i, min(i + AT_ONCE, len(captions)))).images[-1]
        for i in range(0, len(captions), AT_ONCE)
    )
    seen = image_features(encoder, pictures)
    real = image_features(encoder, real_pictures(birds, range(len(birds))))
    return {
        "r_precision": precision(encoder, seen, captions, birds.class_ids[rows]),
        "frechet_distance": frechet_distance(real, seen),
    }
