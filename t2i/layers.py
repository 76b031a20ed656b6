"""Layers that several families are made of."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)


MANY_WEIGHTS = 2**22  # of a convolution: from here on CPU's time goes to them, not to the picture's places


class UpConv(nn.Conv2d):
    """Nearest upsampling by two, then a 3 x 3 convolution, in one: (B, inputs, H, W) -> (B, outputs, 2H, 2W).

    The two together are one transposed convolution whose 4 x 4 kernel is the 3 x 3 one summed over the four
    places where nearest upsampling repeats a pixel. It needs 4/9 of the products and no enlarged input, but more
    weights, which is why the widest layers, on small maps, stay two on CPU (`python -m benchmarks.convolutions`).
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = False):
        super().__init__(inputs, outputs, 3, bias=bias)

    def kernel(self) -> Tensor:
        """The transposed convolution's weight (inputs, outputs, 4, 4)."""
        w = self.weight.transpose(0, 1)
        device = "cpu" if w.is_meta else w.device.type  # which has no autocast
        with torch.autocast(device, enabled=False):  # the sums are exact before they are rounded
            return (w.reshape(-1, 9) @ _SUMS.to(w)).view(*w.shape[:2], 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and self.weight.numel() >= MANY_WEIGHTS:
            return F.conv2d(F.interpolate(x, scale_factor=2), self.weight, self.bias, padding=1)
        return F.conv_transpose2d(x, self.kernel(), self.bias, stride=2, padding=1)


def _sums() -> Tensor:
    """Which places of a 3 x 3 kernel add up to each of the 4 x 4 one, (9, 16) of zeros and ones."""
    places = torch.eye(9).view(9, 3, 3).flip(1, 2)
    return (
        torch.stack([F.pad(places, (1 - i, i, 1 - j, j)) for i in (0, 1) for j in (0, 1)]).sum(0).flatten(1)
    )


_SUMS = _sums()


class UnfoldedConv(nn.Conv2d):
    """A convolution that, where it has many weights and few places, as at a discriminator's deep end, is unfolded.

    There, on CPU, it is a matrix product over the unfolded input, since reading and differentiating the weights is
    then up to twice as fast (`python -m benchmarks.convolutions`).
    """

    padding: tuple[int, ...]  # never by name, as "same"

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or self.weight.numel() < MANY_WEIGHTS:
            return super().forward(x)
        h, w = (
            (x.shape[i] + 2 * self.padding[0] - self.kernel_size[0]) // self.stride[0] + 1 for i in (2, 3)
        )
        columns = F.unfold(
            x, self.kernel_size, padding=self.padding, stride=self.stride
        )  # (B, inputs k k, h w)
        rows = columns.transpose(1, 2).flatten(
            0, 1
        )  # two axes: of three, autograd would copy the weights B times
        return F.linear(rows, self.weight.flatten(1), self.bias).view(len(x), h, w, -1).permute(0, 3, 1, 2)


def tile_spatially(code: Tensor, hidden: Tensor) -> Tensor:
    """code (B, C) at every place of a hidden image (B, n, H, W): (B, C, H, W)."""
    return code.to(hidden.dtype)[:, :, None, None].expand(-1, -1, *hidden.shape[2:])


def initialise(module: nn.Module, orthogonal: bool = False) -> None:
    """The authors' initialisation: weights from N(0, 0.02^2), or orthogonal; BatchNorm round 1."""
    # nn.init's functions are looked up at the call: loading a model replaces them by nothing
    if isinstance(module, nn.Conv2d | nn.Linear):
        if orthogonal:
            nn.init.orthogonal_(module.weight)
        else:
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


initialise_orthogonal = partial(initialise, orthogonal=True)
"""AttnGAN's and StackGAN-v2's initialisation."""
