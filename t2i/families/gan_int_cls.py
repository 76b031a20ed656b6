"""GAN-INT-CLS (Reed et al., ICML 2016): one 64 px image from noise and a sentence feature.

CLS: the discriminator also learns from real images with sentences that describe others (Algorithm 1). INT: the
generator also learns from means of two sentences, of which no real image exists (Eq. (5) with beta = 1/2). For INT the
generator is given half a batch of means after the B sentences in training; the discriminator's loss leaves their images
out, the generator's knows what they show.

The file reads downward: configuration, blocks, generator, discriminators, losses. Where it differs from the
authors' code: convolutions have no biases (theirs are zeroed before every step); the discriminator's third convolution
has its activation, as in the paper and in their script without INT; mismatched is the neighbour's sentence in the
batch, which may happen to be of the same class; both networks' steps share one generated batch and its noise.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.fields import bounded, check
from core.precision import at_least_float32
from t2i.encoders.base import ConditionEncoder, TextFeatures
from t2i.families.adversarial import Inputs, adversarial_family
from t2i.families.base import GeneratorOutput, Needs
from t2i.layers import tile_spatially
from t2i.losses import adversarial_loss


@dataclass
class GanIntClsConfig:
    width: int = bounded(128, 1, 1024)  # g, channels of the generator's last hidden image
    discriminator_width: int = bounded(64, 1, 1024)  # d, channels of the discriminator's first convolution
    embedding: int = bounded(1024, 1, 8192)  # E, set by the text encoder
    text_width: int = bounded(128, 1, 8192)  # to which both networks reduce the sentence
    noise: int = bounded(100, 1, 8192)  # Z
    condition: ClassVar[int] = 0  # C: there is no conditioning augmentation

    def __post_init__(self) -> None:
        check(self)


@dataclass
class GanIntClsLoss:
    interpolation_weight: float = bounded(1.0, 0, 1e6)  # of the images of two sentences' mean; 0 for GAN-CLS
    mismatched_share: float = bounded(
        0.5, 0, 0.99
    )  # of mismatched pairs in what D must refuse; 0 for GAN-INT

    def __post_init__(self) -> None:
        check(self)


def needs(config: GanIntClsConfig, loss: GanIntClsLoss) -> Needs:
    # half a batch of means is shared by the processes, too
    return Needs(smallest_batch=2, images_a_process=2 if loss.interpolation_weight > 0 else 1)


def resolutions(config: GanIntClsConfig) -> list[int]:
    """The side of every stage's image, px."""
    return [64]


# ---- blocks ----


class Bottleneck(nn.Module):
    """x plus three convolutions through a quarter of its channels: (B, n, H, W) -> (B, n, H, W)."""

    def __init__(self, channels: int, slope: float):
        """slope: of the leaky ReLU for negative values, 0 for a plain ReLU."""
        super().__init__()
        n, quarter = channels, channels // 4
        self.branch = nn.Sequential(
            nn.Conv2d(n, quarter, 1, bias=False), nn.BatchNorm2d(quarter), nn.LeakyReLU(slope),
            nn.Conv2d(quarter, quarter, 3, 1, 1, bias=False), nn.BatchNorm2d(quarter), nn.LeakyReLU(slope),
            nn.Conv2d(quarter, n, 3, 1, 1, bias=False), nn.BatchNorm2d(n),
        )  # fmt: skip
        self.activation = nn.LeakyReLU(slope)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.branch(x))


def _doubled(inputs: int, outputs: int) -> list[nn.Module]:
    """(B, inputs, H, W) -> (B, outputs, 2H, 2W), normed."""
    return [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs)]


def _halved(inputs: int, outputs: int) -> list[nn.Module]:
    """(B, inputs, H, W) -> (B, outputs, H/2, W/2), normed."""
    return [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs)]


def with_means(sentence: Tensor) -> Tensor:
    """B rows, then the means of row i and row i + B//2: (B, N) -> (B + B//2, N); Eq. (5) with beta = 1/2.

    The halves of a batch are in random order, so that each mean is one of two sentences drawn at random.
    """
    half = len(sentence) // 2
    return torch.cat([sentence, (sentence[:half] + sentence[half : 2 * half]) / 2])


# ---- generator ----


class Generator(nn.Module):
    """Section 4.1, with residual blocks at 4 x 4 and 8 x 8 as in the authors' code."""

    def __init__(self, config: GanIntClsConfig):
        super().__init__()
        self.config = config
        g = config.width
        self.read = nn.Sequential(nn.Linear(config.embedding, config.text_width), nn.LeakyReLU(0.2))
        self.paint = nn.Sequential(
            nn.ConvTranspose2d(config.noise + config.text_width, 8 * g, 4, bias=False), nn.BatchNorm2d(8 * g),
            Bottleneck(8 * g, 0.0),
            *_doubled(8 * g, 4 * g), Bottleneck(4 * g, 0.0),
            *_doubled(4 * g, 2 * g), nn.ReLU(),
            *_doubled(2 * g, g), nn.ReLU(),
            nn.ConvTranspose2d(g, 3, 4, 2, 1, bias=False),
        )  # fmt: skip
        self.apply(_initialise)

    def forward(self, noise: Tensor, epsilon: Tensor, text: TextFeatures) -> GeneratorOutput:
        """noise (B, Z) from N(0, 1), epsilon (B, 0), unused, and the text -> GeneratorOutput of one stage."""
        code = self.read(text.sentence)  # (B, text_width)
        hidden = torch.cat([noise.to(code.dtype), code], dim=1)[:, :, None, None]
        images = torch.tanh(at_least_float32(self.paint(hidden)))  # (B, 3, 64, 64)
        mean, log_var = noise.new_zeros(2, len(noise), 0)  # (B, 0): nothing is augmented
        return GeneratorOutput((images,), (), mean, log_var)


def interpolated(inputs: Inputs, config: GanIntClsLoss) -> Inputs:
    """The generator's inputs for B images -> those for B + B//2, the last ones of `with_means(text.sentence)`."""
    noise, epsilon, text = inputs
    if config.interpolation_weight == 0:
        return inputs
    half = len(noise) // 2  # whose noise serves twice: noise of their own would teach the same
    means = TextFeatures(text.words[:half], text.is_pad[:half], with_means(text.sentence)[len(noise) :])
    text = TextFeatures(*(torch.cat(pair) for pair in zip(text, means, strict=True)))
    return torch.cat([noise, noise[:half]]), torch.cat([epsilon, epsilon[:half]]), text


# ---- discriminators ----


class Discriminator(nn.Module):
    """Of a 64 px image: whether it is a real one of the sentence (section 4.1)."""

    def __init__(self, config: GanIntClsConfig):
        super().__init__()
        d = config.discriminator_width
        self.backbone = nn.Sequential(
            nn.Conv2d(3, d, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
            *_halved(d, 2 * d), nn.LeakyReLU(0.2),
            *_halved(2 * d, 4 * d), nn.LeakyReLU(0.2),
            *_halved(4 * d, 8 * d), Bottleneck(8 * d, 0.2),
        )  # fmt: skip
        self.read = nn.Sequential(
            nn.Linear(config.embedding, config.text_width), nn.BatchNorm1d(config.text_width), nn.LeakyReLU(0.2)
        )  # fmt: skip
        self.joint = nn.Sequential(
            nn.Conv2d(8 * d + config.text_width, 8 * d, 1, bias=False), nn.BatchNorm2d(8 * d), nn.LeakyReLU(0.2),
            nn.Conv2d(8 * d, 1, 4, bias=False),
        )  # fmt: skip
        self.apply(_initialise)

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, 64, 64) -> (B, 8d, 4, 4)."""
        return self.backbone(images)

    def conditional_logits(self, features: Tensor, sentence: Tensor) -> Tensor:
        """Logits (B,) of being a real image of the sentence (B, E)."""
        code = self.read(sentence)  # (B, text_width)
        return at_least_float32(
            self.joint(torch.cat([features, tile_spatially(code, features)], dim=1)).flatten()
        )


def _initialise(module: nn.Module) -> None:
    """The authors' initialisation, DCGAN's; linear layers as they are made."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def build_discriminators(config: GanIntClsConfig) -> nn.ModuleList:
    """The one of the one stage."""
    return nn.ModuleList([Discriminator(config)])


# ---- losses ----


def discriminator_loss(
    discriminators: Iterable[Discriminator],
    real: tuple[Tensor, ...],
    output: GeneratorOutput,
    text: TextFeatures,
    config: GanIntClsLoss,
    step: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Algorithm 1, lines 7 to 10, as cross entropy: real pairs against mismatched and generated ones.

    real: one (B, 3, 64, 64); generated images beyond the first B are left out. Mismatched are the real
    images each with the next one's sentence, the last with the first's.
    """
    [D], [real_images], [fake_images] = discriminators, real, output.images
    of_real = D.features(real_images)
    of_fake = D.features(fake_images[: len(real_images)].detach())
    loss = adversarial_loss(D.conditional_logits(of_real, text.sentence), True)
    loss = loss + (1 - config.mismatched_share) * adversarial_loss(
        D.conditional_logits(of_fake, text.sentence), False
    )
    if config.mismatched_share > 0:
        mismatched = D.conditional_logits(of_real.roll(1, 0), text.sentence)
        loss = loss + config.mismatched_share * adversarial_loss(mismatched, False)
    return loss, {"d_64": loss}


def generator_loss(
    discriminators: Iterable[Discriminator],
    output: GeneratorOutput,
    text: TextFeatures,
    class_ids: Tensor,
    damsm: ConditionEncoder | None,
    config: GanIntClsLoss,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted mean over all images, those of the sentences and those of their means; Algorithm 1 and Eq. (5).

    text: the B captions of the images (class_ids (B,)), and any number more, which are left out; damsm is unused.
    As the authors' code does, the generator maximises log D where the paper writes log(1 - D) in Eq. (5).
    The discriminator's weights must not require gradients here (the trainer sees to it).
    """
    [D], [images] = discriminators, output.images
    B = len(class_ids)
    sentence = with_means(text.sentence[:B])[: len(images)]
    logits = D.conditional_logits(D.features(images), sentence)
    errors = F.softplus(-logits)  # -log D, (B + B//2,)
    weights = torch.ones_like(errors)
    weights[B:] = config.interpolation_weight
    loss = (weights * errors).mean()
    logs = {"g": errors[:B].mean()}
    if len(errors) > B:
        logs["g_means"] = errors[B:].mean()
    return loss, logs


FAMILY = adversarial_family(
    "gan_int_cls", __doc__, GanIntClsConfig, GanIntClsLoss, resolutions, needs, Generator, build_discriminators,
    discriminator_loss, generator_loss, interpolated,
)  # fmt: skip
