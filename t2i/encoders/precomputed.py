"""Sentence features that came with a set, such as StackGAN's: its captions are looked up, no other text can be read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.errors import UserError
from t2i.encoders.char_cnn_rnn import plain


@dataclass
class GivenConfig:
    root: str  # of the set
    embedding: int = 1024  # E


class GivenSentences(nn.Module):
    """Stands in for a text encoder. It has no weights: a model folder names the set and does not hold the features."""

    def __init__(self, config: GivenConfig, texts: Sequence[str] = (), features: Tensor | None = None):
        """texts: K captions; features (K, E) float32, of each. Of captions that read alike the first one counts."""
        super().__init__()
        self.config = config
        self.features = torch.empty(0, config.embedding) if features is None else features
        self.rows: dict[str, int] = {}
        for row, text in enumerate(texts):
            self.rows.setdefault(plain(text), row)

    @property
    def checksum(self) -> str:
        """SHA-256 of the features, which stand where others have trained weights."""
        return hashlib.sha256(self.features.contiguous().numpy()).hexdigest()

    def forward(self, texts: Sequence[str]) -> Tensor:
        """B captions -> their features (B, E), on the CPU. Raises UserError for a text that is none of the set's."""
        for text in texts:
            if plain(text) not in self.rows:
                raise UserError(
                    f'"{text[:80]}" has no given feature: {self.config.root} has those of its own captions only; '
                    "train an encoder that reads any text (train_encoder.py encoder=char_cnn_rnn) and a painter with it"
                )
        return self.features[[self.rows[plain(text)] for text in texts]]
