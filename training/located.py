"""Pictures with places in them, augmented together, and the loss of heatmaps: what the part locator learns from."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

NEAR, HARD = 4, 2  # exponents beta and alpha of the focal loss


class Located(NamedTuple):
    """images (B, 3, S, S) in [-1, 1]; places (B, A, P, 2): x, y in shares of the side, of the parts of up to A birds in
    a picture; visible (B, A, P) bool: which of them are to be seen in it."""

    images: Tensor
    places: Tensor
    visible: Tensor


def moved(batch: Located, angle: Tensor, zoom: Tensor) -> Located:
    """Every picture turned by its angle (B,), in radians, and enlarged by its zoom (B,), about its centre; the border
    is repeated."""
    c, s = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([c, -s], 1), torch.stack([s, c], 1)], 1)  # (B, 2, 2)
    # affine_grid asks where a pixel of the result comes from, in [-1, 1]
    theta = torch.cat([turn / zoom[:, None, None], torch.zeros(len(c), 2, 1)], 2)
    grid = F.affine_grid(theta, list(batch.images.shape), align_corners=False)
    images = F.grid_sample(batch.images, grid, padding_mode="border", align_corners=False)
    back = turn.transpose(1, 2) * zoom[:, None, None]  # the inverse
    places = torch.einsum("bij,bapj->bapi", back, 2 * batch.places - 1) / 2 + 0.5
    return Located(images, places, batch.visible & ((places >= 0) & (places < 1)).all(3))


def cut_together(batch: Located, chosen: Tensor, axis: Tensor, at: Tensor) -> Located:
    """The pictures of `chosen` (B,) bool get, beyond the line at `at` (B,) of the side, what the picture before them in
    the batch shows there: in x for axis 0, in y for axis 1 (B,). (B, A, ...) -> (B, 2 A, ...).

    So a picture has one head, two or none, which photographs of one bird never teach to count.
    """
    S = batch.images.shape[-1]
    along = (torch.arange(S) + 0.5) / S
    beyond = (along >= at[:, None]) & chosen[:, None]  # (B, S)
    mask = torch.where(axis[:, None, None].bool(), beyond[:, :, None], beyond[:, None, :])  # (B, S, S)
    images = torch.where(mask[:, None], batch.images.roll(1, 0), batch.images)

    def is_beyond(places: Tensor) -> Tensor:
        """(B, A, P, 2) -> (B, A, P)"""
        which = axis[:, None, None, None].expand(*places.shape[:3], 1)
        return (places.gather(3, which)[..., 0] >= at[:, None, None]) & chosen[:, None, None]

    theirs = batch.places.roll(1, 0)
    visible = [batch.visible & ~is_beyond(batch.places), batch.visible.roll(1, 0) & is_beyond(theirs)]
    return Located(images, torch.cat([batch.places, theirs], 1), torch.cat(visible, 1))


def relit(images: Tensor, share: float) -> Tensor:
    """Brightness and contrast of every image (B, 3, S, S) changed by up to `share` of their range."""
    gain, shift = share * (2 * torch.rand(2, len(images), 1, 1, 1) - 1)
    mean = images.mean((1, 2, 3), keepdim=True)
    return ((images - mean) * (1 + gain) + mean + shift).clamp(-1, 1)


def heat_targets(places: Tensor, visible: Tensor, side: int, spread: float) -> Tensor:
    """places (B, A, P, 2), visible (B, A, P) -> heat (B, P, side, side): a Gaussian of standard deviation `spread`
    cells, 1 at the cell of every visible part; the highest where birds overlap."""
    cells = torch.arange(side, device=places.device)
    centre = (places * side).floor()  # x, y
    gaussian = torch.exp(-((cells - centre[..., None]) ** 2) / (2 * spread**2))  # (B, A, P, 2, side)
    heat = gaussian[..., 1, :, None] * gaussian[..., 0, None, :]  # (B, A, P, rows, columns)
    return (heat * visible[..., None, None]).amax(1)


def locator_loss(
    heat: Tensor, visible: Tensor, places: Tensor, shown: Tensor, spread: float, visible_weight: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits of heat (B, P, h, w) and visibility (B, P), places (B, A, P, 2) and shown (B, A, P) -> loss and its terms.

    Heat: the penalty-reduced focal loss of CornerNet (Law & Deng 2018, eq. 1), per part that is shown. Visibility:
    binary cross entropy.
    """
    target = heat_targets(places, shown, heat.shape[-1], spread)
    yes, no = F.logsigmoid(heat), F.logsigmoid(-heat)
    p, is_part = heat.sigmoid(), target == 1
    each = torch.where(is_part, (1 - p) ** HARD * yes, (1 - target) ** NEAR * p**HARD * no)
    of_heat = -each.sum() / is_part.sum().clamp(min=1)
    of_visible = F.binary_cross_entropy_with_logits(visible, shown.any(1).to(visible.dtype))
    return of_heat + visible_weight * of_visible, {"heat": of_heat, "visible": of_visible}
