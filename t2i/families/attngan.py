"""AttnGAN (Xu et al., CVPR 2018) with any number of stages: 64, 128, 256, 512 px.

The file reads downward: configuration, blocks, generator, discriminators, losses. Where it differs from the
authors' code: the attention mask is every caption's own (theirs is repeated in the wrong order; `mask=original`
repeats it so), the discriminators' weights take no gradient in the generator's step, and hinge loss, discriminators
without BatchNorm and a matching-aware gradient penalty (DF-GAN, Tao et al., CVPR 2022) can be chosen, and so can
projected discriminators (t2i/discriminators/projected.py). AttnDCGAN, the authors' vanilla baseline, is
`outputs=last unconditional=false residual_blocks=0`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from core.fields import bounded, check, one_of
from core.precision import at_least_float32
from t2i.augmentation import random_translation
from t2i.discriminators.convolutional import ConvolutionalDiscriminator
from t2i.discriminators.projected import ProjectedDiscriminator
from t2i.encoders.base import ConditionEncoder, TextFeatures
from t2i.families.adversarial import adversarial_family
from t2i.families.base import GeneratorOutput, Needs
from t2i.layers import UpConv, conv3x3, initialise_orthogonal
from t2i.losses import (
    adversarial_loss,
    damsm_term,
    generator_adversarial_loss,
    kl_divergence,
    matching_aware_penalty,
)
from vision.backbones import TAPS


@dataclass
class AttnGanConfig:
    stages: int = bounded(3, 1, 5)  # 64, 128, 256 px; a fourth for 512
    width: int = bounded(32, 1, 1024)  # g, channels of the generator's stages
    discriminator_width: int = bounded(64, 1, 1024)  # d, channels of the discriminators' first convolution
    discriminator_max_channels: int = bounded(0, 0, 65536)  # 0 for the paper's doubling at every halving
    discriminator_norm: str = one_of("batch", ("batch", "none"))  # batch is the paper's
    # ImageNet network of projected discriminators; empty: the paper's. Their most channels and their norm are their
    # own, and they have no head without the sentence
    backbone: str = one_of("", ("", *TAPS))
    mixing_width: int = bounded(32, 1, 1024)  # channels of the finest map that projected discriminators mix
    embedding: int = bounded(256, 1, 8192)  # E, set by the text encoder
    condition: int = bounded(100, 1, 8192)  # C, of conditioning augmentation
    noise: int = bounded(100, 1, 8192)  # Z
    first_width: int = bounded(
        0, 0, 1024
    )  # channels of the first stage at half its side are twice this; 0: `width`
    # side of the hidden image that first attends to the words; 64 is the paper's, smaller is earlier
    first_attention: int = one_of(64, (8, 16, 32, 64))
    residual_blocks: int = bounded(2, 0, 64)  # of a refining stage
    # own: no place attends to padding; original: the authors' misaligned mask
    mask: str = one_of("own", ("own", "original"))
    outputs: str = one_of("every", ("every", "last"))  # which stages give an image, for a discriminator each
    unconditional: bool = True  # the discriminators have a head for images without their sentence, too

    def __post_init__(self) -> None:
        check(self)


@dataclass
class AttnGanLoss:
    adversarial: str = one_of("bce", ("bce", "hinge"))  # bce is the paper's
    kl_weight: float = bounded(1.0, 0, 1e6)
    damsm_weight: float = bounded(5.0, 0, 1e6)  # lambda, on the word and the sentence loss alike
    penalty_weight: float = bounded(0.0, 0, 1e6)  # of the matching-aware gradient penalty; the paper has none
    penalty_every: int = bounded(4, 1, 1e6)  # steps from one penalty to the next
    # most translation of all images that a discriminator sees, as a share of the side; 0 is the paper's
    translation: float = bounded(0.0, 0, 0.5)

    def __post_init__(self) -> None:
        check(self)


def needs(config: AttnGanConfig, loss: AttnGanLoss) -> Needs:
    if config.backbone and loss.penalty_weight > 0:
        raise UserError(f"penalty_weight={loss.penalty_weight:g} is for the pixels' own discriminators; "
                        f"set it to 0 with backbone={config.backbone}")  # fmt: skip
    guide = f"damsm_weight={loss.damsm_weight:g}" if loss.damsm_weight > 0 else ""
    return Needs(smallest_batch=2, image_encoder=guide, backbone=config.backbone)


def resolutions(config: AttnGanConfig) -> list[int]:
    """The side of every image of an output, px."""
    sides = [64 * 2**stage for stage in range(config.stages)]
    return sides if config.outputs == "every" else sides[-1:]


# ---- blocks ----


def up_block(inputs: int, outputs: int) -> nn.Sequential:
    """(B, inputs, H, W) -> (B, outputs, 2H, 2W)."""
    return nn.Sequential(UpConv(inputs, 2 * outputs), nn.BatchNorm2d(2 * outputs), nn.GLU(dim=1))


class ResidualBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.block = nn.Sequential(
            conv3x3(channels, 2 * channels), nn.BatchNorm2d(2 * channels), nn.GLU(dim=1),
            conv3x3(channels, channels), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


# ---- generator ----


class ConditioningAugmentation(nn.Module):
    """A Gaussian round the sentence (StackGAN, section 3.2), sampled in eval mode too."""

    def __init__(self, embedding: int, condition: int):
        super().__init__()
        self.linear = nn.Linear(embedding, 4 * condition)

    def forward(self, sentence: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """sentence (B, E), epsilon (B, C) from N(0, 1) -> code, mean, log_var, each (B, C)."""
        mean, log_var = F.glu(at_least_float32(self.linear(sentence)), dim=1).chunk(2, dim=1)
        return mean + torch.exp(0.5 * log_var) * epsilon, mean, log_var


class WordAttention(nn.Module):
    """Each place of the image attends to the words (section 3.1, F^attn)."""

    def __init__(self, embedding: int, width: int, mask: str = "own"):
        super().__init__()
        self.to_key = nn.Linear(embedding, width, bias=False)
        self.mask = mask

    def forward(self, hidden: Tensor, words: Tensor, is_pad: Tensor) -> tuple[Tensor, Tensor]:
        """hidden (B, g, H, W), words (B, L, E), is_pad (B, L) -> context (B, g, H, W), attention (B, L, H, W)."""
        _, _, H, W = hidden.shape
        key = self.to_key(words)  # (B, L, g)
        score = key @ hidden.flatten(2)  # (B, L, HW)
        hides = is_pad[:, :, None] if self.mask == "own" else misaligned(is_pad, H * W)
        weight = at_least_float32(score).masked_fill(hides, -torch.inf).softmax(dim=1)  # (B, L, HW)
        context = key.transpose(1, 2) @ weight.to(key.dtype)  # (B, g, HW)
        return context.unflatten(2, (H, W)), weight.unflatten(2, (H, W))


def misaligned(is_pad: Tensor, places: int) -> Tensor:
    """The mask as the authors' code repeats it: is_pad (B, L) -> (B, L, places).

    Their rows run over the places of one caption after the other, their masks over the captions of one place after the
    other: place q of caption b gets the mask of caption (b * places + q) mod B. Their weights were trained with it.
    """
    B = len(is_pad)
    of_place = torch.arange(B * places, device=is_pad.device).view(B, places) % B
    return is_pad[of_place].transpose(1, 2)


class FirstStage(nn.Module):
    """Noise and sentence to the first hidden image (F_0), 64 x 64 in the paper."""

    def __init__(self, config: AttnGanConfig):
        super().__init__()
        n = 16 * (config.first_width or config.width)
        self.project = nn.Linear(config.condition + config.noise, 32 * n, bias=False)
        self.norm = nn.BatchNorm1d(32 * n)
        doublings = (config.first_attention // 4).bit_length() - 1
        widths = [*(n // 2**i for i in range(doublings)), config.width]
        self.up = nn.Sequential(*[up_block(i, o) for i, o in zip(widths, widths[1:], strict=False)])

    def forward(self, code: Tensor, noise: Tensor) -> Tensor:
        """code (B, C), noise (B, Z) -> (B, g, s, s) with s = `first_attention`."""
        hidden = F.glu(self.norm(self.project(torch.cat([code, noise], dim=1))), dim=1)  # (B, 16n)
        return self.up(hidden.unflatten(1, (-1, 4, 4)))


class NextStage(nn.Module):
    """Attends to the words and doubles the side (F_1, F_2, ...)."""

    def __init__(self, config: AttnGanConfig):
        super().__init__()
        self.attend = WordAttention(config.embedding, config.width, config.mask)
        self.residual = nn.Sequential(
            *[ResidualBlock(2 * config.width) for _ in range(config.residual_blocks)]
        )
        self.up = up_block(2 * config.width, config.width)

    def forward(self, hidden: Tensor, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """hidden (B, g, s, s) -> (B, g, 2s, 2s), attention (B, L, s, s)."""
        context, attention = self.attend(hidden, text.words, text.is_pad)
        return self.up(self.residual(torch.cat([hidden, context.to(hidden.dtype)], dim=1))), attention


class Generator(nn.Module):
    def __init__(self, config: AttnGanConfig):
        super().__init__()
        self.config = config
        self.augment = ConditioningAugmentation(config.embedding, config.condition)
        self.first = FirstStage(config)
        before = (64 // config.first_attention).bit_length() - 1  # attending stages that give no image yet
        self.next = nn.ModuleList([NextStage(config) for _ in range(before + config.stages - 1)])
        self.to_image = nn.ModuleList([conv3x3(config.width, 3) for _ in resolutions(config)])
        self.apply(initialise_orthogonal)

    def forward(self, noise: Tensor, epsilon: Tensor, text: TextFeatures) -> GeneratorOutput:
        """noise (B, Z), epsilon (B, C), both from N(0, 1), and the text -> GeneratorOutput."""
        code, mean, log_var = self.augment(text.sentence, epsilon)
        hidden = self.first(code, noise)  # (B, g, s, s)
        pyramid, maps = [hidden], []
        for refine in self.next:
            hidden, attention = refine(hidden, text)
            pyramid.append(hidden)
            maps.append(attention)
        images = [
            torch.tanh(at_least_float32(to_image(hidden)))
            for to_image, hidden in zip(self.to_image, pyramid[-len(self.to_image) :], strict=True)
        ]
        return GeneratorOutput(tuple(images), tuple(maps), mean, log_var)


# ---- discriminators ----


def build_discriminators(config: AttnGanConfig) -> nn.ModuleList:
    """One discriminator for every image of an output (section 3.1, Eq. (5))."""
    d, E = config.discriminator_width, config.embedding
    if config.backbone:
        sides = resolutions(config)
        return nn.ModuleList(
            [ProjectedDiscriminator(config.backbone, d, E, config.mixing_width) for _ in sides]
        )
    return nn.ModuleList(
        [
            ConvolutionalDiscriminator(
                d, E, side, config.unconditional,
                max_channels=config.discriminator_max_channels, normed=config.discriminator_norm == "batch",
            )
            for side in resolutions(config)
        ]
    ).apply(initialise_orthogonal)  # fmt: skip


# ---- losses ----


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
    Every `penalty_every` steps the gradient penalty is added, on the images of every stage.
    """
    total, logs = torch.zeros((), device=text.sentence.device), {}
    with_penalty = config.penalty_weight > 0 and step % config.penalty_every == 0
    for D, real_images, fake_images in zip(discriminators, real, output.images, strict=True):
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
    """Adversarial loss of every stage, KL of the augmentation, DAMSM on the last image; Eq. (4) and (6).

    text: the B captions of the images, and any number more that describe none of the images, for DAMSM to tell apart.
    The discriminators' weights must not require gradients here (the trainer sees to it).
    """
    adversarial = torch.zeros((), device=text.sentence.device)
    for D, images in zip(discriminators, output.images, strict=True):
        features = D.features(random_translation(images, config.translation))
        logits = [D.conditional_logits(features, text.sentence[: len(class_ids)])]
        logits += [] if D.unconditional is None else [D.unconditional_logits(features)]
        for of_head in logits:
            adversarial = adversarial + generator_adversarial_loss(of_head, config.adversarial)
    kl = kl_divergence(output.mean, output.log_var)
    seen = random_translation(output.images[-1], config.translation)
    matching, matching_logs = damsm_term(damsm, seen, text, class_ids, config.damsm_weight)
    loss = adversarial + config.kl_weight * kl + matching
    return loss, {"g": adversarial, "kl": kl} | matching_logs


FAMILY = adversarial_family(
    "attngan", __doc__, AttnGanConfig, AttnGanLoss, resolutions, needs, Generator, build_discriminators,
    discriminator_loss, generator_loss,
)  # fmt: skip
