"""Parts of the recogniser's networks: attention with rotary positions, convolution, dropout, subsampling.

Positions are rotary (Su et al. 2021): a clip longer than those of the training meets no unseen position code. Padding
is masked before every convolution and in every attention, so that it never changes a result.
"""

import math
from collections.abc import Iterable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.features import N_MELS


def subsample(convolutions: Iterable[nn.Conv1d], features: Tensor, is_pad: Tensor) -> tuple[Tensor, Tensor]:
    """Convolutions of stride 2: features (B, T, 80), is_pad (B, T) -> (B, T', E), is_pad (B, T').

    T' = ceil(T / 4) of two of them, ceil(T / 8) of three.
    """
    x = features.masked_fill(is_pad[..., None], 0.0).transpose(1, 2)  # (B, 80, T)
    for convolution in convolutions:
        is_pad = is_pad[:, ::2]  # frame t sees 2t - 1 ... 2t + 1, and 2t decides whether it is one
        x = F.silu(convolution(x)).masked_fill(is_pad[:, None], 0.0)  # (B, E, T / 2), then (B, E, T / 4)
    return x.transpose(1, 2), is_pad


class Subsampling(nn.Module):
    """Convolutions of stride 2 over time and frequency, so that what is learned of a sound holds at other pitches
    (Gulati et al. 2020, Sec. 2, "convolution subsampling")."""

    def __init__(self, width: int, factor: int, channels: int):
        """factor: 4 or 8, the frames that one covers afterwards."""
        super().__init__()
        sizes = [1] + [channels] * (factor.bit_length() - 1)
        convolutions = [nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in pairwise(sizes)]
        self.convolutions = nn.ModuleList(convolutions)
        self.to_width = nn.Linear(channels * N_MELS // factor, width)
        # What the sound changes must not be small beside what the biases add, here and in the blocks: with torch's own
        # initialisation of the convolutions and without the factor (Vaswani et al. 2017, Sec. 3.4) it was a seventh of
        # the first block's output, with them it is more than the rest.
        self.scale = math.sqrt(width)
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)

    def forward(self, features: Tensor, is_pad: Tensor) -> tuple[Tensor, Tensor]:
        """features (B, T, 80), is_pad (B, T) -> (B, T', E), is_pad (B, T') with T' = ceil(T / factor)."""
        x = features.masked_fill(is_pad[..., None], 0.0)[:, None]  # (B, 1, T, 80)
        for convolution in self.convolutions:
            is_pad = is_pad[:, ::2]
            x = F.silu(convolution(x)).masked_fill(is_pad[:, None, :, None], 0.0)  # (B, C, T / 2, 40), ...
        return self.to_width(x.transpose(1, 2).flatten(2)) * self.scale, is_pad


def attend(query: Tensor, key: Tensor, value: Tensor, is_masked: Tensor) -> Tensor:
    """Scaled dot products: query (B, H, L, d), key and value (B, H, T, d), is_masked (B, 1, 1 or L, T) -> (B, H, L, d).

    On the CPU the plain products are six times as fast in bfloat16 as torch's fused kernel (2.7 ms against 16 ms
    forward and backward, 32 clips of 100 frames, two cores).
    """
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, attn_mask=~is_masked)
    score = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5  # (B, H, L, T)
    return score.masked_fill(is_masked, -1e4).softmax(dim=-1).to(value.dtype) @ value


def rotation(positions: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, size / 2) of positions (T,), for `rotate`."""
    rates = 10_000.0 ** (-torch.arange(0, size, 2, device=positions.device) / size)
    angles = positions[:, None] * rates
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary position of x (B, H, T, d)."""
    cosine, sine = (part.to(x.dtype) for part in turn)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


class FrameDropout(nn.Module):
    """Dropout of channels, the same for all frames of a clip.

    One random number a channel: on the CPU, drawing one for every element takes longer than the layer itself.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, E) -> (B, T, E)."""
        if not self.training or self.rate == 0.0:
            return x
        keep = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= self.rate
        return x * (keep.to(x.dtype) / (1.0 - self.rate))


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself, with rotary positions."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_query_key_value = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)

    def project(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, T, E) -> rotated query and key, value, each (B, H, T, d)."""
        B, T, E = x.shape
        query, key, value = self.to_query_key_value(x).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return rotate(query, turn), rotate(key, turn), value

    def merge(self, heads: Tensor) -> Tensor:
        """heads (B, H, T, d) -> (B, T, E)."""
        return self.to_out(heads.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], is_masked: Tensor) -> Tensor:
        """x (B, T, E), is_masked (B, 1, 1 or T, T) -> (B, T, E)."""
        return self.merge(attend(*self.project(x, turn), is_masked))


class CrossAttention(nn.Module):
    """Multi-head attention of the text to the sound."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_query = nn.Linear(width, width)
        self.to_key_value = nn.Linear(width, 2 * width)
        self.to_out = nn.Linear(width, width)

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory (B, T, E) -> key, value, each (B, H, T, d)."""
        B, T, E = memory.shape
        key, value = self.to_key_value(memory).view(B, T, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return key, value

    def forward(self, x: Tensor, key: Tensor, value: Tensor, is_masked: Tensor) -> Tensor:
        """x (B, L, E), key and value (B, H, T, d), is_masked (B, 1, 1, T) -> (B, L, E)."""
        return self.to_out(attend(self._query(x), key, value, is_masked).transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, key: Tensor, is_masked: Tensor) -> Tensor:
        """How much of each frame `forward` takes: x (B, L, E), key (B, H, T, d) -> (B, H, L, T), each row's sum 1."""
        query = self._query(x)
        score = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        return score.masked_fill(is_masked, -torch.inf).softmax(dim=-1)

    def _query(self, x: Tensor) -> Tensor:
        """x (B, L, E) -> (B, H, L, d)."""
        B, L, _ = x.shape
        return self.to_query(x).view(B, L, self.heads, -1).transpose(1, 2)


class FeedForward(nn.Sequential):
    def __init__(self, width: int, inner: int):
        super().__init__(nn.Linear(width, inner), nn.SiLU(), nn.Linear(inner, width))


class Convolution(nn.Module):
    """The Conformer's convolution module: gate, depthwise convolution over time, norm per frame, activation."""

    def __init__(self, width: int, kernel: int):
        super().__init__()
        self.to_gated = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, is_pad: Tensor) -> Tensor:
        """x (B, T, E), is_pad (B, T) -> (B, T, E)."""
        x = F.glu(self.to_gated(x), dim=-1).masked_fill(is_pad[..., None], 0.0)
        # float32 here: on the CPU the depthwise convolution is twice as slow in bfloat16
        with torch.autocast(x.device.type, enabled=False):
            x = self.depthwise(x.float().transpose(1, 2)).transpose(1, 2)  # (B, T, E)
        return self.to_out(F.silu(self.norm(x)))
