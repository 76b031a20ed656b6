"""A Transformer encoder with depthwise convolutions, the encoder of the released recogniser.

It follows the Conformer (Gulati et al. 2020) in putting a depthwise convolution beside attention, but has one
feed-forward layer a block, rotary positions, and normalises each frame on its own (LayerNorm in place of BatchNorm).
"""

import torch
from torch import Tensor, nn

from asr.encoders.base import ModelConfig
from asr.features import N_MELS
from asr.layers import (
    Convolution,
    FeedForward,
    FrameDropout,
    SelfAttention,
    rotation,
    subsample,
)


class EncoderLayer(nn.Module):
    """Attention, convolution and feed-forward, each normalised before and added."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = SelfAttention(config.width, config.heads)
        self.convolution_norm = nn.LayerNorm(config.width)
        self.convolution = Convolution(config.width, config.kernel)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(config.width, config.feed_forward)
        self.dropout = FrameDropout(config.dropout)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], is_pad: Tensor) -> Tensor:
        """x (B, T, E), is_pad (B, T) -> (B, T, E)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), turn, is_pad[:, None, None]))
        x = x + self.dropout(self.convolution(self.convolution_norm(x), is_pad))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class TransformerEncoder(nn.Module):
    """Log-mel frames of 10 ms to embeddings of 40 or 80 ms."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.subsampling = config.subsampling
        self.first = nn.Conv1d(N_MELS, config.width, 3, stride=2, padding=1)
        self.second = nn.Conv1d(config.width, config.width, 3, stride=2, padding=1)
        if config.subsampling == 8:
            self.third = nn.Conv1d(config.width, config.width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.norm = nn.LayerNorm(config.width)
        self.head_size = config.width // config.heads

    def forward(self, features: Tensor, is_pad: Tensor) -> tuple[Tensor, Tensor]:
        """features (B, T, 80), is_pad (B, T) -> memory (B, T', E), is_pad (B, T')."""
        memory, _, is_pad = self.with_middle(features, is_pad)
        return memory, is_pad

    def with_middle(self, features: Tensor, is_pad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `asr.encoders.base.LayeredEncoder`."""
        convolutions = [self.first, self.second, *([self.third] if self.subsampling == 8 else [])]
        x, is_pad = subsample(convolutions, features, is_pad)
        turn = rotation(torch.arange(x.shape[1], device=x.device), self.head_size)
        middle = x
        for number, layer in enumerate(self.layers, start=1):
            x = layer(x, turn, is_pad)
            if number == len(self.layers) // 2:
                middle = x
        return self.norm(x), self.norm(middle), is_pad
