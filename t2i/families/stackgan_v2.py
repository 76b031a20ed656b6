"""StackGAN-v2 (Zhang et al., TPAMI 2018): one tree for 64, 128 and 256 px, each with a discriminator.

The file reads downward: configuration, generator, discriminators, losses.
Where it differs from their code: mismatched images are the batch's own instead of further ones from the data set,
the losses take logits, and the discriminators' weights take no gradient in the generator's step.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from core.fields import bounded, check
from core.precision import at_least_float32
from t2i.discriminators.convolutional import ConvolutionalDiscriminator
from t2i.encoders.base import ConditionEncoder, TextFeatures
from t2i.families.adversarial import adversarial_family
from t2i.families.attngan_generator import (
    AttnGanConfig,
    ConditioningAugmentation,
    FirstStage,
    ResidualBlock,
    up_block,
)
from t2i.families.base import GeneratorOutput, Needs
from t2i.layers import conv3x3, initialise_orthogonal, tile_spatially
from t2i.losses import adversarial_loss, generator_adversarial_loss, kl_divergence


@dataclass
class StackGanV2Config:
    stages: int = bounded(3, 1, 5)  # 64, 128, 256 px
    width: int = bounded(64, 1, 1024)  # g, channels of the hidden image at 64 px, halved with every stage
    discriminator_width: int = bounded(64, 1, 1024)  # d, channels of the discriminators' first convolution
    embedding: int = bounded(1024, 1, 8192)  # E, set by the text encoder; 1024 is char-CNN-RNN's
    condition: int = bounded(128, 1, 8192)  # C, of conditioning augmentation
    noise: int = bounded(100, 1, 8192)  # Z
    residual_blocks: int = bounded(2, 1, 64)  # of a refining stage
    unconditional: bool = True  # the discriminators have a head that sees no condition, too

    def __post_init__(self) -> None:
        check(self)
        if self.width % (halvings := 2 ** (self.stages - 1)):
            raise UserError(
                f"width={self.width} must be a multiple of {halvings}: every stage after the first halves it"
            )


@dataclass
class StackGanV2Loss:
    unconditional_weight: float = bounded(1.0, 0, 1e6)  # of the heads that see no condition
    kl_weight: float = bounded(2.0, 0, 1e6)
    colour_weight: float = bounded(
        0.0, 0, 1e6
    )  # of colour consistency; the authors' 0 with captions, 50 without

    def __post_init__(self) -> None:
        check(self)


def needs(config: StackGanV2Config, loss: StackGanV2Loss) -> Needs:
    return Needs(smallest_batch=2)


def resolutions(config: StackGanV2Config) -> list[int]:
    """The side of every stage's image, px."""
    return [64 * 2**stage for stage in range(config.stages)]


# ---- generator ----


class NextStage(nn.Module):
    """Shows the hidden image its condition again, doubles its side and halves its channels (section 4.1)."""

    def __init__(self, width: int, condition: int, residual_blocks: int):
        super().__init__()
        self.joint = nn.Sequential(
            conv3x3(condition + width, 2 * width), nn.BatchNorm2d(2 * width), nn.GLU(dim=1)
        )
        self.residual = nn.Sequential(*[ResidualBlock(width) for _ in range(residual_blocks)])
        self.up = up_block(width, width // 2)

    def forward(self, hidden: Tensor, code: Tensor) -> Tensor:
        """hidden (B, w, s, s), code (B, C) -> (B, w/2, 2s, 2s)."""
        joint = self.joint(torch.cat([tile_spatially(code, hidden), hidden], dim=1))  # (B, w, s, s)
        return self.up(self.residual(joint))


class Generator(nn.Module):
    """Conditioning augmentation and first stage are those that AttnGAN has kept."""

    def __init__(self, config: StackGanV2Config):
        super().__init__()
        self.config = config
        self.augment = ConditioningAugmentation(config.embedding, config.condition)
        self.first = FirstStage(
            AttnGanConfig(width=config.width, condition=config.condition, noise=config.noise)
        )
        widths = [config.width // 2**stage for stage in range(config.stages)]
        self.next = nn.ModuleList(
            [NextStage(w, config.condition, config.residual_blocks) for w in widths[:-1]]
        )
        self.to_image = nn.ModuleList([conv3x3(w, 3) for w in widths])
        self.apply(initialise_orthogonal)

    def forward(self, noise: Tensor, epsilon: Tensor, text: TextFeatures) -> GeneratorOutput:
        """noise (B, Z), epsilon (B, C), both from N(0, 1), and the text, of which only the sentence is read."""
        code, mean, log_var = self.augment(text.sentence, epsilon)
        pyramid = [self.first(code, noise)]  # (B, g, 64, 64)
        for refine in self.next:
            pyramid.append(refine(pyramid[-1], code))
        images = [
            torch.tanh(at_least_float32(to_image(hidden)))
            for to_image, hidden in zip(self.to_image, pyramid, strict=True)
        ]
        return GeneratorOutput(tuple(images), (), mean, log_var)


# ---- discriminators ----


def build_discriminators(config: StackGanV2Config) -> nn.ModuleList:
    """One discriminator a stage, with the unconditional head or without it (section 4.2)."""
    return nn.ModuleList(
        [
            ConvolutionalDiscriminator(
                config.discriminator_width,
                config.condition,
                resolution,
                unconditional=config.unconditional,
                condition_first=True,
            )
            for resolution in resolutions(config)
        ]
    ).apply(initialise_orthogonal)


# ---- losses ----


def stage_loss(
    D: ConvolutionalDiscriminator,
    of_real: Tensor,
    of_mismatched: Tensor,
    of_fake: Tensor,
    condition: Tensor,
    config: StackGanV2Loss,
) -> Tensor:
    """What one discriminator learns from three kinds of features, each (B, 8d, 4, 4); a scalar (section 4.2).

    `of_mismatched` are of real images that do not fit their condition (B, C), but are real without it.
    """
    is_real = adversarial_loss(D.conditional_logits(of_real, condition), True)
    mismatched = adversarial_loss(D.conditional_logits(of_mismatched, condition), False)
    is_fake = adversarial_loss(D.conditional_logits(of_fake, condition), False)
    if D.unconditional is None or config.unconditional_weight == 0:
        return is_real + (mismatched + is_fake) / 2
    unconditional = (
        adversarial_loss(D.unconditional_logits(of_real), True)
        + adversarial_loss(D.unconditional_logits(of_mismatched), True)
        + adversarial_loss(D.unconditional_logits(of_fake), False)
    )
    return is_real + mismatched + is_fake + config.unconditional_weight * unconditional


def discriminator_loss(
    discriminators: Iterable[ConvolutionalDiscriminator],
    real: tuple[Tensor, ...],
    output: GeneratorOutput,
    text: TextFeatures,
    config: StackGanV2Loss,
    step: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum over the stages of `stage_loss`, with every caption's image mismatched to the next caption.

    real: (B, 3, s, s) of every stage, B > 1. The condition is the mean of the output's conditioning
    augmentation. `text` and `step` are not needed.
    """
    condition = output.mean.detach()
    total, logs = torch.zeros((), device=condition.device), {}
    for D, real_images, fake_images in zip(discriminators, real, output.images, strict=True):
        of_real, of_fake = D.features(real_images), D.features(fake_images.detach())
        loss = stage_loss(D, of_real, of_real.roll(1, 0), of_fake, condition, config)
        logs[f"d_{real_images.shape[-1]}"] = loss
        total = total + loss
    return total, logs


def mean_covariance(images: Tensor) -> tuple[Tensor, Tensor]:
    """images (B, 3, H, W) -> mean colour (B, 3, 1, 1) and covariance (B, 3, 3) of each image's pixels."""
    mean = images.mean((2, 3), keepdim=True)
    centred = (images - mean).flatten(2)  # (B, 3, HW)
    return mean, centred @ centred.transpose(1, 2) / centred.shape[2]


def colour_loss(images: tuple[Tensor, ...]) -> Tensor:
    """How far each image's colours are from those of the next smaller one (section 4.3); a scalar.

    Squared differences of the means, and five times those of the covariances. The smaller image is the example
    and takes no gradient.
    """
    total = torch.zeros((), device=images[0].device)
    with torch.autocast(images[0].device.type, enabled=False):  # bfloat16 would blur the covariances
        statistics = [mean_covariance(image) for image in images]
        for (wanted_mean, wanted_covariance), (mean, covariance) in pairwise(statistics):
            total = total + F.mse_loss(mean, wanted_mean.detach())
            total = total + 5 * F.mse_loss(covariance, wanted_covariance.detach())
    return total


def generator_loss(
    discriminators: Iterable[ConvolutionalDiscriminator],
    output: GeneratorOutput,
    text: TextFeatures,
    class_ids: Tensor,
    damsm: ConditionEncoder | None,
    config: StackGanV2Loss,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Adversarial loss of every stage, KL of the augmentation, and colour consistency (sections 4.1 to 4.3).

    The condition is the output's mean, which learns from the discriminators too; `text`, `class_ids` and `damsm`
    are not needed. The discriminators' weights must not require gradients here (the trainer sees to it).
    """
    adversarial = torch.zeros((), device=output.mean.device)
    for D, images in zip(discriminators, output.images, strict=True):
        features = D.features(images)
        adversarial = adversarial + generator_adversarial_loss(D.conditional_logits(features, output.mean))
        if D.unconditional is not None:
            of_head = generator_adversarial_loss(D.unconditional_logits(features))
            adversarial = adversarial + config.unconditional_weight * of_head
    kl = kl_divergence(output.mean, output.log_var)
    loss, logs = adversarial + config.kl_weight * kl, {"g": adversarial, "kl": kl}
    if config.colour_weight > 0:
        logs["colour"] = colour_loss(output.images)
        loss = loss + config.colour_weight * logs["colour"]
    return loss, logs


FAMILY = adversarial_family(
    "stackgan_v2", __doc__, StackGanV2Config, StackGanV2Loss, resolutions, needs, Generator, build_discriminators,
    discriminator_loss, generator_loss,
)  # fmt: skip
