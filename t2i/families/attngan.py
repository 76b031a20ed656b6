"""AttnGAN (Xu et al., CVPR 2018) with any number of stages: 64, 128, 256, 512 px.

The file reads downward: losses' configuration, discriminators, losses; the generator is in attngan_generator.py.
Where it differs from the authors' code: the attention mask is every caption's own (theirs is repeated in the wrong
order; `mask=original` repeats it so), the discriminators' weights take no gradient in the generator's step, and hinge
loss, discriminators without BatchNorm and a matching-aware gradient penalty (DF-GAN, Tao et al., CVPR 2022) can be
chosen, and so can projected discriminators (t2i/discriminators/projected.py). AttnDCGAN, the authors' vanilla baseline,
is `outputs=last unconditional=false residual_blocks=0`.

Off unless asked for: seeds that differ (`mode_seeking_weight`, MSGAN, Mao et al., CVPR 2019; `stage_noise`), stages
that agree (`consistency_weight`), are narrow enough for 512 px (`narrow_above`) or do not attend (`plain_stages`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import UserError
from core.fields import bounded, check, one_of
from t2i.augmentation import random_translation
from t2i.discriminators.convolutional import ConvolutionalDiscriminator
from t2i.discriminators.projected import ProjectedDiscriminator
from t2i.encoders.base import ConditionEncoder, TextFeatures
from t2i.families.adversarial import Inputs, adversarial_family
from t2i.families.attngan_generator import AttnGanConfig, Generator, narrowed, resolutions
from t2i.families.base import GeneratorOutput, Needs
from t2i.layers import initialise_orthogonal
from t2i.losses import (
    adversarial_loss,
    consistency_loss,
    damsm_term,
    generator_adversarial_loss,
    kl_divergence,
    matching_aware_penalty,
    mode_seeking_loss,
)


@dataclass
class AttnGanLoss:
    adversarial: str = one_of("bce", ("bce", "hinge"))  # bce is the paper's
    kl_weight: float = bounded(1.0, 0, 1e6)
    damsm_weight: float = bounded(5.0, 0, 1e6)  # lambda, on the word and the sentence loss alike
    penalty_weight: float = bounded(0.0, 0, 1e6)  # of the matching-aware gradient penalty; the paper has none
    penalty_every: int = bounded(4, 1, 1e6)  # steps from one penalty to the next
    # most translation of all images that a discriminator sees, as a share of the side; 0 is the paper's
    translation: float = bounded(0.0, 0, 0.5)
    # of mode seeking: a caption's first image must change with the noise; the paper has none
    mode_seeking_weight: float = bounded(0.0, 0, 1e6)
    # of the difference between a stage's image and the next one's, reduced; the paper has none
    consistency_weight: float = bounded(0.0, 0, 1e6)

    def __post_init__(self) -> None:
        check(self)


def needs(config: AttnGanConfig, loss: AttnGanLoss) -> Needs:
    if config.backbone and loss.penalty_weight > 0:
        raise UserError(f"penalty_weight={loss.penalty_weight:g} is for the pixels' own discriminators; "
                        f"set it to 0 with backbone={config.backbone}")  # fmt: skip
    for name in ("mode_seeking_weight", "consistency_weight"):
        if config.outputs == "last" and config.stages > 1 and (weight := getattr(loss, name)) > 0:
            raise UserError(f"{name}={weight:g} is for generators whose stages all give an image; "
                            "set it to 0, or outputs=every")  # fmt: skip
    guide = f"damsm_weight={loss.damsm_weight:g}" if loss.damsm_weight > 0 else ""
    seeking = f"mode_seeking_weight={loss.mode_seeking_weight:g}" if loss.mode_seeking_weight > 0 else ""
    return Needs(smallest_batch=2, image_encoder=guide, backbone=config.backbone, first_stage=seeking)


def inputs(given: Inputs, loss: AttnGanLoss) -> tuple[Any, ...]:
    """What the generator is given in training: for mode seeking also, for every caption, another one's noise."""
    noise, _, _ = given
    return (*given, noise.roll(1, 0)) if loss.mode_seeking_weight > 0 else given


# ---- discriminators ----


def build_discriminators(config: AttnGanConfig) -> nn.ModuleList:
    """One discriminator for every image of an output (section 3.1, Eq. (5))."""
    sides, E = resolutions(config), config.embedding
    widths = [narrowed(config.discriminator_width, side, config) for side in sides]
    if config.backbone:
        return nn.ModuleList(
            [ProjectedDiscriminator(config.backbone, d, E, config.mixing_width) for d in widths]
        )
    return nn.ModuleList(
        [
            ConvolutionalDiscriminator(
                d, E, side, config.unconditional,
                max_channels=config.discriminator_max_channels, normed=config.discriminator_norm == "batch",
            )
            for d, side in zip(widths, sides, strict=True)
        ]
    ).apply(initialise_orthogonal)  # fmt: skip


# ---- losses ----


def judged(images: tuple[Tensor, ...]) -> list[bool]:
    """Which stages' images (B, 3, s, s) are judged: not those of frozen stages, beside others that learn from it."""
    learns = [image.requires_grad for image in images]
    return learns if any(learns) else [True] * len(images)


def discriminator_loss(
    discriminators: Iterable[ConvolutionalDiscriminator | ProjectedDiscriminator],
    real: tuple[Tensor, ...],
    output: GeneratorOutput,
    text: TextFeatures,
    config: AttnGanLoss,
    step: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum over the stages, Eq. (5), with mismatched pairs as a third kind of fake.

    real: (B, 3, s, s) of every stage. Mismatched are the images 1..B-1 with the sentences 2..B.
    Every `penalty_every` steps the gradient penalty is added, on the images of every stage. The discriminators of
    frozen stages rest.
    """
    total, logs = torch.zeros((), device=text.sentence.device), {}
    with_penalty = config.penalty_weight > 0 and step % config.penalty_every == 0
    stages = zip(discriminators, real, output.images, judged(output.images), strict=True)
    for D, real_images, fake_images, is_judged in stages:
        if not is_judged:
            continue
        real_images = random_translation(real_images, config.translation)
        of_real, of_fake = (
            D.features(real_images),
            D.features(random_translation(fake_images.detach(), config.translation)),
        )
        is_real = adversarial_loss(D.conditional_logits(of_real, text.sentence), True, config.adversarial)
        is_fake = adversarial_loss(D.conditional_logits(of_fake, text.sentence), False, config.adversarial)
        mismatched = adversarial_loss(
            D.conditional_logits(of_real[:-1], text.sentence[1:]), False, config.adversarial
        )
        if D.unconditional is None:
            loss = is_real + (is_fake + mismatched) / 2
        else:
            is_real = is_real + adversarial_loss(D.unconditional_logits(of_real), True, config.adversarial)
            is_fake = is_fake + adversarial_loss(D.unconditional_logits(of_fake), False, config.adversarial)
            loss = is_real / 2 + (is_fake + mismatched) / 3
        if with_penalty:
            penalty = matching_aware_penalty(D, real_images, text.sentence)
            logs[f"penalty_{real_images.shape[-1]}"] = penalty
            loss = loss + config.penalty_weight * penalty
        logs[f"d_{real_images.shape[-1]}"] = loss
        total = total + loss
    return total, logs


def generator_loss(
    discriminators: Iterable[ConvolutionalDiscriminator | ProjectedDiscriminator],
    output: GeneratorOutput,
    text: TextFeatures,
    class_ids: Tensor,
    damsm: ConditionEncoder | None,
    config: AttnGanLoss,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Adversarial loss of every stage, KL of the augmentation, DAMSM on the last image; Eq. (4) and (6). With weights:
    mode seeking on the first image, which decides pose, side, size and place, and where another image costs least; and
    consistency between stages, through which the later ones keep what differs.

    text: the B captions of the images, and any number more that describe none of the images, for DAMSM to tell apart.
    The discriminators' weights must not require gradients here (the trainer sees to it).
    """
    adversarial = torch.zeros((), device=text.sentence.device)
    for D, images, is_judged in zip(discriminators, output.images, judged(output.images), strict=True):
        if not is_judged:
            continue
        features = D.features(random_translation(images, config.translation))
        logits = [D.conditional_logits(features, text.sentence[: len(class_ids)])]
        logits += [] if D.unconditional is None else [D.unconditional_logits(features)]
        for of_head in logits:
            adversarial = adversarial + generator_adversarial_loss(of_head, config.adversarial)
    kl = kl_divergence(output.mean, output.log_var)
    seen = random_translation(output.images[-1], config.translation)
    matching, matching_logs = damsm_term(damsm, seen, text, class_ids, config.damsm_weight)
    loss, logs = adversarial + config.kl_weight * kl + matching, {"g": adversarial, "kl": kl} | matching_logs
    if config.mode_seeking_weight > 0:
        logs["mode_seeking"] = mode_seeking_loss(output.spread)
        loss = loss + config.mode_seeking_weight * logs["mode_seeking"]
    if config.consistency_weight > 0:
        logs["consistency"] = consistency_loss(output.images)
        loss = loss + config.consistency_weight * logs["consistency"]
    return loss, logs


FAMILY = adversarial_family(
    "attngan", __doc__, AttnGanConfig, AttnGanLoss, resolutions, needs, Generator, build_discriminators,
    discriminator_loss, generator_loss, inputs,
)  # fmt: skip
