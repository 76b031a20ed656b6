"""What an encoder is built from, and what it must do."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


@dataclass
class ModelConfig:
    """The recogniser's architecture; saved with its weights."""

    encoder: str = "transformer"  # a name of asr.encoders.registry
    normalisation: str = "clip"  # of the features: over the whole clip, or running (see asr.features)
    width: int = 160  # E
    heads: int = 4
    encoder_layers: int = 8
    decoder_layers: int = 2
    feed_forward: int = 640
    kernel: int = 15  # encoder frames that a depthwise convolution sees
    dropout: float = 0.1


@runtime_checkable
class Encoder(Protocol):
    """An `nn.Module` built from a ModelConfig. Padding changes nothing in what it returns, in training neither."""

    subsampling: int  # frames of 10 ms that one of its frames covers: T' = ceil(T / subsampling)

    def __call__(self, features: Tensor, is_pad: Tensor) -> tuple[Tensor, Tensor]:
        """features (B, T, 80), is_pad (B, T) -> memory (B, T', E) with E = config.width, is_pad (B, T')."""
        ...
