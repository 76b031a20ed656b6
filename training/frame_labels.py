"""The phones that a recogniser in training learns of its frames, as an aligner that learns first puts them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.lexicon import PHONES, Lexicon
from asr.losses import IGNORED
from asr.tokenizer import Tokenizer
from core.errors import UserError
from core.fields import bounded
from training.aligner import AlignerTraining, Words


@dataclass
class Alignment:
    """Where the labels of frames come from."""

    lexicon: str = ""  # a file of pronunciations; python -m training.lexicon makes one
    steps: int = bounded(1200, 1, 10**9)  # in which the aligner learns, and the recogniser letters alone
    equal: int = bounded(60, 0, 10**9)  # of these, in which the phones of a text have equal lengths


class FrameLabels:
    """Labels of the frames of a training's batches."""

    def __init__(
        self,
        config: Alignment,
        texts: Iterable[str],
        tokenizer: Tokenizer,
        device: torch.device | str = "cpu",
    ):
        """texts: all that will be labelled. Raises UserError where the lexicon is missing or lacks a word of theirs."""
        if not config.lexicon:
            raise UserError(
                "model.phones=true needs pronunciations: set alignment.lexicon to a file that "
                "python -m training.lexicon makes"
            )
        self.config, self.tokenizer = config, tokenizer
        self.lexicon = Lexicon.load(config.lexicon)
        self.training = AlignerTraining(config.steps, config.equal, device)
        words = {word for text in texts for word in tokenizer.normalise(text).split()}
        if missing := sorted(words.difference(self.lexicon.words)):
            raise UserError(
                f"{config.lexicon} lacks {len(missing)} words of the transcripts ({', '.join(missing[:3])}); make it "
                "anew with python -m training.lexicon and the same sets"
            )

    def state_dict(self) -> dict[str, Any]:
        return self.training.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.training.load_state_dict(state)

    def has_labels(self, step: int) -> bool:
        """Whether the aligner has learned."""
        return step >= self.config.steps

    def __call__(
        self, features: Tensor, is_pad: Tensor, texts: Sequence[str], step: int, frames: int
    ) -> Tensor | None:
        """Labels (B, frames) of every 20 ms, IGNORED for padding; as long as the aligner learns, let it, and None.

        features (B, T, 80), without masks; is_pad (B, T); texts: of the clips, "" of one in which nobody speaks. All
        processes call this together, also one whose part of the batch is empty.
        """
        counts = (~is_pad).sum(dim=1).tolist()
        words = [self._words(text) for text in texts]
        features = features.masked_fill(is_pad[..., None], 0.0)
        if not self.has_labels(step):
            self.training.learn(features, counts, words, step)
            return None
        labels = self.training.label(features, counts, words)[:, :frames]
        return F.pad(labels, (0, frames - labels.shape[1]), value=IGNORED)

    def _words(self, text: str) -> Words:
        return [self.lexicon.pronunciations(word) for word in self.tokenizer.normalise(text).split()]


def label_counts(labels: Tensor | None) -> Tensor:
    """How often each phone is a label (P,)."""
    if labels is None:
        return torch.zeros(len(PHONES))
    return torch.bincount(labels[labels != IGNORED], minlength=len(PHONES)).float().cpu()
