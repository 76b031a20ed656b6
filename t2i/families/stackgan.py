"""StackGAN (Zhang et al., ICCV 2017): Stage I sketches 64 px, Stage II draws 256 px over a frozen Stage I.

The file reads downward: configuration, blocks, generator, discriminators, losses. The networks are those of the
authors' PyTorch code; their TensorFlow code, behind the paper's numbers on birds, has residual blocks in Stage I too,
lets the discriminator compress the sentence itself and averages four captions. Where this differs from the PyTorch
code: both stages share one draw of the conditioning augmentation unless two are given, the losses take logits, and
the discriminator's weights take no gradient in the generator's step.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from core.fields import bounded, check, one_of
from core.precision import at_least_float32
from t2i.discriminators.convolutional import ConvolutionalDiscriminator
from t2i.encoders.base import ConditionEncoder, TextFeatures
from t2i.families.adversarial import adversarial_family
from t2i.families.base import GeneratorOutput, Needs
from t2i.layers import UpConv, conv3x3, initialise, tile_spatially
from t2i.losses import adversarial_loss, generator_adversarial_loss, kl_divergence


@dataclass
class StackGanConfig:
    stage: int = one_of(1, (1, 2))  # 1 gives 64 px; 2 gives 256 px over a Stage I that is trained already
    width: int = bounded(128, 4, 2048)  # g: Stage I goes from 8g to g / 2 channels, Stage II from 4g to g / 4
    discriminator_width: int = bounded(64, 1, 1024)  # d, channels of the discriminator's first convolution
    embedding: int = bounded(1024, 1, 8192)  # E, set by the text encoder; 1024 is char-CNN-RNN's
    condition: int = bounded(128, 1, 8192)  # C, of conditioning augmentation
    noise: int = bounded(100, 1, 8192)  # Z
    residual_blocks: int = bounded(4, 1, 64)  # of Stage II

    def __post_init__(self) -> None:
        check(self)
        if self.width % 4:
            raise UserError(f"width={self.width} must be a multiple of 4: Stage II ends with a quarter of it")


@dataclass
class StackGanLoss:
    kl_weight: float = bounded(2.0, 0, 1e6)

    def __post_init__(self) -> None:
        check(self)


def needs(config: StackGanConfig, loss: StackGanLoss) -> Needs:
    return Needs(smallest_batch=2)


def resolutions(config: StackGanConfig) -> list[int]:
    """The side of every image of an output, px; Stage II gives that of Stage I, too."""
    return [64] if config.stage == 1 else [64, 256]


# ---- blocks ----


def up_blocks(inputs: int) -> nn.Sequential:
    """Four doublings of the side, each with half the channels: (B, n, s, s) -> (B, n/16, 16s, 16s)."""
    widths = [inputs // 2**i for i in range(5)]
    return nn.Sequential(
        *[nn.Sequential(UpConv(i, o), nn.BatchNorm2d(o), nn.ReLU()) for i, o in pairwise(widths)]
    )


class ResidualBlock(nn.Module):
    """(B, n, s, s) -> (B, n, s, s)."""

    def __init__(self, channels: int):
        super().__init__()
        self.block = nn.Sequential(
            conv3x3(channels, channels), nn.BatchNorm2d(channels), nn.ReLU(),
            conv3x3(channels, channels), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.block(x))


# ---- generator ----


class ConditioningAugmentation(nn.Module):
    """A Gaussian round the sentence (section 3.2), sampled in eval mode too.

    AttnGAN's has a gated linear unit where this has a ReLU, which lets neither mean nor log variance be negative.
    """

    def __init__(self, embedding: int, condition: int):
        super().__init__()
        self.linear = nn.Linear(embedding, 2 * condition)

    def forward(self, sentence: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """sentence (B, E), epsilon (B, C) from N(0, 1) -> code, mean, log_var, each (B, C)."""
        mean, log_var = F.relu(at_least_float32(self.linear(sentence))).chunk(2, dim=1)
        return mean + torch.exp(0.5 * log_var) * epsilon, mean, log_var


class StageI(nn.Module):
    """Noise and sentence to a first image of 64 px (section 3.3)."""

    def __init__(self, config: StackGanConfig):
        super().__init__()
        n = 8 * config.width
        self.augment = ConditioningAugmentation(config.embedding, config.condition)
        self.project = nn.Linear(config.noise + config.condition, 16 * n, bias=False)
        self.norm = nn.BatchNorm1d(16 * n)
        self.up = up_blocks(n)
        self.to_image = conv3x3(n // 16, 3)

    def forward(self, noise: Tensor, epsilon: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """noise (B, Z), epsilon (B, C), sentence (B, E) -> image (B, 3, 64, 64), mean and log_var (B, C)."""
        code, mean, log_var = self.augment(sentence, epsilon)
        hidden = F.relu(self.norm(self.project(torch.cat([noise, code], dim=1))))  # (B, 128g)
        hidden = self.up(hidden.unflatten(1, (-1, 4, 4)))  # (B, g/2, 64, 64)
        return torch.tanh(at_least_float32(self.to_image(hidden))), mean, log_var


class StageII(nn.Module):
    """An image of 64 px and its sentence to one of 256 px (section 3.4)."""

    def __init__(self, config: StackGanConfig):
        super().__init__()
        g = config.width
        self.augment = ConditioningAugmentation(config.embedding, config.condition)
        self.encoder = nn.Sequential(
            conv3x3(3, g), nn.ReLU(),
            nn.Conv2d(g, 2 * g, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * g), nn.ReLU(),
            nn.Conv2d(2 * g, 4 * g, 4, 2, 1, bias=False), nn.BatchNorm2d(4 * g), nn.ReLU(),
        )  # fmt: skip
        self.merge = nn.Sequential(conv3x3(4 * g + config.condition, 4 * g), nn.BatchNorm2d(4 * g), nn.ReLU())
        self.residual = nn.Sequential(*[ResidualBlock(4 * g) for _ in range(config.residual_blocks)])
        self.up = up_blocks(4 * g)
        self.to_image = conv3x3(g // 4, 3)

    def forward(self, image: Tensor, epsilon: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """image (B, 3, 64, 64), epsilon (B, C), sentence (B, E) -> image (B, 3, 256, 256), mean, log_var."""
        code, mean, log_var = self.augment(sentence, epsilon)
        hidden = self.encoder(image)  # (B, 4g, 16, 16)
        hidden = self.merge(torch.cat([hidden, tile_spatially(code, hidden)], dim=1))
        hidden = self.up(self.residual(hidden))  # (B, g/4, 256, 256)
        return torch.tanh(at_least_float32(self.to_image(hidden))), mean, log_var


class Generator(nn.Module):
    """Stage I alone, or Stage II on top of a Stage I that no longer learns.

    Stage I has the same names in both, so that the weights of a trained one can be loaded as they are. As with the
    authors it follows the generator's mode: its BatchNorm statistics still move while Stage II is trained.
    """

    def __init__(self, config: StackGanConfig):
        super().__init__()
        self.config = config
        self.first = StageI(config)
        self.second = StageII(config) if config.stage == 2 else None
        self.apply(initialise)
        self.first.requires_grad_(config.stage == 1)

    def forward(self, noise: Tensor, epsilon: Tensor, text: TextFeatures) -> GeneratorOutput:
        """noise (B, Z), epsilon (B, C), both from N(0, 1), and the text, of which only the sentence is read.

        With Stage II epsilon is the draw of both stages, or (B, 2C) a draw for each. Its output shows the image
        of 64 px and that of 256 px, and has the mean and log variance of Stage II.
        """
        C = self.config.condition
        if self.second is None:
            image, mean, log_var = self.first(noise, epsilon, text.sentence)
            return GeneratorOutput((image,), (), mean, log_var)
        with torch.no_grad():
            sketch, _, _ = self.first(noise, epsilon[:, :C], text.sentence)
        image, mean, log_var = self.second(sketch, epsilon[:, -C:], text.sentence)
        return GeneratorOutput((sketch, image), (), mean, log_var)


# ---- discriminators ----


def build_discriminators(config: StackGanConfig) -> nn.ModuleList:
    """The one of the last image, in a list as every family's; Stage I's has no unconditional head."""
    D = ConvolutionalDiscriminator(
        config.discriminator_width,
        config.condition,
        resolutions(config)[-1],
        unconditional=config.stage == 2,
    )
    return nn.ModuleList([D]).apply(initialise)


# ---- losses ----


def discriminator_loss(
    discriminators: Iterable[ConvolutionalDiscriminator],
    real: tuple[Tensor, ...],
    output: GeneratorOutput,
    text: TextFeatures,
    config: StackGanLoss,
    step: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Eq. (3) and (5) on the last image, with mismatched pairs as a second kind of fake (section 3.4).

    real: (B, 3, s, s) of every resolution, B > 1. The condition is the mean of the output's conditioning
    augmentation. Mismatched are the images 1..B-1 with the conditions 2..B. `text` and `step` are not needed.
    """
    (D,) = discriminators
    condition = output.mean.detach()
    of_real, of_fake = D.features(real[-1]), D.features(output.images[-1].detach())
    is_real = adversarial_loss(D.conditional_logits(of_real, condition), True)
    mismatched = adversarial_loss(D.conditional_logits(of_real[:-1], condition[1:]), False)
    is_fake = adversarial_loss(D.conditional_logits(of_fake, condition), False)
    if D.unconditional is None:
        loss = is_real + (is_fake + mismatched) / 2
    else:
        loss = (is_real + adversarial_loss(D.unconditional_logits(of_real), True)) / 2
        loss = loss + (is_fake + mismatched + adversarial_loss(D.unconditional_logits(of_fake), False)) / 3
    return loss, {f"d_{real[-1].shape[-1]}": loss}


def generator_loss(
    discriminators: Iterable[ConvolutionalDiscriminator],
    output: GeneratorOutput,
    text: TextFeatures,
    class_ids: Tensor,
    damsm: ConditionEncoder | None,
    config: StackGanLoss,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Adversarial loss of the last image and KL of the augmentation, Eq. (4) and (6).

    The condition is the output's mean, which learns from the KL alone; `text`, `class_ids` and `damsm` are not
    needed. The discriminator's weights must not require gradients here (the trainer sees to it).
    """
    (D,) = discriminators
    features = D.features(output.images[-1])
    adversarial = generator_adversarial_loss(D.conditional_logits(features, output.mean.detach()))
    if D.unconditional is not None:
        adversarial = adversarial + generator_adversarial_loss(D.unconditional_logits(features))
    kl = kl_divergence(output.mean, output.log_var)
    return adversarial + config.kl_weight * kl, {"g": adversarial, "kl": kl}


FAMILY = adversarial_family(
    "stackgan", __doc__, StackGanConfig, StackGanLoss, resolutions, needs, Generator, build_discriminators,
    discriminator_loss, generator_loss,
)  # fmt: skip
