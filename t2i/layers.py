"""What several families of generators are made of, and lose by: each piece once, for all of them."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from t2i.encoders.damsm import Damsm, damsm_loss
from t2i.encoders.lstm import TextFeatures


class Painting(NamedTuple):
    """What a generator returns.

    images: (B, 3, s, s) in [-1, 1] of every stage; attention: (B, L, s, s) of every attending stage;
    mean, log_var: (B, C) of conditioning augmentation, without width where a family has none.
    """

    images: tuple[Tensor, ...]
    attention: tuple[Tensor, ...] = ()
    mean: Tensor = torch.zeros(0, 0)
    log_var: Tensor = torch.zeros(0, 0)


def require_sizes(config: object, names: Sequence[str]) -> None:
    """Raises UserError where one of the named sizes is not positive."""
    for name in names:
        if (value := getattr(config, name)) < 1:
            raise UserError(f"{name}={value} must be 1 or more")


# ---- blocks ----


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


class JudgingConv(nn.Conv2d):
    """A discriminator's convolution, which at its deep end has many weights and few places.

    There, on CPU, it is a matrix product over the unfolded input, since reading and differentiating the weights is
    then up to twice as fast (`python -m benchmarks.convolutions`).
    """

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


def tiled(code: Tensor, hidden: Tensor) -> Tensor:
    """code (B, C) at every place of a hidden picture (B, n, H, W): (B, C, H, W)."""
    return code.to(hidden.dtype)[:, :, None, None].expand(-1, -1, *hidden.shape[2:])


def judging_block(
    inputs: int, outputs: int, kernel: int, stride: int, normed: bool = True
) -> list[nn.Module]:
    """A convolution of a discriminator, BatchNorm where it is `normed`, and a leaky ReLU."""
    convolution = JudgingConv(inputs, outputs, kernel, stride, 1, bias=not normed)
    return [convolution, *([nn.BatchNorm2d(outputs)] if normed else []), nn.LeakyReLU(0.2)]


def judging_trunk(
    width: int, resolution: int, cap: int = 0, normed: bool = True
) -> tuple[nn.Sequential, int]:
    """A picture (B, 3, s, s) of 64 px or more to features (B, n, 4, 4): the trunk and n, which is 8 times `width`.

    Strided convolutions down to 4 x 4 double their channels, or stop at `cap` (0 for none); what is wider than n is
    narrowed there.
    """
    doublings = (resolution // 64).bit_length() - 1  # beyond 64 px
    widths = [min(width * 2**i, cap or 2**30) for i in range(4 + doublings)]  # of the strided convolutions
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for inputs, outputs in pairwise(widths):
        layers += judging_block(inputs, outputs, 4, 2, normed)
    for inputs, outputs in pairwise(widths[:2:-1]):
        layers += judging_block(inputs, outputs, 3, 1, normed)
    return nn.Sequential(*layers), widths[3]


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


# ---- losses ----


def says(logits: Tensor, real: bool) -> Tensor:
    """Cross entropy of a discriminator's logits (B,) with the answer `real`; a scalar."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def kl_divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Of the augmentation's Gaussians (B, C) from N(0, 1), Eq. (2), the mean of all their elements; a scalar."""
    return -0.5 * (1 + log_var - mean.square() - log_var.exp()).mean()


def shifted(images: Tensor, most: float) -> Tensor:
    """Every picture moved by up to `most` of its side, its border repeated: (B, 3, s, s) -> (B, 3, s, s).

    The translation of differentiable augmentation (Zhao et al., NeurIPS 2020, section 3.2). The judges' strided
    convolutions lay a fixed grid over a picture, and their gradients would print it: moved pictures average it out.
    """
    side = images.shape[-1]
    margin = round(most * side)
    if margin == 0:
        return images
    padded = F.pad(images, (margin,) * 4, mode="replicate")
    corners = torch.randint(0, 2 * margin + 1, (len(images), 2)).tolist()
    return torch.stack(
        [image[:, y : y + side, x : x + side] for image, (y, x) in zip(padded, corners, strict=True)]
    )


class PairJudge(Protocol):
    """A discriminator that judges pictures together with their sentences."""

    def features(self, images: Tensor) -> Tensor: ...

    def judge_pair(self, features: Tensor, sentence: Tensor) -> Tensor: ...


def matching_aware_penalty(D: PairJudge, images: Tensor, sentence: Tensor, power: float = 6.0) -> Tensor:
    """Mean sixth (or other) power of the gradient's norm at real matched pairs (DF-GAN, section 3.2, Eq. (2)).

    The gradient of the pair's logit by picture and sentence together, in float32; a scalar.
    """
    with torch.autocast(images.device.type, enabled=False):
        images, sentence = images.detach().requires_grad_(), sentence.detach().requires_grad_()
        logits = D.judge_pair(D.features(images), sentence)
        gradients = torch.autograd.grad(logits.sum(), (images, sentence), create_graph=True)
        square = sum(g.flatten(1).square().sum(1) for g in gradients)
        return (square ** (power / 2)).mean()  # type: ignore[operator]


def hinge_of_pairs(
    D: PairJudge, of_real: Tensor, of_fake: Tensor, sentence: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Hinge losses of real, painted and mismatched pairs, three scalars (DF-GAN, section 3.2).

    of_real, of_fake: features (B, n, 4, 4), B > 1. Mismatched is every real picture with the sentence (B, E) of the
    one before it, the first with the last one's.
    """
    is_real = F.relu(1 - D.judge_pair(of_real, sentence)).mean()
    is_fake = F.relu(1 + D.judge_pair(of_fake, sentence)).mean()
    return is_real, is_fake, F.relu(1 + D.judge_pair(of_real.roll(-1, 0), sentence)).mean()


def damsm_term(
    damsm: Damsm | None, images: Tensor, text: TextFeatures, class_ids: Tensor, weight: float
) -> tuple[Tensor | float, dict[str, Tensor]]:
    """How badly the pictures (B, 3, s, s) fit their words and sentences, times `weight`; 0 without DAMSM."""
    if damsm is None or weight <= 0:
        return 0.0, {}
    regions, image = damsm.image_encoder(images)
    words, sentence = damsm_loss(regions, image, text, class_ids, damsm.config)
    return weight * (words + sentence), {"damsm_words": words, "damsm_sentence": sentence}
