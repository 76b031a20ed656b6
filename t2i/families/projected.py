"""Projected discriminators (Sauer et al., NeurIPS 2021) for text: DF-GAN's generator before a pretrained network.

Where pictures are few a discriminator soon knows them by heart. Here it never sees pixels: a network trained on
ImageNet, which stays as it is, gives maps at several scales; fixed random convolutions mix their channels and their
scales (section 3.2); and one small discriminator for every scale judges what they give together with the sentence, by
DF-GAN's three kinds of pairs and with its head, one answer a scale where the paper's judge patches. All pictures,
real and painted, are shifted and cut as differentiable augmentation does; colours stay, since captions name them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from core.errors import UserError
from core.precision import at_least_float32
from t2i.encoders.damsm import Damsm
from t2i.encoders.lstm import TextFeatures
from t2i.families.dfgan import Generator as Generator
from t2i.families.dfgan import require_smaller
from t2i.layers import Painting, damsm_term, hinge_of_pairs, require_sizes, shifted, tiled
from vision.backbones import Trunk, known_trunk, resized


@dataclass
class ProjectedConfig:
    size: int = 64  # side of the picture, px: 32, 64, 128, 256 or 512
    width: int = 32  # channels of DF-GAN's generator at the full side, doubled at every halving
    most: int = 8  # up to so many times
    # side of the smaller painter whose layers it starts from, px; 0 for none. They fit where `width` is halved and
    # `most` doubled for every doubling of the side; one that has grown does not grow again
    grown_from: int = 0
    discriminator_width: int = 64  # channels of every discriminator
    embedding: int = 256  # E, set by the text encoder
    noise: int = 100  # Z
    network: str = "mobilenet_v2"  # that is looked through; or squeezenet1_1
    network_size: int = 128  # side at which it looks, px
    mixed: int = 64  # channels of the finest mixed map, twice as many at every further one
    said: int = 64  # numbers to which a discriminator reduces the sentence
    damsm_weight: float = 0.0  # on the word and the sentence loss alike
    shift: float = 0.125  # most shift of all pictures that are judged, as a share of the side
    cut: float = 0.5  # side of the square that is cut out of each, likewise

    condition: ClassVar[int] = 0  # C: there is no conditioning augmentation, so nothing is drawn for it

    def __post_init__(self) -> None:
        known_trunk(self.network)
        require_sizes(
            self,
            ("width", "most", "discriminator_width", "embedding", "noise", "network_size", "mixed", "said"),
        )
        if self.size not in (sizes := (32, 64, 128, 256, 512)):
            raise UserError(f'size="{self.size}" is unknown; choose one of {", ".join(map(str, sizes))}')
        require_smaller(self.grown_from, self.size, sizes)
        if not (0 <= self.shift < 1 and 0 <= self.cut < 1 and self.damsm_weight >= 0):
            raise UserError(
                f"shift={self.shift} and cut={self.cut} must be in [0, 1), damsm_weight={self.damsm_weight} 0 or more"
            )


def resolutions(config: ProjectedConfig) -> list[int]:
    """The side of every stage's picture, px: there is one stage."""
    return [config.size]


# ---- discriminator ----


class Mixing(nn.Module):
    """Fixed random convolutions over a trunk's maps: of all channels, and of each scale with the coarser ones."""

    def __init__(self, channels: list[int], width: int):
        super().__init__()
        self.widths = [width * 2**i for i in range(len(channels))]
        self.across_channels = nn.ModuleList(
            [nn.Conv2d(n, w, 1, bias=False) for n, w in zip(channels, self.widths, strict=True)]
        )
        coarser = [*self.widths[1:], 0]
        self.narrow = nn.ModuleList(
            [nn.Conv2d(c, w, 1, bias=False) for c, w in zip(coarser[:-1], self.widths, strict=False)]
        )
        self.across_scales = nn.ModuleList([nn.Conv2d(w, w, 3, padding=1, bias=False) for w in self.widths])
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(
                    layer.weight, nonlinearity="linear"
                )  # keeps the variance of what passes

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """maps (B, n, h, w), the finest first -> mixed ones (B, width 2^i, h, w)."""
        mixed: list[Tensor] = []
        for i in reversed(range(len(maps))):
            x = self.across_channels[i](maps[i])
            if mixed:
                x = x + F.interpolate(self.narrow[i](mixed[0]), x.shape[-2:])
            mixed.insert(0, self.across_scales[i](x))
        return mixed


class ScaleDiscriminator(nn.Module):
    """Judges one mixed map and the sentence: convolutions to 4 x 4 with spectral norm, then DF-GAN's head."""

    def __init__(self, inputs: int, halvings: int, width: int, embedding: int, said: int):
        super().__init__()
        kernel, stride = (4, 2) if halvings else (3, 1)
        layers: list[nn.Module] = []
        for n in [inputs, *[width] * (halvings - 1)]:
            layers += [spectral_norm(nn.Conv2d(n, width, kernel, stride, 1)), nn.LeakyReLU(0.2)]
        self.convolve = nn.Sequential(*layers)
        self.say = nn.Linear(embedding, said)
        self.joint = spectral_norm(nn.Conv2d(width + said, width, 3, padding=1))
        self.conditional = spectral_norm(nn.Conv2d(width, 1, 4))

    def features(self, mixed: Tensor) -> Tensor:
        """mixed (B, inputs, h, w) -> (B, width, 4, 4)."""
        return F.adaptive_avg_pool2d(self.convolve(mixed), 4)

    def judge_pair(self, features: Tensor, sentence: Tensor) -> Tensor:
        """features (B, width, 4, 4), sentence (B, E) -> logits (B,) of being a real picture of it."""
        joint = self.joint(torch.cat([features, tiled(self.say(sentence), features)], dim=1))
        return at_least_float32(self.conditional(F.leaky_relu(joint, 0.2)).flatten())


class Discriminator(nn.Module):
    """The fixed look at a picture, and a discriminator for each of its scales."""

    unconditional = None  # it judges no picture without its sentence

    def __init__(self, config: ProjectedConfig):
        super().__init__()
        self.size = config.network_size
        self.trunk = Trunk(config.network)
        self.mixing = Mixing(self.trunk.channels, config.mixed)
        self.scales = nn.ModuleList()
        for i, inputs in enumerate(self.mixing.widths):
            halvings = (self.size // (4 * 2**i) // 4).bit_length() - 1  # down to 4 x 4
            self.scales.append(
                ScaleDiscriminator(
                    inputs, max(halvings, 0), config.discriminator_width, config.embedding, config.said
                )
            )
        self.trunk.requires_grad_(False)
        self.mixing.requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, s, s) -> (B, scales * width, 4, 4)."""
        mixed = self.mixing(self.trunk(resized(images, self.size)))
        return torch.cat([D.features(m) for D, m in zip(self.scales, mixed, strict=True)], dim=1)  # type: ignore[operator]

    def judge_pair(self, features: Tensor, sentence: Tensor) -> Tensor:
        """Logits (scales, B) of being a real picture of the sentence (B, E)."""
        of_scales = features.chunk(len(self.scales), dim=1)
        return torch.stack(
            [D.judge_pair(f, sentence) for D, f in zip(self.scales, of_scales, strict=True)]  # type: ignore[operator]
        )


def build_discriminators(config: ProjectedConfig) -> nn.ModuleList:
    """The one discriminator, in a list as of every family."""
    return nn.ModuleList([Discriminator(config)])


def load_network(discriminators: nn.ModuleList, path: Path | str) -> None:
    """Look through the network of a file (.pth or .safetensors in torchvision's names).

    Raises UserError where the file is missing, damaged or lacks a tensor.
    """
    for D in discriminators:
        D.trunk.load(path)  # type: ignore[operator]


def augmented(images: Tensor, config: ProjectedConfig) -> Tensor:
    """Every picture (B, 3, s, s) moved, and a square of it greyed, by DiffAugment (Zhao et al., NeurIPS 2020)."""
    return cut_out(shifted(images, config.shift), config.cut)


def cut_out(images: Tensor, share: float) -> Tensor:
    """A square of `share` of the side is set to 0, centred anywhere, in every picture (B, 3, s, s)."""
    side = images.shape[-1]
    if round(share * side) == 0:
        return images
    centres = torch.rand(len(images), 2, 1, device=images.device) * side
    places = torch.arange(side, device=images.device) + 0.5
    rows, columns = ((places - centres).abs() <= share * side / 2).unbind(1)  # (B, s) each
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])


# ---- losses ----


def discriminator_loss(
    discriminators: nn.ModuleList,
    real: tuple[Tensor, ...],
    painting: Painting,
    text: TextFeatures,
    config: ProjectedConfig,
    step: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Hinge loss of real, painted and mismatched pairs, the mean over the scales.

    real: one (B, 3, s, s), with B > 1.
    """
    (D,), (real_images,), (fake_images,) = discriminators, real, painting.images
    sentence = text.sentence[: len(real_images)]
    of_real = D.features(augmented(real_images, config))
    of_fake = D.features(augmented(fake_images.detach(), config))
    is_real, is_fake, mismatched = hinge_of_pairs(D, of_real, of_fake, sentence)
    loss = is_real + (is_fake + mismatched) / 2
    return loss, {f"d_{config.size}": loss, "d_real": is_real, "d_fake": is_fake, "d_wrong": mismatched}


def generator_loss(
    discriminators: nn.ModuleList,
    painting: Painting,
    text: TextFeatures,
    class_ids: Tensor,
    damsm: Damsm | None,
    config: ProjectedConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Hinge loss of the painted pairs at all scales, and DAMSM where it has a weight.

    text: the B captions painted, and any number more that describe none of the pictures, for DAMSM to tell apart.
    """
    (D,), (images,) = discriminators, painting.images
    features = D.features(augmented(images, config))
    adversarial = -D.judge_pair(features, text.sentence[: len(class_ids)]).mean()
    judged = shifted(images, config.shift)
    matching, matching_logs = damsm_term(damsm, judged, text, class_ids, config.damsm_weight)
    return adversarial + matching, {"g": adversarial} | matching_logs
