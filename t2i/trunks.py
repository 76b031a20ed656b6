"""Small networks trained on ImageNet, as trunks for what learns from birds: their maps at several scales."""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from storage.errors import UserError
from storage.model_folder import load_weights, read_tensors

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in [0, 1]
# side of the picture over side of the map: the layer of torchvision's `features` after which it is taken, its channels
TAPS: dict[str, dict[int, tuple[int, int]]] = {
    "mobilenet_v2": {4: (4, 24), 8: (7, 32), 16: (14, 96), 32: (19, 1280)},
    "squeezenet1_1": {4: (5, 128), 8: (8, 256), 16: (13, 512)},
}


class Trunk(nn.Module):
    """MobileNetV2 or SqueezeNet 1.1 without its classifier.

    It starts from random weights; `load` gives it a file's. Its BatchNorm is always in eval mode: files with BatchNorm
    folded into the convolutions have no statistics to follow.
    """

    def __init__(self, name: str, finest: int = 4):
        """name: one of TAPS; finest: side of the picture over that of the largest map, 4 or more."""
        super().__init__()
        import torchvision  # seconds that nobody else has to wait

        taps = [tap for scale, tap in TAPS[name].items() if scale >= finest]
        self.ends = [end for end, _ in taps]
        self.channels = [channels for _, channels in taps]
        self.layers = getattr(torchvision.models, name)(weights=None).features

    def train(self, mode: bool = True) -> "Trunk":
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """images (B, 3, H, W) in [-1, 1] -> maps (B, n, h, w), the finest first."""
        # channels last is a third faster in depthwise convolutions, here even in training: no BatchNorm learns
        x = imagenet_normalised(images).contiguous(memory_format=torch.channels_last)
        start, maps = 0, []
        for end in self.ends:
            x = self.layers[start:end](x)
            maps.append(x)
            start = end
        return maps

    def load(self, path: Path | str) -> None:
        """Take the weights of a file in torchvision's names (.pth or .safetensors).

        Raises UserError where the file is missing, damaged or lacks a tensor.
        """
        state = {key.removeprefix("features."): value for key, value in read_tensors(Path(path)).items()}
        load_torchvision(self.layers, state, path)


def load_torchvision(module: nn.Module, state: Mapping[str, Tensor], path: Path | str) -> None:
    """Load what of `state` the module has. Raises UserError where a tensor of the module is not there."""
    own = module.state_dict()
    # files converted from other frameworks leave out BatchNorm's counters, which nothing reads
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    load_weights(module, counters | {key: value for key, value in state.items() if key in own}, path)


def known_trunk(name: str) -> None:
    """Raises UserError for a name that is none."""
    if name not in TAPS:
        raise UserError(f'network="{name}" is unknown; choose one of {", ".join(TAPS)}')


def resized(images: Tensor, size: int) -> Tensor:
    """images (B, 3, H, W) -> (B, 3, size, size), without aliasing."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True)


def imagenet_normalised(images: Tensor) -> Tensor:
    """images (B, 3, H, W) in [-1, 1] -> as torchvision's ImageNet networks read them."""
    mean, std = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((images + 1) / 2 - mean) / std
