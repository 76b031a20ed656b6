"""Image encoders: region features and a global feature in the words' space.

AttnGAN takes Inception-v3; the light one is small enough to be trained from nothing on two CPU cores, and the others
start from small networks trained on ImageNet.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.checkpoints import read_tensors
from core.errors import UserError
from core.precision import at_least_float32
from vision.backbones import Backbone, load_torchvision, resized


def _halve(inputs: int, outputs: int) -> nn.Sequential:
    """(B, inputs, H, W) -> (B, outputs, H/2, W/2)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )


def _together(maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, n, h, w) of several scales, the first the finest -> one (B, sum of n, h, w) of its side."""
    side = maps[0].shape[-2:]
    return torch.cat([m if m.shape[-2:] == side else F.interpolate(m, side) for m in maps], 1)


def _meeting(channels: int, width: int) -> nn.Sequential:
    """(B, channels, h, w) -> (B, width, h, w)."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.2, inplace=True)
    )


class ImageEncoder(nn.Module):
    """images (B, 3, H, W) in [-1, 1] -> regions (B, R, E) and a global feature (B, E)."""

    title: ClassVar[str]  # for a model card
    backbone: nn.Module | None  # the part with published weights, where there is one
    needs_backbone_weights: ClassVar[bool] = False  # whether it cannot learn without those of `load_backbone`

    def load_backbone(self, path: Path | str) -> None:
        """Give the backbone the weights of a file in torchvision's names (.pth or .safetensors).

        Raises UserError where the file is missing, damaged or lacks a tensor, or the encoder has no backbone.
        """
        with_one = ", ".join(
            name for name, encoder in IMAGE_ENCODERS.items() if encoder is not LightImageEncoder
        )
        raise UserError(
            f"backbone_weights={path} is for encoder.image={with_one}; the others have no backbone"
        )


class LightImageEncoder(ImageEncoder):
    """Strided convolutions down to a 32nd of the side, whose maps meet at an eighth.

    The finer maps know the colour of a place, the coarser ones which part of the bird lies there. The global feature
    is read through several softmaxes over the places, so that it can tell a red head from a red tail; the mean over
    the picture, which only knows which colours there are, reached half the R-precision.
    """

    title = "a light convolutional image encoder"

    def __init__(self, embedding: int = 256, width: int = 32, size: int = 128, pooling_heads: int = 8):
        """embedding: E; width: channels of the first convolution; size: side to which inputs are brought, px;
        pooling_heads: softmaxes over the places, each of which pools them once."""
        super().__init__()
        self.size, self.backbone = size, None
        w = width
        self.quarter = nn.Sequential(_halve(3, w), _halve(w, 2 * w))
        self.eighth = _halve(2 * w, 4 * w)
        self.sixteenth = _halve(4 * w, 4 * w)
        self.context = _halve(4 * w, 4 * w)
        self.meet = _meeting(14 * w, 6 * w)
        self.to_regions = nn.Conv2d(6 * w, embedding, 1, bias=False)
        self.to_places = nn.Conv2d(6 * w, pooling_heads, 1)
        self.to_values = nn.Conv2d(6 * w, embedding // 2, 1, bias=False)
        self.to_global = nn.Linear(pooling_heads * (embedding // 2), embedding)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [-1, 1] -> regions (B, R, E) with R = (size / 16)^2, and global (B, E)."""
        quarter = self.quarter(resized(images, self.size))
        eighth = self.eighth(quarter)
        sixteenth = self.sixteenth(eighth)
        met = self.meet(_together([F.avg_pool2d(quarter, 2), eighth, sixteenth, self.context(sixteenth)]))
        regions = self.to_regions(F.avg_pool2d(met, 2)).flatten(2).transpose(1, 2)  # (B, R, E)
        places = at_least_float32(self.to_places(met)).flatten(2).softmax(2)  # (B, pooling_heads, hw)
        values = self.to_values(met).flatten(2).transpose(1, 2)
        seen = (places @ values.to(places.dtype)).flatten(1)  # (B, pooling_heads * E/2)
        return at_least_float32(regions), at_least_float32(self.to_global(seen))


class PretrainedImageEncoder(ImageEncoder):
    """MobileNetV2 or SqueezeNet 1.1, whose maps from an eighth of the side down meet there.

    The global feature is linear in the maps' means and the coarsest's maxima, each brought to unit variance. What
    these networks know needs no more: with frozen maps it reached 15 % R-precision of unseen species in 500 steps, the
    light encoder's softmaxes 6 %.
    """

    needs_backbone_weights = True  # its BatchNorm follows no images, so it would not learn
    backbone: Backbone
    name: ClassVar[str]  # of the backbone

    def __init__(self, embedding: int = 256, width: int = 32, size: int = 128):
        """embedding: E; width: a twelfth of the channels that the maps meet in; size: as in the
        light encoder's."""
        super().__init__()
        self.size = size
        self.backbone = Backbone(self.name, finest=8)
        channels = sum(self.backbone.channels)
        self.meet = _meeting(channels, 12 * width)
        self.to_regions = nn.Conv2d(12 * width, embedding, 1, bias=False)
        pooled = channels + self.backbone.channels[-1]
        self.to_global = nn.Sequential(nn.BatchNorm1d(pooled, affine=False), nn.Linear(pooled, embedding))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [-1, 1] -> regions (B, R, E) with R near (size / 16)^2, and global (B, E)."""
        maps = self.backbone(resized(images, self.size))
        met = self.meet(_together(maps))
        regions = self.to_regions(F.avg_pool2d(met, 2)).flatten(2).transpose(1, 2)
        kept = [at_least_float32(m) for m in maps]
        pooled = torch.cat([*(m.mean((2, 3)) for m in kept), kept[-1].amax((2, 3))], 1)
        return at_least_float32(regions), at_least_float32(self.to_global(pooled))

    def load_backbone(self, path: Path | str) -> None:
        self.backbone.load(path)


class MobileNetImageEncoder(PretrainedImageEncoder):
    name, title = "mobilenet_v2", "MobileNetV2"


class SqueezeNetImageEncoder(PretrainedImageEncoder):
    name, title = "squeezenet1_1", "SqueezeNet 1.1"


class InceptionImageEncoder(ImageEncoder):
    """Inception-v3 without its classifier, and a linear map each to regions and to a global feature (section 3.2).

    Regions are seen after Mixed_6e, the whole picture after Mixed_7c. As with the authors pictures are enlarged with
    their corners aligned and are not normalised, and the backbone's BatchNorm statistics follow the birds in train
    mode.
    """

    backbone: nn.ModuleDict
    title = "Inception-v3"
    SIDE = 299  # px, that the backbone was made for

    def __init__(self, embedding: int = 256, width: int = 0, size: int = SIDE):
        """embedding: E; width and size: of other image encoders, its own are the backbone's. That starts from random
        weights; `load_backbone` gives it a trained file's."""
        super().__init__()
        import torchvision  # seconds that nobody else has to wait

        whole = torchvision.models.inception_v3(
            weights=None, aux_logits=False, transform_input=False, init_weights=False
        )
        blocks = {
            name: block for name, block in whole.named_children() if name not in ("avgpool", "dropout", "fc")
        }
        self.backbone = nn.ModuleDict(blocks)
        self.to_regions = nn.Conv2d(768, embedding, 1, bias=False)
        self.to_global = nn.Linear(2048, embedding)
        for head in (self.to_regions, self.to_global):
            nn.init.uniform_(head.weight, -0.1, 0.1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [-1, 1] -> regions (B, 289, E), and global (B, E)."""
        maps = x = self.enlarged(images)
        for name, block in self.backbone.items():
            x = block(x)
            if name == "Mixed_6e":
                maps = x  # (B, 768, 17, 17)
        return self.heads(maps, at_least_float32(x).mean((2, 3)))

    def enlarged(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) -> (B, 3, 299, 299)."""
        return F.interpolate(images, (self.SIDE, self.SIDE), mode="bilinear", align_corners=True)

    def heads(self, maps: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """maps (B, 768, h, w) of Mixed_6e and the mean (B, 2048) of Mixed_7c -> regions (B, hw, E), global (B, E)."""
        regions = self.to_regions(maps).flatten(2).transpose(1, 2)
        return at_least_float32(regions), at_least_float32(self.to_global(seen))

    def load_backbone(self, path: Path | str) -> None:
        load_torchvision(self.backbone, read_tensors(path), path)


IMAGE_ENCODERS: dict[str, type[ImageEncoder]] = {
    "light": LightImageEncoder,
    "mobilenet_v2": MobileNetImageEncoder,
    "squeezenet1_1": SqueezeNetImageEncoder,
    "inception": InceptionImageEncoder,
}
