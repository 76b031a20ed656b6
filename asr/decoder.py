"""The attention decoder: a Transformer over characters that attends to the encoder's frames."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from asr.encoders.base import ModelConfig
from asr.layers import CrossAttention, FeedForward, FrameDropout, SelfAttention, rotation


class DecoderLayer(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.self_norm = nn.LayerNorm(config.width)
        self.self_attention = SelfAttention(config.width, config.heads)
        self.cross_norm = nn.LayerNorm(config.width)
        self.cross_attention = CrossAttention(config.width, config.heads)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(config.width, config.feed_forward)
        self.dropout = FrameDropout(config.dropout)

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], is_future: Tensor, memory: Tensor, is_pad: Tensor
    ) -> Tensor:
        """x (B * W, L, E), is_future (1, 1, L, L), memory (B, T, E), is_pad (B, T) -> (B * W, L, E)."""
        x = x + self.dropout(self.self_attention(self.self_norm(x), turn, is_future))
        key, value = self.cross_attention.project(memory)
        # the texts of a clip are the queries of one attention: its memory is not copied for each
        query = self.cross_norm(x).view(len(memory), -1, x.shape[-1])
        found = self.cross_attention(query, key, value, is_pad[:, None, None])
        x = x + self.dropout(found.view_as(x))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))

    def attention(
        self, x: Tensor, turn: tuple[Tensor, Tensor], is_future: Tensor, memory: Tensor, is_pad: Tensor
    ) -> Tensor:
        """The arguments of `forward` -> the weights (B, H, L, T) with which it looks at the frames."""
        x = x + self.dropout(self.self_attention(self.self_norm(x), turn, is_future))
        key, _ = self.cross_attention.project(memory)
        return self.cross_attention.weights(self.cross_norm(x), key, is_pad[:, None, None])


class Decoder(nn.Module):
    """Characters so far, and the sound, to logits of the next character."""

    def __init__(self, config: ModelConfig, vocabulary: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, config.width)
        layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.layers: Iterable[DecoderLayer] = layers  # type: ignore[assignment]  # a ModuleList's are untyped
        self.norm = nn.LayerNorm(config.width)
        self.to_logits = nn.Linear(config.width, vocabulary)
        self.head_size = config.width // config.heads

    def forward(self, tokens: Tensor, memory: Tensor, is_pad: Tensor) -> Tensor:
        """tokens (B * W, L) beginning with EDGE, W texts of each clip, memory (B, T, E), is_pad (B, T) -> logits
        (B * W, L, V).

        Position l sees tokens up to l alone, so what fills the end of a shorter text changes nothing before it.
        """
        x, turn, is_future = self._embed(tokens)
        for layer in self.layers:
            x = layer(x, turn, is_future, memory, is_pad)
        return self.to_logits(self.norm(x))

    def attention(self, tokens: Tensor, memory: Tensor, is_pad: Tensor) -> Tensor:
        """The arguments of `forward` -> how much position l looks at each frame: weights (B, L, T) of the last layer,
        the mean over its heads."""
        x, turn, is_future = self._embed(tokens)
        *layers, last = self.layers
        for layer in layers:
            x = layer(x, turn, is_future, memory, is_pad)
        return last.attention(x, turn, is_future, memory, is_pad).mean(dim=1)

    def _embed(self, tokens: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """tokens (B, L) -> embeddings (B, L, E), the rotation of their positions, is_future (1, 1, L, L)."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        is_future = (positions[None] > positions[:, None])[None, None]
        return self.embedding(tokens), rotation(positions, self.head_size), is_future
