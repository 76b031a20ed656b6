"""How a training fares, in the features of its own encoder: to choose by on the validation split, not for tables."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from data.captioned_images import CaptionedImages
from data.sampling import to_unit
from metrics.fid import frechet_distance
from metrics.r_precision import r_precision
from metrics.retrieval import retrieval
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


def sentence_features(encoder: ConditionEncoder, captions: list[str]) -> np.ndarray:
    """N captions -> (N, E)."""
    parts = [encoder.encode(captions[i : i + AT_ONCE]).sentence for i in range(0, len(captions), AT_ONCE)]
    return torch.cat(parts).cpu().numpy()


def precision(images: np.ndarray, sentences: np.ndarray, class_ids: np.ndarray) -> float:
    """R-precision of features (N, E) with those of each one's caption, 99 others; a tiny set has fewer of other
    classes."""
    return r_precision(images, sentences, class_ids, candidates=caption_candidates(class_ids)).value


def caption_candidates(class_ids: np.ndarray) -> int:
    """How many captions each image of these classes (N,) chooses from: its own and up to 99 of other classes."""
    others = len(class_ids) - int(np.unique(class_ids, return_counts=True)[1].max())
    return min(100, 1 + others)


@torch.inference_mode()
def real_scores(encoder: ConditionEncoder, birds: CaptionedImages) -> dict[str, float]:
    """R-precision of the set's own pictures with one caption each, and the share of queries whose own answer is among
    the first 1, 5 and 10 of the whole set, both ways."""
    encoder.eval()
    images = image_features(encoder, real_pictures(birds, range(len(birds))))
    sentences = sentence_features(encoder, drawn_captions(birds))
    found = retrieval(images, sentences, np.arange(len(birds)))
    return {
        "r_precision": precision(images, sentences, birds.class_ids),
        **{f"text_to_image_recall_{k}": value for k, value in found.text_to_picture.items()},
        **{f"image_to_text_recall_{k}": value for k, value in found.picture_to_text.items()},
    }


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
        "r_precision": precision(seen, sentence_features(encoder, captions), birds.class_ids[rows]),
        "frechet_distance": frechet_distance(real, seen),
    }
