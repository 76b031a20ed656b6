"""A trained generator made ready to paint: the same pictures with fewer operations."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from t2i.layers import UpConv
from vision.backbones import fold_batch_norm


def for_inference(generator: nn.Module) -> nn.Module:
    """A copy in eval mode whose convolutions and linear layers carry the BatchNorm after them, and whose UpConvs are
    transposed convolutions with a kernel that is made once; equal but for rounding."""
    folded = copy.deepcopy(generator).eval()
    for block in list(folded.modules()):  # layers are replaced on the way
        project, norm = getattr(block, "project", None), getattr(block, "norm", None)
        if isinstance(project, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
            block.project, block.norm = fuse_linear_bn_eval(project, norm), nn.Identity()
    fold_batch_norm(folded)
    for block in list(folded.modules()):
        for name, layer in list(block.named_children()):
            if isinstance(layer, UpConv):
                setattr(block, name, transposed(layer))
    return folded.requires_grad_(False)


def transposed(layer: UpConv) -> nn.ConvTranspose2d:
    """The one transposed convolution that an UpConv is."""
    weight = layer.kernel()  # (inputs, outputs, 4, 4)
    same = nn.ConvTranspose2d(
        layer.in_channels, layer.out_channels, 4, 2, 1, bias=layer.bias is not None, dtype=weight.dtype,
        device=weight.device,
    )  # fmt: skip
    with torch.no_grad():
        same.weight.copy_(weight)
        if same.bias is not None and layer.bias is not None:
            same.bias.copy_(layer.bias)
    return same
