"""Transformer encoder-decoder for speech, its encoder augmented with convolutions.

The encoder follows the Conformer (Gulati et al. 2020) in putting a depthwise convolution beside attention, but
normalises each frame on its own (LayerNorm in place of BatchNorm) and masks the padding before every convolution,
so that padding never changes a result. Positions are rotary (Su et al. 2021): a clip longer than those of the
training meets no unseen position code.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.audio import N_MELS
from asr.tokenizer import EDGE

SUBSAMPLING = 4  # two convolutions of stride 2: one encoder frame is 40 ms


@dataclass
class ModelConfig:
    width: int = 160  # E
    heads: int = 4
    encoder_layers: int = 8
    decoder_layers: int = 2
    feed_forward: int = 640
    kernel: int = 15  # frames of 40 ms that the depthwise convolution sees
    dropout: float = 0.1


def subsampled(frames: int | Tensor) -> int | Tensor:
    """Encoder frames T' of T feature frames: T' = ceil(ceil(T / 2) / 2) = ceil(T / 4)."""
    return (frames + SUBSAMPLING - 1) // SUBSAMPLING


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
        B, L, E = x.shape
        query = self.to_query(x).view(B, L, self.heads, -1).transpose(1, 2)  # (B, H, L, d)
        return self.to_out(attend(query, key, value, is_masked).transpose(1, 2).flatten(2))


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


class Encoder(nn.Module):
    """Log-mel frames of 10 ms to embeddings of 40 ms."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.first = nn.Conv1d(N_MELS, config.width, 3, stride=2, padding=1)
        self.second = nn.Conv1d(config.width, config.width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.norm = nn.LayerNorm(config.width)
        self.head_size = config.width // config.heads

    def subsample(self, features: Tensor, is_pad: Tensor) -> tuple[Tensor, Tensor]:
        """features (B, T, 80), is_pad (B, T) -> (B, T', E), is_pad (B, T') with T' = ceil(T / 4)."""
        x = features.masked_fill(is_pad[..., None], 0.0).transpose(1, 2)  # (B, 80, T)
        for convolution in (self.first, self.second):
            is_pad = is_pad[:, ::2]  # frame t sees 2t - 1 ... 2t + 1, and 2t decides whether it is one
            x = F.silu(convolution(x)).masked_fill(is_pad[:, None], 0.0)  # (B, E, T / 2), then (B, E, T / 4)
        return x.transpose(1, 2), is_pad

    def forward(self, features: Tensor, is_pad: Tensor) -> tuple[Tensor, Tensor]:
        """features (B, T, 80), is_pad (B, T) -> memory (B, T', E), is_pad (B, T')."""
        x, is_pad = self.subsample(features, is_pad)
        turn = rotation(torch.arange(x.shape[1], device=x.device), self.head_size)
        for layer in self.layers:
            x = layer(x, turn, is_pad)
        return self.norm(x), is_pad


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
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.width)
        self.to_logits = nn.Linear(config.width, vocabulary)
        self.head_size = config.width // config.heads

    def forward(self, tokens: Tensor, memory: Tensor, is_pad: Tensor) -> Tensor:
        """tokens (B, L) beginning with EDGE, memory (B, T, E), is_pad (B, T) -> logits (B, L, V).

        Position l sees tokens up to l alone, so what fills the end of a shorter text changes nothing before it.
        """
        L = tokens.shape[1]
        positions = torch.arange(L, device=tokens.device)
        is_future = (positions[None] > positions[:, None])[None, None]  # (1, 1, L, L)
        turn = rotation(positions, self.head_size)
        x = self.embedding(tokens)  # (B, L, E)
        for layer in self.layers:
            x = layer(x, turn, is_future, memory, is_pad)
        return self.to_logits(self.norm(x))

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


class SpeechTransformer(nn.Module):
    """Encoder with a CTC head, and an attention decoder (Watanabe et al. 2017)."""

    def __init__(self, config: ModelConfig, vocabulary: int):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.to_ctc = nn.Linear(config.width, vocabulary)
        self.decoder = Decoder(config, vocabulary)

    def forward(self, features: Tensor, is_pad: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """features (B, T, 80), is_pad (B, T), tokens (B, L)

        -> CTC logits (B, T', V), is_pad (B, T'), decoder's logits (B, L + 1, V).
        """
        memory, is_pad = self.encoder(features, is_pad)
        edge = tokens.new_full((len(tokens), 1), EDGE)
        return self.to_ctc(memory), is_pad, self.decoder(torch.cat([edge, tokens], dim=1), memory, is_pad)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
