"""AttnGAN's configuration and generator (Xu et al., CVPR 2018): stages of 64, 128, 256, 512 px.

The file reads downward: configuration, blocks, stages, generator. What the generator is trained by lies in attngan.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from core.fields import bounded, check, one_of
from core.precision import at_least_float32
from t2i.encoders.base import TextFeatures
from t2i.families.base import GeneratorOutput
from t2i.layers import UpConv, conv3x3, initialise_orthogonal
from t2i.losses import spread
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
    stage_noise: int = bounded(0, 0, 8192)  # fresh numbers that enter each refining stage; the paper has none
    # side above which stages, and the discriminators of their images, have half their width; 0 for none
    narrow_above: int = one_of(0, (0, 64, 128, 256, 512))
    plain_stages: int = bounded(0, 0, 8)  # of the last stages, which refine without attending to the words

    def __post_init__(self) -> None:
        check(self)
        if self.plain_stages > (most := len(refined_sides(self))):
            raise UserError(f"plain_stages={self.plain_stages}: there are {most} refining stages")
        if self.narrow_above and (self.width % 2 or self.discriminator_width % 2):
            raise UserError(
                f"narrow_above={self.narrow_above} halves width={self.width} and "
                f"discriminator_width={self.discriminator_width}, which must be even"
            )

    @property
    def later_noise(self) -> tuple[int, ...]:
        """Numbers of noise that enter each of the stages after the first."""
        return (self.stage_noise,) * len(refined_sides(self))


def resolutions(config: AttnGanConfig) -> list[int]:
    """The side of every image of an output, px."""
    sides = [64 * 2**stage for stage in range(config.stages)]
    return sides if config.outputs == "every" else sides[-1:]


def refined_sides(config: AttnGanConfig) -> list[int]:
    """The side of every hidden image that a refining stage doubles, px."""
    first = config.first_attention.bit_length() - 1
    return [2**i for i in range(first, 6 + config.stages - 1)]  # 64 = 2^6


def narrowed(width: int, side: int, config: AttnGanConfig) -> int:
    """The width at a side, px: half of it above `narrow_above`."""
    return width // 2 if 0 < config.narrow_above < side else width


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


class StageNoise(nn.Module):
    """Fresh noise of a refining stage, as a coarse map of all channels that is added to the hidden image.

    What a caption leaves open at a stage is a part's colour or the background, not grain: hence few numbers for whole
    regions rather than one for every pixel. The map's strength is learnt and begins at zero, so that a generator that
    is given this layer paints as it did without.
    """

    PLACES = 8  # of the map, a side

    def __init__(self, noise: int, width: int):
        super().__init__()
        self.to_map = nn.Linear(noise, width * self.PLACES**2, bias=False)

    def forward(self, noise: Tensor, side: int) -> Tensor:
        """noise (B, n) -> (B, g, s, s) with s = `side`."""
        coarse = self.to_map(noise).unflatten(1, (-1, self.PLACES, self.PLACES))
        return F.interpolate(coarse, (side, side), mode="bilinear")


# ---- stages ----


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
    """Attends to the words and doubles the side (F_1, F_2, ...).

    Without attention (`plain`) a 1 x 1 convolution of the hidden image stands in the context's place, so that all else
    is the same.
    """

    def __init__(self, config: AttnGanConfig, side: int, plain: bool):
        super().__init__()
        width, wider = narrowed(config.width, side, config), narrowed(config.width, 2 * side, config)
        if plain:
            self.mix = nn.Conv2d(width, width, 1, bias=False)
        else:
            self.attend = WordAttention(config.embedding, width, config.mask)
        self.plain = plain
        self.noise = StageNoise(config.stage_noise, width) if config.stage_noise else None
        self.residual = nn.Sequential(*[ResidualBlock(2 * width) for _ in range(config.residual_blocks)])
        self.up = up_block(2 * width, wider)

    def forward(
        self, hidden: Tensor, text: TextFeatures, noise: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """hidden (B, g, s, s), noise (B, n) if there is any -> (B, g, 2s, 2s), attention (B, L, s, s) unless `plain`.

        Noise is added after the attention: where words are looked for depends on what is there, not on chance.
        """
        attention: tuple[Tensor, ...] = ()
        if self.plain:
            context = self.mix(hidden)
        else:
            context, weight = self.attend(hidden, text.words, text.is_pad)
            attention = (weight,)
        if self.noise is not None and noise is not None:
            hidden = hidden + self.noise(noise, hidden.shape[-1])
        return self.up(self.residual(torch.cat([hidden, context.to(hidden.dtype)], dim=1))), attention


# ---- generator ----


class Generator(nn.Module):
    def __init__(self, config: AttnGanConfig):
        super().__init__()
        self.config = config
        self.augment = ConditioningAugmentation(config.embedding, config.condition)
        self.first = FirstStage(config)
        sides = refined_sides(config)
        self.before = sum(side < 64 for side in sides)  # attending stages that give no image yet
        attending = len(sides) - config.plain_stages
        self.next = nn.ModuleList([NextStage(config, s, plain=i >= attending) for i, s in enumerate(sides)])
        self.to_image = nn.ModuleList(
            [conv3x3(narrowed(config.width, side, config), 3) for side in resolutions(config)]
        )
        self.apply(initialise_orthogonal)
        for part in self.modules():
            if isinstance(part, StageNoise):
                nn.init.zeros_(part.to_map.weight)

    def forward(
        self, noise: Tensor, epsilon: Tensor, text: TextFeatures, other_noise: Tensor | None = None
    ) -> GeneratorOutput:
        """noise (B, Z + n + ...), of the first stage and of each later one, and epsilon (B, C), all from N(0, 1), and
        the text -> GeneratorOutput.

        other_noise: another (B, Z + n + ...), from which the first images are generated again for `spread`.
        """
        code, mean, log_var = self.augment(text.sentence, epsilon)
        pyramid, maps = self.hidden_images(code, noise, text, len(self.next))
        images = [self.image(i, hidden) for i, hidden in enumerate(pyramid[-len(self.to_image) :])]
        output = GeneratorOutput(tuple(images), tuple(maps), mean, log_var)
        if other_noise is None:
            return output
        others = self.image(0, self.hidden_images(code, other_noise, text, self.before)[0][-1])
        read = self.config.noise + sum(self.config.later_noise[: self.before])  # of the noise, up to there
        return output._replace(spread=spread(images[0], others, noise[:, :read], other_noise[:, :read]))

    def hidden_images(
        self, code: Tensor, noise: Tensor, text: TextFeatures, stages: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """code (B, C), noise (B, Z + n + ...) -> the hidden images of the first stage and so many later ones, and their
        attention."""
        first, later = self.by_stage(noise)
        pyramid: list[Tensor] = [self.first(code, first)]  # (B, g, s, s)
        maps: list[Tensor] = []
        for refine, own in zip(self.next[:stages], later[:stages], strict=True):
            hidden, attention = refine(pyramid[-1], text, own)
            pyramid.append(hidden)
            maps += attention
        return pyramid, maps

    def by_stage(self, noise: Tensor) -> tuple[Tensor, Sequence[Tensor | None]]:
        """noise (B, Z + n + ...) -> (B, Z), and (B, n) of each later stage, or None for each."""
        if not self.config.stage_noise:
            return noise, [None] * len(self.next)
        first, *later = noise.split([self.config.noise, *self.config.later_noise], dim=1)
        return first, later

    def image(self, number: int, hidden: Tensor) -> Tensor:
        """hidden (B, g, s, s) -> the image (B, 3, s, s) in [-1, 1]."""
        return torch.tanh(at_least_float32(self.to_image[number](hidden)))
