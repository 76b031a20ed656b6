"""Differentiable augmentation of all images that a discriminator sees (Zhao et al., NeurIPS 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def random_translation(images: Tensor, share: float) -> Tensor:
    """Every image moved by up to `share` of its side, its border repeated: (B, 3, s, s) -> (B, 3, s, s).

    Section 3.2. The strided convolutions of a discriminator lay a fixed grid over an image, and their gradients would
    print it: moved images average it out.
    """
    side = images.shape[-1]
    margin = round(share * side)
    if margin == 0:
        return images
    padded = F.pad(images, (margin,) * 4, mode="replicate")
    corners = torch.randint(0, 2 * margin + 1, (len(images), 2)).tolist()
    return torch.stack(
        [image[:, y : y + side, x : x + side] for image, (y, x) in zip(padded, corners, strict=True)]
    )


def random_cutout(images: Tensor, share: float) -> Tensor:
    """A square of `share` of the side is set to 0, centred anywhere, in every image (B, 3, s, s)."""
    side = images.shape[-1]
    if round(share * side) == 0:
        return images
    centres = torch.rand(len(images), 2, 1, device=images.device) * side
    places = torch.arange(side, device=images.device) + 0.5
    rows, columns = ((places - centres).abs() <= share * side / 2).unbind(1)  # (B, s) each
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])
