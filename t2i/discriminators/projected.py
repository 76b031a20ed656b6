"""Projected discriminators (Sauer et al., NeurIPS 2021) of images and their sentences.

A backbone trained on ImageNet, which stays as it is, gives maps at several scales; fixed random convolutions mix their
channels and their scales (section 3.2); and one small discriminator for every scale sees what they give together with
the sentence, with DF-GAN's head, one answer a scale where the paper's answers for patches.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from core.precision import at_least_float32
from t2i.layers import tile_spatially
from vision.backbones import Backbone, resized


class Mixing(nn.Module):
    """Fixed random convolutions over a backbone's maps: of all channels, and of each scale with the coarser ones."""

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
    """Of one mixed map and the sentence: convolutions to 4 x 4 with spectral norm, then DF-GAN's head."""

    def __init__(self, inputs: int, halvings: int, width: int, embedding: int, text_width: int):
        super().__init__()
        kernel, stride = (4, 2) if halvings else (3, 1)
        layers: list[nn.Module] = []
        for n in [inputs, *[width] * (halvings - 1)]:
            layers += [spectral_norm(nn.Conv2d(n, width, kernel, stride, 1)), nn.LeakyReLU(0.2)]
        self.convolve = nn.Sequential(*layers)
        self.say = nn.Linear(embedding, text_width)
        self.joint = spectral_norm(nn.Conv2d(width + text_width, width, 3, padding=1))
        self.conditional = spectral_norm(nn.Conv2d(width, 1, 4))

    def features(self, mixed: Tensor) -> Tensor:
        """mixed (B, inputs, h, w) -> (B, width, 4, 4)."""
        return F.adaptive_avg_pool2d(self.convolve(mixed), 4)

    def conditional_logits(self, features: Tensor, sentence: Tensor) -> Tensor:
        """features (B, width, 4, 4), sentence (B, E) -> logits (B,) of being a real image of it."""
        joint = self.joint(torch.cat([features, tile_spatially(self.say(sentence), features)], dim=1))
        return at_least_float32(self.conditional(F.leaky_relu(joint, 0.2)).flatten())


class ProjectedDiscriminator(nn.Module):
    """The frozen backbone, and a discriminator for each of its scales."""

    unconditional = None  # there is no head for images without their sentence

    def __init__(
        self,
        backbone: str,
        width: int,
        embedding: int,
        mixing_width: int = 64,
        text_width: int = 64,
        backbone_size: int = 128,
    ):
        """backbone: one of vision.backbones.TAPS; width: channels of every discriminator; embedding: E; mixing_width:
        channels of the finest mixed map; text_width: of the reduced sentence; backbone_size: side of its input, px."""
        super().__init__()
        self.size = backbone_size
        self.backbone = Backbone(backbone)
        self.mixing = Mixing(self.backbone.channels, mixing_width)
        scales = nn.ModuleList()
        for i, inputs in enumerate(self.mixing.widths):
            halvings = (self.size // (4 * 2**i) // 4).bit_length() - 1  # down to 4 x 4
            scales.append(ScaleDiscriminator(inputs, max(halvings, 0), width, embedding, text_width))
        self.scales: Sequence[ScaleDiscriminator] = scales  # type: ignore[assignment]  # a ModuleList's are untyped
        self.backbone.requires_grad_(False)
        self.mixing.requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, s, s) -> (B, scales * width, 4, 4)."""
        mixed = self.mixing(self.backbone(resized(images, self.size)))
        return torch.cat([D.features(m) for D, m in zip(self.scales, mixed, strict=True)], dim=1)

    def conditional_logits(self, features: Tensor, sentence: Tensor) -> Tensor:
        """Logits (scales, B) of being a real image of the sentence (B, E)."""
        of_scales = features.chunk(len(self.scales), dim=1)
        return torch.stack(
            [D.conditional_logits(f, sentence) for D, f in zip(self.scales, of_scales, strict=True)]
        )
