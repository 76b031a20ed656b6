"""AttnGAN (Xu et al., CVPR 2018) with any number of stages: 64, 128, 256, 512 px.

The file reads downward: configuration, blocks, generator, discriminators, losses. Where it differs from the
authors' code: the attention mask is every caption's own (theirs is repeated in the wrong order; `mask=original`
repeats it so), the discriminators' weights take no gradient in the generator's step, and hinge loss, discriminators
without BatchNorm and a matching-aware gradient penalty (DF-GAN, Tao et al., CVPR 2022) can be chosen, and so can
projected discriminators (t2i/families/projected.py). AttnDCGAN, the authors' vanilla baseline, is
`paints=last unconditional=false residual_blocks=0`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from core.precision import at_least_float32
from t2i.encoders.damsm import Damsm
from t2i.encoders.lstm import TextFeatures
from t2i.families import projected
from t2i.layers import (
    Painting,
    UpConv,
    conv3x3,
    damsm_term,
    initialise_orthogonal,
    judging_block,
    judging_trunk,
    kl_divergence,
    matching_aware_penalty,
    says,
    shifted,
    tiled,
)
from vision.backbones import known_trunk


@dataclass
class AttnGanConfig:
    stages: int = 3  # 64, 128, 256 px; a fourth for 512
    width: int = 32  # g, channels of the generator's stages
    discriminator_width: int = 64  # d, channels of the discriminators' first convolution
    discriminator_cap: int = 0  # most channels of a discriminator, 0 for the paper's doubling
    discriminator_norm: str = "batch"  # batch (the paper) or none
    # ImageNet network of projected discriminators, mobilenet_v2 or squeezenet1_1; empty: the paper's. Their cap and
    # norm are their own, and they judge no picture without its sentence
    network: str = ""
    mixed: int = 32  # channels of the finest map that projected discriminators mix
    embedding: int = 256  # E, set by the text encoder
    condition: int = 100  # C, of conditioning augmentation
    noise: int = 100  # Z
    first_width: int = 0  # channels of the first stage at half its side are twice this; 0 for `width`
    attend_from: int = (
        64  # side of the hidden picture that first attends to the words; 64 is the paper's, 32 earlier
    )
    residual_blocks: int = 2  # of a refining stage
    mask: str = "own"  # own: no place attends to padding; original: the authors' misaligned mask
    paints: str = "every"  # every stage paints a picture, which is judged; or the last alone
    unconditional: bool = True  # the discriminators also judge pictures without their sentence
    adversarial: str = "bce"  # bce (the paper) or hinge
    kl_weight: float = 1.0
    damsm_weight: float = 5.0  # lambda, on the word and the sentence loss alike
    penalty_weight: float = 0.0  # of the matching-aware gradient penalty; 0 is the paper's setting
    penalty_every: int = 4  # steps from one penalty to the next
    shift: float = (
        0.0  # most shift of all pictures that are judged, as a share of the side; 0 is the paper's setting
    )

    def __post_init__(self) -> None:
        for name, choices in (
            ("adversarial", ("bce", "hinge")),
            ("discriminator_norm", ("batch", "none")),
            ("attend_from", (8, 16, 32, 64)),
            ("mask", ("own", "original")),
            ("paints", ("every", "last")),
        ):
            if getattr(self, name) not in choices:
                known = ", ".join(map(str, choices))
                raise UserError(f'{name}="{getattr(self, name)}" is unknown; choose one of {known}')
        if self.network:
            known_trunk(self.network)
            if self.penalty_weight > 0:
                raise UserError(f"penalty_weight={self.penalty_weight:g} is for the pixels' own discriminators; "
                                f"set it to 0 with network={self.network}")  # fmt: skip


def resolutions(config: AttnGanConfig) -> list[int]:
    """The side of every picture of a painting, px."""
    sides = [64 * 2**stage for stage in range(config.stages)]
    return sides if config.paints == "every" else sides[-1:]


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
    """Each place of the picture attends to the words (section 3.1, F^attn)."""

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
    """Noise and sentence to the first hidden picture (F_0), 64 x 64 in the paper."""

    def __init__(self, config: AttnGanConfig):
        super().__init__()
        n = 16 * (config.first_width or config.width)
        self.project = nn.Linear(config.condition + config.noise, 32 * n, bias=False)
        self.norm = nn.BatchNorm1d(32 * n)
        doublings = (config.attend_from // 4).bit_length() - 1
        widths = [*(n // 2**i for i in range(doublings)), config.width]
        self.up = nn.Sequential(*[up_block(i, o) for i, o in zip(widths, widths[1:], strict=False)])

    def forward(self, code: Tensor, noise: Tensor) -> Tensor:
        """code (B, C), noise (B, Z) -> (B, g, s, s) with s = `attend_from`."""
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
        before = (64 // config.attend_from).bit_length() - 1  # attending stages that paint nothing yet
        self.next = nn.ModuleList([NextStage(config) for _ in range(before + config.stages - 1)])
        self.to_image = nn.ModuleList([conv3x3(config.width, 3) for _ in resolutions(config)])
        self.apply(initialise_orthogonal)

    def forward(self, noise: Tensor, epsilon: Tensor, text: TextFeatures) -> Painting:
        """noise (B, Z), epsilon (B, C), both from N(0, 1), and the text -> Painting."""
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
        return Painting(tuple(images), tuple(maps), mean, log_var)


# ---- discriminators ----


class Discriminator(nn.Module):
    """Judges pictures of one size: real or painted, and whether they fit the sentence (section 3.1, Eq. (5))."""

    def __init__(self, config: AttnGanConfig, resolution: int):
        super().__init__()
        normed = config.discriminator_norm == "batch"
        self.trunk, n = judging_trunk(
            config.discriminator_width, resolution, config.discriminator_cap, normed
        )
        self.unconditional = nn.Conv2d(n, 1, 4) if config.unconditional else None
        self.joint = nn.Sequential(*judging_block(n + config.embedding, n, 3, 1, normed))
        self.conditional = nn.Conv2d(n, 1, 4)
        self.apply(initialise_orthogonal)

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, s, s) -> (B, 8d, 4, 4)."""
        return self.trunk(images)

    def judge(self, features: Tensor) -> Tensor:
        """Logits (B,) of being a real picture; only where there is a head for it."""
        assert self.unconditional is not None
        return at_least_float32(self.unconditional(features).flatten())

    def judge_pair(self, features: Tensor, sentence: Tensor) -> Tensor:
        """Logits (B,) of being a real picture of the sentence (B, E)."""
        joint = self.joint(torch.cat([features, tiled(sentence, features)], dim=1))
        return at_least_float32(self.conditional(joint).flatten())


def build_discriminators(config: AttnGanConfig) -> nn.ModuleList:
    """One discriminator for every picture of a painting."""
    if config.network:
        looks = projected.ProjectedConfig(
            discriminator_width=config.discriminator_width, embedding=config.embedding, network=config.network,
            mixed=config.mixed,
        )  # fmt: skip
        return nn.ModuleList([projected.Discriminator(looks) for _ in resolutions(config)])
    return nn.ModuleList([Discriminator(config, resolution) for resolution in resolutions(config)])


# ---- losses ----


def _says(config: AttnGanConfig, logits: Tensor, real: bool) -> Tensor:
    """How far a discriminator's logits (B,) are from the answer `real`; a scalar."""
    if config.adversarial == "hinge":
        return F.relu(1 - logits if real else 1 + logits).mean()
    return says(logits, real)


def discriminator_loss(
    discriminators: nn.ModuleList,
    real: tuple[Tensor, ...],
    painting: Painting,
    text: TextFeatures,
    config: AttnGanConfig,
    step: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum over the stages, Eq. (5), with mismatched pairs as a third kind of fake.

    real: (B, 3, s, s) of every stage. Mismatched are the pictures 1..B-1 with the sentences 2..B.
    Every `penalty_every` steps the gradient penalty is added, on the pictures of every stage.
    """
    total, logs = torch.zeros((), device=text.sentence.device), {}
    with_penalty = config.penalty_weight > 0 and step % config.penalty_every == 0
    for D, real_images, fake_images in zip(discriminators, real, painting.images, strict=True):
        real_images = shifted(real_images, config.shift)
        of_real, of_fake = D.features(real_images), D.features(shifted(fake_images.detach(), config.shift))
        is_real = _says(config, D.judge_pair(of_real, text.sentence), True)
        is_fake = _says(config, D.judge_pair(of_fake, text.sentence), False)
        mismatched = _says(config, D.judge_pair(of_real[:-1], text.sentence[1:]), False)
        if D.unconditional is None:
            loss = is_real + (is_fake + mismatched) / 2
        else:
            is_real = is_real + _says(config, D.judge(of_real), True)
            is_fake = is_fake + _says(config, D.judge(of_fake), False)
            loss = is_real / 2 + (is_fake + mismatched) / 3
        if with_penalty:
            penalty = matching_aware_penalty(D, real_images, text.sentence)
            logs[f"penalty_{real_images.shape[-1]}"] = penalty
            loss = loss + config.penalty_weight * penalty
        logs[f"d_{real_images.shape[-1]}"] = loss
        total = total + loss
    return total, logs


def generator_loss(
    discriminators: nn.ModuleList,
    painting: Painting,
    text: TextFeatures,
    class_ids: Tensor,
    damsm: Damsm | None,
    config: AttnGanConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Adversarial loss of every stage, KL of the augmentation, DAMSM on the last picture; Eq. (4) and (6).

    text: the B captions painted, and any number more that describe none of the pictures, for DAMSM to tell apart.
    The discriminators' weights must not require gradients here (the trainer sees to it).
    """
    adversarial = torch.zeros((), device=text.sentence.device)
    for D, images in zip(discriminators, painting.images, strict=True):
        features = D.features(shifted(images, config.shift))
        judged = [D.judge_pair(features, text.sentence[: len(class_ids)])]
        judged += [] if D.unconditional is None else [D.judge(features)]
        for logits in judged:
            adversarial = adversarial + (
                -logits.mean() if config.adversarial == "hinge" else _says(config, logits, True)
            )
    kl = kl_divergence(painting.mean, painting.log_var)
    seen = shifted(painting.images[-1], config.shift)
    matching, matching_logs = damsm_term(damsm, seen, text, class_ids, config.damsm_weight)
    loss = adversarial + config.kl_weight * kl + matching
    return loss, {"g": adversarial, "kl": kl} | matching_logs
