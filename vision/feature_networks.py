"""Feature networks of FID and KID from files in torchvision's names (.safetensors, .pth), recognised by their keys.

A distance is comparable only with others in the same network: name it and its checksum with every figure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from core.checkpoints import read_tensors
from core.errors import UserError
from core.files import sha256
from vision.backbones import imagenet_normalised, load_torchvision, resized

LAST_INCEPTION_BLOCK = "Mixed_6e"


@dataclass
class FeatureNetwork:
    """A frozen network in eval mode. `classifier` is None where the file ends before it."""

    name: str  # as it is written beside a figure
    checksum: str  # SHA-256 of the file
    size: int  # side at which pictures are read, px
    normalise: Callable[[Tensor], Tensor]  # of (B, 3, size, size) in [-1, 1]
    backbone: nn.Module
    classifier: nn.Module | None
    antialias: bool = True  # where pictures are reduced to `size`

    def to(self, device: torch.device) -> "FeatureNetwork":
        for part in (self.backbone, self.classifier):
            if part is not None:
                part.to(device)
        return self

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> features (B, D), the mean over places."""
        return self._maps(images).mean((2, 3))

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> class probabilities (B, K). Raises UserError without a classifier."""
        if self.classifier is None:
            raise UserError(f"{self.name} has no class probabilities; use mobilenet_v2 or squeezenet1_1")
        return self.classifier(self._maps(images)).softmax(dim=1)

    def _maps(self, images: Tensor) -> Tensor:
        return self.backbone(self.normalise(resized(images, self.size, self.antialias)))


def load_feature_network(path: Path | str) -> FeatureNetwork:
    """Read mobilenet_v2, squeezenet1_1 or inception_v3 up to Mixed_6e from a file.

    Raises UserError where the file is missing, damaged or holds another network.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"no feature network at {path}; expected a .safetensors or .pth file of mobilenet_v2, squeezenet1_1 or "
            "inception_v3 (torchvision's names)"
        )
    state = read_tensors(path)
    if "features.0.0.weight" in state:
        return _mobilenet(path, state)
    if "features.3.squeeze.weight" in state:
        return _squeezenet(path, state)
    if "Conv2d_1a_3x3.conv.weight" in state:
        return _inception(path, state)
    raise UserError(
        f'{path} holds no network that is known here (its first tensor is "{next(iter(state), "none")}"); expected '
        "mobilenet_v2, squeezenet1_1 or inception_v3 in torchvision's names"
    )


def _mobilenet(path: Path, state: dict[str, Tensor]) -> FeatureNetwork:
    model = torchvision.models.mobilenet_v2(weights=None)
    load_torchvision(model, state, path)
    classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.classifier)
    return FeatureNetwork(
        "MobileNetV2 (ImageNet), 1280-d",
        sha256(path),
        224,
        imagenet_normalised,
        _frozen(model.features),
        _frozen(classifier),
    )


def _squeezenet(path: Path, state: dict[str, Tensor]) -> FeatureNetwork:
    model = torchvision.models.squeezenet1_1(weights=None)
    load_torchvision(model, state, path)
    classifier = nn.Sequential(model.classifier, nn.Flatten())
    return FeatureNetwork(
        "SqueezeNet 1.1 (ImageNet), 512-d",
        sha256(path),
        224,
        imagenet_normalised,
        _frozen(model.features),
        _frozen(classifier),
    )


def _inception(path: Path, state: dict[str, Tensor]) -> FeatureNetwork:
    whole = torchvision.models.inception_v3(
        weights=None, aux_logits=False, transform_input=False, init_weights=False
    )
    backbone = nn.Sequential()
    for name, block in whole.named_children():
        backbone.add_module(name, block)
        if name == LAST_INCEPTION_BLOCK:
            break
    load_torchvision(backbone, state, path)
    for block in backbone.children():
        if isinstance(
            block, torchvision.models.inception.InceptionA | torchvision.models.inception.InceptionC
        ):
            block.branch_pool = nn.Sequential(_WithoutPadding(), block.branch_pool)
    name = "Inception-v3 up to Mixed_6e, 768-d"
    # as pytorch-fid reduces pictures of more than 299 px, so that its figures can be compared
    return FeatureNetwork(name, sha256(path), 299, _as_it_is, _frozen(backbone), None, antialias=False)


class _WithoutPadding(nn.Module):
    """What a 3 x 3 average that counted the padding gives -> the average of the places inside, as in FID's network.

    torchvision pools inside the block's forward, before the branch; dividing by the share of places that are
    inside is the same as not counting the others.
    """

    def forward(self, pooled: Tensor) -> Tensor:
        """pooled (B, C, H, W) -> (B, C, H, W)."""
        inside = F.avg_pool2d(pooled.new_ones(1, 1, *pooled.shape[-2:]), 3, stride=1, padding=1)
        return pooled / inside


def _frozen(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)


def _as_it_is(images: Tensor) -> Tensor:
    return images
