"""Losses that several families share, as plain functions of tensors."""

from itertools import pairwise
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from t2i.encoders.base import ConditionEncoder, TextFeatures


class ConditionalDiscriminator(Protocol):
    """A discriminator of images together with their sentences."""

    def features(self, images: Tensor) -> Tensor: ...

    def conditional_logits(self, features: Tensor, sentence: Tensor) -> Tensor: ...


def adversarial_loss(logits: Tensor, is_real: bool, kind: str = "bce") -> Tensor:
    """What a discriminator's logits (B,) cost where the right answer is `is_real`; a scalar.

    kind: bce, binary cross entropy, or hinge.
    """
    if kind == "hinge":
        return F.relu(1 - logits if is_real else 1 + logits).mean()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(is_real)))


def generator_adversarial_loss(logits: Tensor, kind: str = "bce") -> Tensor:
    """What the discriminator's logits (B,) of generated images cost the generator; a scalar."""
    return -logits.mean() if kind == "hinge" else adversarial_loss(logits, True)


def hinge_pair_losses(
    D: ConditionalDiscriminator, of_real: Tensor, of_fake: Tensor, sentence: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Hinge losses of real, generated and mismatched pairs, three scalars (DF-GAN, section 3.2).

    of_real, of_fake: features (B, n, 4, 4), B > 1. Mismatched is every real image with the sentence (B, E) of the
    one before it, the first with the last one's.
    """
    is_real = adversarial_loss(D.conditional_logits(of_real, sentence), True, "hinge")
    is_fake = adversarial_loss(D.conditional_logits(of_fake, sentence), False, "hinge")
    mismatched = D.conditional_logits(of_real.roll(-1, 0), sentence)
    return is_real, is_fake, adversarial_loss(mismatched, False, "hinge")


def matching_aware_penalty(
    D: ConditionalDiscriminator, images: Tensor, sentence: Tensor, power: float = 6.0
) -> Tensor:
    """Mean sixth (or other) power of the gradient's norm at real matched pairs (DF-GAN, section 3.2, Eq. (2)).

    The gradient of the pair's logit by image and sentence together, in float32; a scalar.
    """
    with torch.autocast(images.device.type, enabled=False):
        images, sentence = images.detach().requires_grad_(), sentence.detach().requires_grad_()
        logits = D.conditional_logits(D.features(images), sentence)
        gradients = torch.autograd.grad(logits.sum(), (images, sentence), create_graph=True)
        square = sum(g.flatten(1).square().sum(1) for g in gradients)
        return (square ** (power / 2)).mean()


def kl_divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Of the augmentation's Gaussians (B, C) from N(0, 1), Eq. (2), the mean of all their elements; a scalar."""
    return -0.5 * (1 + log_var - mean.square() - log_var.exp()).mean()


def spread(images: Tensor, others: Tensor, noise: Tensor, other_noise: Tensor) -> Tensor:
    """How far apart two images (B, 3, s, s) of a caption are for how far apart their noises (B, Z) are: (B,).

    Mean absolute differences, one divided by the other (MSGAN, Mao et al., CVPR 2019, Eq. (3)).
    """
    return (images - others).abs().mean((1, 2, 3)) / (noise - other_noise).abs().mean(1)


def mode_seeking_loss(spread: Tensor) -> Tensor:
    """What images that do not change with their noise cost: 1 over the mean spread (B,); a scalar.

    The inverse, as in the authors' code: what it asks for fades as images come to differ. The constant keeps a
    collapsed generator's loss finite.
    """
    return 1 / (spread.mean() + 1e-5)


def consistency_loss(images: tuple[Tensor, ...]) -> Tensor:
    """How far each image, averaged down to the side of the one before it, is from that one; a scalar.

    images: (B, 3, s, s), (B, 3, 2s, 2s), ... Mean squared differences, summed over the pairs: a part of another colour
    costs much, sharper edges next to nothing. StackGAN-v2's colour consistency compares the colours of whole images
    (`t2i.families.stackgan_v2.colour_loss`), to which a bird whose head and tail swapped theirs would look the same.
    The smaller image is the example and takes no gradient, as there: the next stage is to refine what it was given.
    Taught by both, a stage would also learn to blur what the next one changes, and one that is frozen could not.
    """
    total = torch.zeros((), device=images[0].device)
    for image, larger in pairwise(images):
        total = total + F.mse_loss(F.avg_pool2d(larger, 2), image.detach())
    return total


def damsm_term(
    damsm: ConditionEncoder | None, images: Tensor, text: TextFeatures, class_ids: Tensor, weight: float
) -> tuple[Tensor | float, dict[str, Tensor]]:
    """DAMSM's word and sentence losses of images (B, 3, s, s), times `weight`; 0 without DAMSM.

    text: of the B images and any number of captions more, which describe none of them.
    """
    if damsm is None or weight <= 0:
        return 0.0, {}
    loss, logs = damsm.matching_loss(images, text, class_ids)
    return weight * loss, logs
