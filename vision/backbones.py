"""Small networks trained on ImageNet, as backbones for what learns from birds: their maps at several scales."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from core.checkpoints import read_tensors
from core.model_folder import load_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in [0, 1]
# side of the picture over side of the map: the layer of torchvision's `features` after which it is taken, its channels
TAPS: dict[str, dict[int, tuple[int, int]]] = {
    "mobilenet_v2": {4: (4, 24), 8: (7, 32), 16: (14, 96), 32: (19, 1280)},
    "squeezenet1_1": {4: (5, 128), 8: (8, 256), 16: (13, 512)},
}


class Backbone(nn.Module):
    """MobileNetV2 or SqueezeNet 1.1 without its classifier.

    It starts from random weights; `load` gives it a file's. Its convolutions carry the BatchNorm after them: whoever
    learns from these networks or looks through them follows no statistics.
    """

    def __init__(self, name: str, finest: int = 4):
        """name: one of TAPS; finest: side of the picture over that of the largest map, 4 or more."""
        super().__init__()
        taps = [tap for scale, tap in TAPS[name].items() if scale >= finest]
        self.ends = [end for end, _ in taps]
        self.channels = [channels for _, channels in taps]
        self.name = name
        self.layers = _ready(_features(name))

    def forward(self, images: Tensor) -> list[Tensor]:
        """images (B, 3, H, W) in [-1, 1] -> maps (B, n, h, w), the finest first."""
        # a third faster in depthwise convolutions
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
        theirs = _features(self.name)
        load_torchvision(theirs, state, path)
        self.layers.load_state_dict(_ready(theirs).state_dict())


class ThinnedConv(nn.Conv2d):
    """A depthwise convolution of stride 2: one of stride 1, of which every second row and column is kept.

    On CPUs the gradient of the strided one takes several times as long, and most of a backbone's.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, H, W) -> (B, n, H/2, W/2), rounded up."""
        whole = F.conv2d(x, self.weight, self.bias, 1, self.padding, 1, self.groups)
        return F.avg_pool2d(whole, 1, 2)  # keeps the memory layout in the gradient, which slicing does not


def _features(name: str) -> nn.Sequential:
    """torchvision's layers below the classifier, of random weights."""
    import torchvision  # seconds that nobody else has to wait

    return getattr(torchvision.models, name)(weights=None).features.eval()


def _ready(layers: nn.Sequential) -> nn.Sequential:
    """The same layers with fewer operations: BatchNorm folded in, strided depthwise convolutions thinned."""
    fold_batch_norm(layers)
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels and layer.stride == (2, 2):
            layer.__class__ = ThinnedConv
    return layers


def fold_batch_norm(network: nn.Module) -> None:
    """Let every convolution that a BatchNorm follows in a Sequential carry it, in eval mode; in place."""
    for block in list(network.modules()):  # layers are replaced on the way
        if isinstance(block, nn.Sequential):
            for i, (layer, norm) in enumerate(pairwise(list(block))):
                if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    block[i], block[i + 1] = fuse_conv_bn_eval(layer, norm), nn.Identity()


def load_torchvision(module: nn.Module, state: Mapping[str, Tensor], path: Path | str) -> None:
    """Load what of `state` the module has. Raises UserError where a tensor of the module is not there."""
    own = module.state_dict()
    # files converted from other frameworks leave out BatchNorm's counters, which nothing reads
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    load_weights(module, counters | {key: value for key, value in state.items() if key in own}, path)


def resized(images: Tensor, size: int, antialias: bool = True) -> Tensor:
    """images (B, 3, H, W) -> (B, 3, size, size), bilinear."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=antialias)


def imagenet_normalised(images: Tensor) -> Tensor:
    """images (B, 3, H, W) in [-1, 1] -> as torchvision's ImageNet networks read them."""
    mean, std = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((images + 1) / 2 - mean) / std
