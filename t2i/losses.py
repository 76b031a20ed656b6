"""Losses that several families share, as plain functions of tensors."""

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
