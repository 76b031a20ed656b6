"""The attention decoder: a Transformer over characters that attends to the encoder's frames."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from asr.encoders.base import ModelConfig
from asr.layers import CrossAttention, FeedForward, FrameDropout, SelfAttention, attend, rotation


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
        """x (B, L, E), is_future (1, 1, L, L), memory (B, T, E), is_pad (B, T) -> (B, L, E)."""
        x = x + self.dropout(self.self_attention(self.self_norm(x), turn, is_future))
        key, value = self.cross_attention.project(memory)
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), key, value, is_pad[:, None, None]))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))

    def attention(
        self, x: Tensor, turn: tuple[Tensor, Tensor], is_future: Tensor, memory: Tensor, is_pad: Tensor
    ) -> Tensor:
        """The arguments of `forward` -> the weights (B, H, L, T) with which it looks at the frames."""
        x = x + self.dropout(self.self_attention(self.self_norm(x), turn, is_future))
        key, _ = self.cross_attention.project(memory)
        return self.cross_attention.weights(self.cross_norm(x), key, is_pad[:, None, None])


@dataclass
class DecoderCache:
    """What the decoder remembers between two steps of a search with W hypotheses for each of B clips."""

    cross: list[tuple[Tensor, Tensor]]  # key and value (B, H, T, d) per layer
    is_pad: Tensor  # (B, T)
    own: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # key and value (B * W, H, L, d) per layer
    length: int = 0  # L

    def reorder(self, index: Tensor) -> None:
        """Keep the hypotheses index (B * W,)."""
        self.own = [(key[index], value[index]) for key, value in self.own]


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
        """tokens (B, L) beginning with EDGE, memory (B, T, E), is_pad (B, T) -> logits (B, L, V).

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

    def start(self, memory: Tensor, is_pad: Tensor) -> DecoderCache:
        """Begin a search over memory (B, T, E), is_pad (B, T)."""
        return DecoderCache([layer.cross_attention.project(memory) for layer in self.layers], is_pad)

    def step(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """The newest tokens (B, W) of W hypotheses a clip -> logits (B, W, V); `cache` takes them in."""
        B, W = tokens.shape
        turn = rotation(torch.tensor([cache.length], device=tokens.device), self.head_size)
        x = self.embedding(tokens)  # (B, W, E)
        own = []
        for number, layer in enumerate(self.layers):
            query, key, value = layer.self_attention.project(layer.self_norm(x).view(B * W, 1, -1), turn)
            if cache.length:
                key = torch.cat([cache.own[number][0], key], dim=2)  # (B * W, H, L, d)
                value = torch.cat([cache.own[number][1], value], dim=2)
            own.append((key, value))
            seen = torch.zeros(1, 1, 1, 1, dtype=torch.bool, device=x.device)
            x = x + layer.self_attention.merge(attend(query, key, value, seen)).view(B, W, -1)
            # the hypotheses of a clip are the queries of one attention: its memory is not copied for each
            x = x + layer.cross_attention(
                layer.cross_norm(x), *cache.cross[number], cache.is_pad[:, None, None]
            )
            x = x + layer.feed_forward(layer.feed_forward_norm(x))
        cache.own, cache.length = own, cache.length + 1
        return self.to_logits(self.norm(x))
