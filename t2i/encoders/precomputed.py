"""Sentence features that came with a set, such as StackGAN's: its captions are looked up, no other text can be read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from core.errors import UserError
from core.fields import bounded
from t2i.encoders.base import ConditionEncoder, TextFeatures, sentence_alone
from t2i.vocabulary import plain


@dataclass
class PrecomputedConfig:
    root: str  # of the set
    embedding: int = bounded(1024, 1, 16384)  # E


class PrecomputedSentences(ConditionEncoder):
    """Looks sentences up. It has no weights: a model folder names the set and does not hold the features.

    Given captions are all or nothing, and it is an error where they are nothing, so every text counts as known.
    """

    kind = "precomputed"
    config_class = PrecomputedConfig
    limits = "knows the captions of its set only, whose features are no part of this folder,"

    def __init__(self, config: PrecomputedConfig, texts: Sequence[str] = (), features: Tensor | None = None):
        """texts: K captions; features (K, E) float32, of each. Of captions that read alike the first one counts."""
        super().__init__(config)
        self.features: Tensor
        self.register_buffer("features", torch.empty(0, config.embedding, device="cpu"), persistent=False)
        self.rows: dict[str, int] = {}
        if features is not None:
            self.provide(texts, features)

    @classmethod
    def from_stored(cls, config: Any, vocabulary: Any, where: str, with_images: bool = True) -> Self:
        return cls(config)

    @property
    def data_root(self) -> str:
        return self.config.root

    def provide(self, texts: Sequence[str], features: Tensor) -> None:
        """texts: K captions; features (K, E). Raises UserError where they are not those that a painter learned from."""
        checksum = hashlib.sha256(features.contiguous().numpy().data).hexdigest()
        if self.checksum not in ("untrained", checksum):
            raise UserError(
                f"the features of {self.config.root} are not those that this model was trained with (SHA-256 "
                f"{checksum[:16]}, {self.checksum[:16]} was expected); restore that set"
            )
        self.features, self.checksum = features.to(self.features), checksum
        self.rows = {}
        for row, text in enumerate(texts):
            self.rows.setdefault(plain(text), row)

    def encode(self, inputs: Sequence[str]) -> TextFeatures:
        """B captions -> TextFeatures, words (B, 1, E). Raises UserError for a text that is none of the set's."""
        for text in inputs:
            if plain(text) not in self.rows:
                raise UserError(
                    f'"{text[:80]}" has no given feature: {self.config.root} has those of its own captions only; '
                    "train an encoder that reads any text (train_encoder.py encoder=char_cnn_rnn) and a painter with it"
                )
        return sentence_alone(self.features[[self.rows[plain(text)] for text in inputs]])

    def known(self, text: str, limit: int | None = None) -> list[str]:
        return [plain(text)]

    def unknown(self, text: str) -> list[str]:
        return []
