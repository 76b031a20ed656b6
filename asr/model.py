"""The recogniser's network: an encoder chosen by name, a CTC head, and an attention decoder (Watanabe et al. 2017)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.decoder import Decoder
from asr.encoders.base import LayeredEncoder, ModelConfig, check_sizes
from asr.encoders.registry import build_encoder
from asr.tokenizer import EDGE

__all__ = ["ModelConfig", "Outputs", "SpeechModel", "count_parameters"]


class Outputs(NamedTuple):
    """What the losses need."""

    ctc_logits: Tensor  # (B, T', V)
    is_pad: Tensor  # (B, T')
    logits: Tensor  # (B, L + 1, V) of the decoder
    middle_logits: Tensor | None  # (B, T', V): CTC's of the encoder's middle layer, where it shows that


class SpeechModel(nn.Module):
    def __init__(self, config: ModelConfig, vocabulary: int):
        """Raises UserError for an encoder that is not registered, and sizes that do not fit each other."""
        check_sizes(config)
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        self.to_ctc = nn.Linear(config.width, vocabulary)
        self.decoder = Decoder(config, vocabulary)

    def forward(self, features: Tensor, is_pad: Tensor, tokens: Tensor) -> Outputs:
        """features (B, T, 80), is_pad (B, T), tokens (B, L)."""
        middle = None
        if isinstance(self.encoder, LayeredEncoder):
            memory, middle, is_pad = self.encoder.with_middle(features, is_pad)
        else:
            memory, is_pad = self.encoder(features, is_pad)
        edge = tokens.new_full((len(tokens), 1), EDGE)
        logits = self.decoder(torch.cat([edge, tokens], dim=1), memory, is_pad)
        return Outputs(self.to_ctc(memory), is_pad, logits, None if middle is None else self.to_ctc(middle))

    def count_frames(self, frames: int) -> int:
        """Encoder frames T' of T feature frames."""
        return -(-frames // self.encoder.subsampling)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
