"""Which items a training step sees: pure functions of (seed, step)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.errors import UserError
from data.captioned_images import CaptionedImages
from data.painted_birds.grammar import wrong_colours


def indices_at(step: int, batch: int, count: int, seed: int) -> np.ndarray:
    """The items of a step: (batch,) of `count`, every epoch in a new order, its remainder dropped.

    A pure function of its arguments. Raises UserError where the set is smaller than one batch.
    """
    per_epoch = count // batch
    if per_epoch == 0:
        raise UserError(f"the data has {count} items, fewer than one batch of {batch}; use a smaller batch")
    epoch, position = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return order[position * batch : (position + 1) * batch]


def distinct_at(step: int, batch: int, class_ids: np.ndarray, seed: int) -> np.ndarray:
    """The items of a step, no two of a class: (batch,) of the N that class_ids (N,) tells of, drawn anew at every step.

    Every class is as likely as any other, and so is every item of a class. Where there are fewer classes than `batch`,
    the items are those of `indices_at`. A pure function of its arguments.
    """
    rng = np.random.default_rng([seed, step, 3])
    order = rng.permutation(len(class_ids))
    _, firsts = np.unique(class_ids[order], return_index=True)  # the first item of every class in that order
    if len(firsts) < batch:
        return indices_at(step, batch, len(class_ids), seed)
    return order[rng.permutation(firsts)[:batch]]


class ImageBatch(NamedTuple):
    """images: (B, 3, S, S) in [-1, 1]; captions: one of each picture's, B, and where more are asked for a second of
    each, 2 B, and so on; class_ids: (B,); indices: (B,)."""

    images: Tensor
    captions: list[str]
    class_ids: Tensor
    indices: np.ndarray


def image_batch(
    birds: CaptionedImages,
    step: int,
    batch: int,
    seed: int,
    distinct: bool = False,
    random_crop: bool = True,
    captions_per_image: int = 1,
) -> ImageBatch:
    """The pictures of a step, with `captions_per_image` captions of every one, cropped and flipped by (seed, step).

    distinct: no two of a class, where there are classes enough; random_crop: False for the centre of each.
    """
    ids, count = birds.class_ids, len(birds)
    indices = distinct_at(step, batch, ids, seed) if distinct else indices_at(step, batch, count, seed)
    rng = np.random.default_rng([seed, step, 1])
    captions = [birds.captions[i][rng.integers(len(birds.captions[i]))] for i in indices]
    more = np.random.default_rng([seed, step, 4])
    captions += [
        birds.captions[i][more.integers(len(birds.captions[i]))]
        for _ in range(captions_per_image - 1)
        for i in indices
    ]
    return ImageBatch(
        to_unit(birds.batch(indices, rng, random_crop)), captions, torch.from_numpy(ids[indices]), indices
    )


def hard_negatives(captions: Sequence[str], per_caption: int, step: int, seed: int) -> list[str]:
    """`per_caption` captions for each of B, wrong in one or two colours; captions without a colour have none."""
    rng = np.random.default_rng([seed, step, 2])
    wrong = [(text, wrong_colours(text, rng)) for text in captions for _ in range(per_caption)]
    return [changed for text, changed in wrong if changed != text]


def to_unit(images: Tensor) -> Tensor:
    """uint8 pictures -> float32 in [-1, 1]."""
    return images.float() / 127.5 - 1
