"""DF-GAN (Tao et al., CVPR 2022): one generator and one discriminator, the text fused in at every scale.

The file reads downward: configuration, generator, discriminator, losses. The
networks are those of the authors' released code, which is simpler than the paper's. Where it differs from that
code: what acts on every pixel alone is done before an image is enlarged and after it is reduced, which gives the
same for a quarter of the work; the discriminator's weights take no gradient in the generator's step; the penalty
can be left out of some steps, all images that are judged can be translated, and DAMSM can be added to the loss.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from core.fields import bounded, check, one_of
from core.precision import at_least_float32
from t2i.augmentation import random_translation
from t2i.encoders.base import ConditionEncoder, TextFeatures
from t2i.families.adversarial import adversarial_family
from t2i.families.base import GeneratorOutput, Needs
from t2i.layers import UpConv, tile_spatially
from t2i.losses import (
    ConditionalDiscriminator,
    damsm_term,
    generator_adversarial_loss,
    hinge_pair_losses,
    matching_aware_penalty,
)

SIDES = (32, 64, 128, 256, 512)


@dataclass
class DfGanConfig:
    size: int = one_of(256, SIDES)  # side of the image, px
    width: int = bounded(32, 1, 1024)  # channels of the generator at the full side, doubled at every halving
    max_multiplier: int = bounded(8, 1, 1024)  # up to so many times
    # side of the smaller generator whose layers it starts from, px; 0 for none. They fit where `width` is halved and
    # `max_multiplier` doubled for every doubling of the side; one that has grown does not grow again
    grown_from: int = one_of(0, (0, *SIDES))
    discriminator_width: int = bounded(
        32, 1, 1024
    )  # channels of the discriminator at the full side; up to 8 times
    embedding: int = bounded(256, 1, 8192)  # E, set by the text encoder
    noise: int = bounded(100, 1, 8192)  # Z

    condition: ClassVar[int] = 0  # C: there is no conditioning augmentation, so nothing is drawn for it

    def __post_init__(self) -> None:
        check(self)
        require_smaller(self.grown_from, self.size)


@dataclass
class DfGanLoss:
    penalty_weight: float = bounded(2.0, 0, 1e6)  # k, of the matching-aware gradient penalty
    penalty_power: float = bounded(
        6.0, 2, 20
    )  # p, of the gradient's norm; below 2 its gradient has no bound near 0
    penalty_every: int = bounded(1, 1, 1e6)  # steps from one penalty to the next
    damsm_weight: float = bounded(
        0.0, 0, 1e6
    )  # on the word and the sentence loss alike; the paper has neither
    # most translation of all images that the discriminator sees, as a share of the side; 0 is the paper's
    translation: float = bounded(0.0, 0, 0.5)

    def __post_init__(self) -> None:
        check(self)


def needs(config: DfGanConfig, loss: DfGanLoss) -> Needs:
    guide = f"damsm_weight={loss.damsm_weight:g}" if loss.damsm_weight > 0 else ""
    return Needs(smallest_batch=2, image_encoder=guide)


def require_smaller(grown_from: int, size: int) -> None:
    """Raises UserError where `grown_from` is neither 0 nor a side below `size`."""
    if grown_from >= size:
        raise UserError(f"grown_from={grown_from} must be a side below size={size}: 0 for none, "
                        f"or one of {', '.join(str(side) for side in SIDES if side < size)}")  # fmt: skip


def resolutions(config: DfGanConfig) -> list[int]:
    """The side of every stage's image, px: there is one stage."""
    return [config.size]


def _widths(width: int, size: int, max_multiplier: int = 8) -> list[int]:
    """Channels from the image's side down to 4 x 4: doubled at every halving, up to `max_multiplier` times `width`."""
    return [width * min(2**i, max_multiplier) for i in range((size // 4).bit_length())]


# ---- generator ----


class Affine(nn.Module):
    """Scales and shifts every channel as the condition says; at first the identity."""

    def __init__(self, condition: int, channels: int):
        super().__init__()
        self.gamma = _two_layers(condition, channels, start=1.0)
        self.beta = _two_layers(condition, channels, start=0.0)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B, n, H, W), condition (B, Z + E) -> (B, n, H, W)."""
        gamma, beta = self.gamma(condition), self.beta(condition)  # (B, n)
        return gamma[:, :, None, None] * x + beta[:, :, None, None]


def _two_layers(inputs: int, outputs: int, start: float) -> nn.Sequential:
    """(B, inputs) -> (B, outputs), `start` for every input until it has learnt."""
    last = nn.Linear(outputs, outputs)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, start)
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), last)


class Fusion(nn.Module):
    """The text fused into a hidden image by two affine maps (section "Efficient Text-Image Fusion", DFBlock)."""

    def __init__(self, condition: int, channels: int):
        super().__init__()
        self.affines = nn.ModuleList([Affine(condition, channels) for _ in range(2)])

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B, n, H, W), condition (B, Z + E) -> (B, n, H, W)."""
        for affine in self.affines:
            x = F.leaky_relu(affine(x, condition), 0.2)
        return x


class UpBlock(nn.Module):
    """Doubles the side; the text is fused in before each of its two convolutions (UPBlock)."""

    def __init__(self, condition: int, inputs: int, outputs: int):
        super().__init__()
        self.fuse1 = Fusion(condition, inputs)
        self.up = UpConv(inputs, outputs, bias=True)
        self.fuse2 = Fusion(condition, outputs)
        self.convolve = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B, inputs, H, W), condition (B, Z + E) -> (B, outputs, 2H, 2W)."""
        # the original enlarges first; fusion and the shortcut see every pixel alone, so they may come before
        hidden = self.up(self.fuse1(x, condition))  # (B, outputs, 2H, 2W)
        hidden = self.convolve(self.fuse2(hidden, condition))
        return hidden + F.interpolate(self.shortcut(x), scale_factor=2)


class Generator(nn.Module):
    """Noise and sentence to the image at once (section "One-Stage Text-to-Image Backbone").

    One grown from a smaller one keeps its layers under their names and adds blocks that see more closely, whose
    detail is added to the smaller image, enlarged (as StyleGAN2 does at every side, Karras et al. 2020, section 4.1).
    Untrained they add nothing, so a training goes on where that one's ended.
    """

    def __init__(self, config: DfGanConfig):
        super().__init__()
        self.config = config
        widths = _widths(config.width, config.size, config.max_multiplier)[::-1]  # from 4 x 4 up
        condition = config.noise + config.embedding
        self.project = nn.Linear(config.noise, widths[0] * 4 * 4)
        self.blocks = nn.ModuleList(
            [UpBlock(condition, i, o) for i, o in zip(widths, widths[1:], strict=False)]
        )
        self.first_side = config.grown_from or config.size  # of the image that to_image gives, px
        self.to_image = nn.Conv2d(widths[(self.first_side // 4).bit_length() - 1], 3, 3, padding=1)
        if config.grown_from:
            self.to_detail = nn.Conv2d(widths[-1], 3, 3, padding=1)
            for parameter in self.to_detail.parameters():
                nn.init.zeros_(parameter)

    def forward(self, noise: Tensor, epsilon: Tensor, text: TextFeatures) -> GeneratorOutput:
        """noise (B, Z) from N(0, 1) and the text, of which the sentence alone is heard -> GeneratorOutput.

        `epsilon` (B, 0) is there because other families take it. The output has one image, no attention, and
        `mean` and `log_var` of no width.
        """
        condition = torch.cat([noise, text.sentence], dim=1)  # (B, Z + E)
        hidden = self.project(noise).unflatten(1, (-1, 4, 4))  # (B, 8n, 4, 4)
        for block in self.blocks:
            hidden = block(hidden, condition)
            if hidden.shape[-1] == self.first_side:
                image = at_least_float32(self.to_image(F.leaky_relu(hidden, 0.2)))
        if self.config.grown_from:
            detail = at_least_float32(self.to_detail(F.leaky_relu(hidden, 0.2)))
            image = F.interpolate(image, detail.shape[-2:], mode="bilinear") + detail
        image = torch.tanh(image)  # (B, 3, s, s)
        nothing = noise.new_zeros(len(noise), 0)
        return GeneratorOutput((image,), (), nothing, nothing)


# ---- discriminator ----


class DownBlock(nn.Module):
    """Halves the side: (B, inputs, H, W) -> (B, outputs, H/2, W/2). The residual is added from nothing on."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.LeakyReLU(0.2),
        )  # fmt: skip
        # idle where the width stays, in the original too: it is here so that their weights fit ours one to one
        self.shortcut = nn.Conv2d(inputs, outputs, 1)
        self.scale = nn.Parameter(torch.zeros(1))
        self.widens = inputs != outputs

    def forward(self, x: Tensor) -> Tensor:
        small = F.avg_pool2d(x, 2)  # the original pools after the shortcut: the same, at four times the work
        small = self.shortcut(small) if self.widens else small
        residual = self.residual(x)
        return small + self.scale.to(residual.dtype) * residual


class Discriminator(nn.Module):
    """Of an image and its sentence together, in one answer (section "Target-Aware Discriminator")."""

    def __init__(self, config: DfGanConfig):
        super().__init__()
        widths = _widths(config.discriminator_width, config.size)
        n = widths[-1]
        self.from_image = nn.Conv2d(3, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList([DownBlock(i, o) for i, o in zip(widths, widths[1:], strict=False)])
        self.joint = nn.Conv2d(n + config.embedding, n // 4, 3, padding=1, bias=False)
        self.conditional = nn.Conv2d(n // 4, 1, 4, bias=False)

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, s, s) -> (B, 8d, 4, 4)."""
        hidden = self.from_image(images)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden

    def conditional_logits(self, features: Tensor, sentence: Tensor) -> Tensor:
        """Logits (B,) of being a real image of the sentence (B, E)."""
        hidden = F.leaky_relu(
            self.joint(torch.cat([features, tile_spatially(sentence, features)], dim=1)), 0.2
        )
        return at_least_float32(self.conditional(hidden).flatten())


def build_discriminators(config: DfGanConfig) -> nn.ModuleList:
    """The one discriminator, in a list as of every family."""
    return nn.ModuleList([Discriminator(config)])


# ---- losses ----


def discriminator_loss(
    discriminators: Iterable[Discriminator],
    real: tuple[Tensor, ...],
    output: GeneratorOutput,
    text: TextFeatures,
    config: DfGanLoss,
    step: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Hinge loss of real, generated and mismatched pairs, and the penalty (section "Target-Aware Discriminator").

    real: one (B, 3, s, s), with B > 1. Every `penalty_every` steps the gradient penalty is added.
    """
    (D,), (real_images,), (fake_images,) = discriminators, real, output.images
    real_images = random_translation(real_images, config.translation)
    sentence = text.sentence[: len(real_images)]
    of_real, of_fake = (
        D.features(real_images),
        D.features(random_translation(fake_images.detach(), config.translation)),
    )
    is_real, is_fake, mismatched = hinge_pair_losses(D, of_real, of_fake, sentence)
    loss, logs = is_real + (is_fake + mismatched) / 2, {}
    if config.penalty_weight > 0 and step % config.penalty_every == 0:
        penalty = matching_aware_penalty(D, real_images, sentence, config.penalty_power)
        logs[f"penalty_{real_images.shape[-1]}"] = penalty
        loss = loss + config.penalty_weight * penalty
    return loss, logs | {f"d_{real_images.shape[-1]}": loss}


def generator_loss(
    discriminators: Iterable[Discriminator],
    output: GeneratorOutput,
    text: TextFeatures,
    class_ids: Tensor,
    damsm: ConditionEncoder | None,
    config: DfGanLoss,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Hinge loss of the generated pairs, and DAMSM where it has a weight.

    text: the B captions of the images, and any number more that describe none of the images, for DAMSM to tell apart.
    The discriminator's weights must not require gradients here (the trainer sees to it).
    """
    (images,) = output.images
    augmented = random_translation(images, config.translation)
    return pair_generator_loss(discriminators, images, augmented, text, class_ids, damsm, config)


def pair_generator_loss(
    discriminators: Iterable[ConditionalDiscriminator],
    images: Tensor,
    augmented: Tensor,
    text: TextFeatures,
    class_ids: Tensor,
    damsm: ConditionEncoder | None,
    config: Any,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Hinge loss of images (B, 3, s, s) as the one discriminator sees them, `augmented`, and DAMSM of the images.

    config: has `translation` and `damsm_weight`.
    """
    (D,) = discriminators
    logits = D.conditional_logits(D.features(augmented), text.sentence[: len(class_ids)])
    adversarial = generator_adversarial_loss(logits, "hinge")
    seen = random_translation(images, config.translation)
    matching, matching_logs = damsm_term(damsm, seen, text, class_ids, config.damsm_weight)
    return adversarial + matching, {"g": adversarial} | matching_logs


FAMILY = adversarial_family(
    "dfgan", __doc__, DfGanConfig, DfGanLoss, resolutions, needs, Generator, build_discriminators,
    discriminator_loss, generator_loss,
)  # fmt: skip
