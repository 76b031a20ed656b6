"""The bidirectional LSTM (or GRU) that turns a caption into word and sentence features (AttnGAN, section 3.1)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from core.errors import UserError
from t2i.encoders.base import TextFeatures
from t2i.vocabulary import Vocabulary


def pad_captions(captions: Sequence[Sequence[int]], length: int | None = None) -> tuple[Tensor, Tensor]:
    """Word numbers of B captions -> ids (B, L), is_pad (B, L); L is the longest caption or `length`."""
    longest = length or max(len(caption) for caption in captions)
    ids = torch.zeros(len(captions), longest, dtype=torch.long)
    is_pad = torch.ones(len(captions), longest, dtype=torch.bool)
    for row, caption in enumerate(captions):
        ids[row, : len(caption)] = torch.tensor(caption, dtype=torch.long)
        is_pad[row, : len(caption)] = False
    return ids, is_pad


def encode_captions(vocabulary: Vocabulary, texts: Sequence[str], max_words: int) -> tuple[Tensor, Tensor]:
    """Sentences -> ids (B, L), is_pad (B, L). Raises UserError for a sentence without any known word."""
    encoded = [vocabulary.encode(text, max_words) for text in texts]
    for text, ids in zip(texts, encoded, strict=True):
        if not ids:
            found = f'"{text}" has no word that the model knows' if text.strip() else "the caption is empty"
            known = ", ".join(vocabulary.words[1:9])
            raise UserError(f"{found}; describe a bird in words such as: {known}")
    return pad_captions(encoded)


SENTENCES = ("last", "mean")
RNNS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class TextEncoder(nn.Module):
    """Embedding, dropout, one bidirectional recurrent layer."""

    def __init__(
        self,
        vocabulary_size: int,
        embedding: int = 256,
        word_width: int = 300,
        dropout: float = 0.5,
        sentence: str = "last",
        rnn: str = "lstm",
    ):
        """embedding: E, both directions together; sentence: "last", the two final hidden states (the paper), or
        "mean" of the words' features, brought to unit variance, which loses none of many named parts;
        rnn: "lstm" (the paper) or "gru"."""
        super().__init__()
        for name, value, choices in (("sentence", sentence, SENTENCES), ("rnn", rnn, tuple(RNNS))):
            if value not in choices:
                raise UserError(f'{name}="{value}" is unknown; choose one of {", ".join(choices)}')
        self.sentence, self.rnn, self.width = sentence, rnn, embedding
        self.embedding = nn.Embedding(vocabulary_size, word_width)
        self.dropout = nn.Dropout(dropout)
        # the module is named after its kind
        self.add_module(rnn, RNNS[rnn](word_width, embedding // 2, batch_first=True, bidirectional=True))
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    def forward(self, ids: Tensor, is_pad: Tensor) -> TextFeatures:
        """ids (B, L), is_pad (B, L), padding only at the end -> TextFeatures; word features are 0 at padding."""
        with torch.autocast(ids.device.type, enabled=False):  # the layer is small, and exact in float32
            embedded = self.dropout(self.embedding(ids))  # (B, L, word_width)
            lengths = (~is_pad).sum(1).cpu()
            packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
            outputs, state = self.get_submodule(self.rnn)(packed)
            words, _ = pad_packed_sequence(outputs, batch_first=True, total_length=ids.shape[1])  # (B, L, E)
            return self._features(words, is_pad, state)

    def encode_alone(self, ids: Tensor) -> TextFeatures:
        """ids (1, L) of one caption without padding -> TextFeatures, in operations that can be exported."""
        words, state = self.get_submodule(self.rnn)(self.embedding(ids))
        return self._features(words, torch.zeros_like(ids, dtype=torch.bool), state)

    def _features(self, words: Tensor, is_pad: Tensor, state: Any) -> TextFeatures:
        """words (B, L, E) and the last state of the recurrent layer -> TextFeatures."""
        if self.sentence == "mean":
            # DAMSM sees directions only; the generator's noise is of unit variance, so let the sentence be too
            mean = F.normalize(words.sum(1), dim=1) * words.shape[2] ** 0.5
            return TextFeatures(words, is_pad, mean)
        hidden = state[0] if self.rnn == "lstm" else state
        return TextFeatures(words, is_pad, hidden.transpose(0, 1).flatten(1))  # sentence (B, E)
