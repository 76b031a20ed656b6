"""The recogniser's network: an encoder chosen by name, a CTC head, and an attention decoder (Watanabe et al. 2017)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.alignment import search_scores
from asr.decoder import Decoder
from asr.encoders.base import LayeredEncoder, ModelConfig, check_sizes
from asr.encoders.registry import build_encoder
from asr.lexicon import PHONES
from asr.tokenizer import EDGE

PHONE_FRAMES = 2  # labels of 20 ms that an encoder frame of 40 ms has

__all__ = ["ModelConfig", "Outputs", "SpeechModel", "count_parameters"]


class Outputs(NamedTuple):
    """What the losses need."""

    ctc_logits: Tensor  # (B, T', V)
    is_pad: Tensor  # (B, T')
    logits: Tensor | None  # (B, L + 1, V) of the decoder, where there is one
    middle_logits: Tensor | None  # (B, T', V): CTC's of the encoder's middle layer, where it shows that
    phone_logits: Tensor | None = None  # (B, 2 T', P), every 20 ms, where phones are asked for


class PhoneHead(nn.Module):
    """The phone of every 20 ms, several of which an encoder frame covers.

    log_prior (P,): how often each is the label in training, nats. A hidden Markov model asks how likely the sound is
    where the phone is given, which is this network's answer over the prior (Bourlard and Morgan, "Connectionist speech
    recognition", 1994, Ch. 7); it is kept with the weights and makes no gradient.
    """

    log_prior: Tensor

    def __init__(self, width: int, frames: int):
        super().__init__()
        self.frames = frames
        self.to_logits = nn.Linear(width, frames * len(PHONES))
        self.register_buffer("log_prior", torch.full((len(PHONES),), -math.log(len(PHONES))))

    def forward(self, memory: Tensor) -> Tensor:
        """memory (B, T', E) -> logits (B, frames * T', P)."""
        B, T, _ = memory.shape
        return self.to_logits(memory).view(B, T * self.frames, len(PHONES))

    def scores(self, logits: Tensor, weight: float) -> Tensor:
        """Logits (B, frames * T', P) -> `asr.alignment.search_scores` (B, T', P)."""
        return search_scores(logits.float().log_softmax(dim=-1), self.log_prior, self.frames, weight)

    @torch.no_grad()
    def count(self, labels: Tensor, decay: float = 0.999) -> None:
        """Let the prior follow how often each phone is a label, counts (P,) of a batch."""
        self.log_prior.copy_(
            (decay * self.log_prior.exp() + (1 - decay) * labels / labels.sum()).clamp(min=1e-5).log()
        )


class SpeechModel(nn.Module):
    def __init__(self, config: ModelConfig, vocabulary: int):
        """Raises UserError for an encoder that is not registered, and sizes that do not fit each other."""
        check_sizes(config)
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        self.to_ctc = nn.Linear(config.width, vocabulary)
        self.decoder = Decoder(config, vocabulary) if config.decoder_layers else None
        frames = PHONE_FRAMES * config.subsampling // 4
        self.to_phones = PhoneHead(config.width, frames) if config.phones else None

    def forward(self, features: Tensor, is_pad: Tensor, tokens: Tensor) -> Outputs:
        """features (B, T, 80), is_pad (B, T), tokens (B, L)."""
        middle = None
        if isinstance(self.encoder, LayeredEncoder):
            memory, middle, is_pad = self.encoder.with_middle(features, is_pad)
        else:
            memory, is_pad = self.encoder(features, is_pad)
        logits = None
        if self.decoder is not None:
            edge = tokens.new_full((len(tokens), 1), EDGE)
            logits = self.decoder(torch.cat([edge, tokens], dim=1), memory, is_pad)
        return Outputs(
            self.to_ctc(memory),
            is_pad,
            logits,
            None if middle is None else self.to_ctc(middle),
            None if self.to_phones is None else self.to_phones(memory),
        )

    @property
    def frame_heads(self) -> list[nn.Module]:
        """What each tell something of the frames' memory (B, T', E): tokens by CTC, then phones, where it has them."""
        return [self.to_ctc] if self.to_phones is None else [self.to_ctc, self.to_phones]

    def count_frames(self, frames: int) -> int:
        """Encoder frames T' of T feature frames."""
        return -(-frames // self.encoder.subsampling)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
