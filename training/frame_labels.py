"""The phones that a recogniser in training learns of its frames, as an aligner that learns first puts them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.alignment import Graph, pronunciation_graph
from asr.lexicon import PHONES, Lexicon
from asr.losses import IGNORED
from asr.mmi import phone_trigrams
from asr.tokenizer import Tokenizer
from core.errors import UserError
from core.fields import bounded
from training.aligner import Aligner, SpokenBatch, Words, train_aligner


@dataclass
class Alignment:
    """Where the labels of frames come from."""

    lexicon: str = ""  # a file of pronunciations; python -m training.lexicon makes one
    steps: int = bounded(1200, 1, 10**9)  # of the aligner's training, before the recogniser's
    equal: int = bounded(60, 0, 10**9)  # of these, in which the phones of a text have equal lengths


class FrameLabels:
    """Labels of the frames of a training's batches."""

    def __init__(self, config: Alignment, texts: Sequence[str], tokenizer: Tokenizer):
        """texts: all that will be labelled. Raises UserError where the lexicon is missing or lacks a word of theirs."""
        if not config.lexicon:
            raise UserError(
                "model.phones=true needs pronunciations: set alignment.lexicon to a file that "
                "python -m training.lexicon makes"
            )
        self.config, self.tokenizer = config, tokenizer
        self.lexicon = Lexicon.load(config.lexicon)
        self.aligner = Aligner().eval()
        words = {word for text in texts for word in tokenizer.normalise(text).split()}
        if missing := sorted(words.difference(self.lexicon.words)):
            raise UserError(
                f"{config.lexicon} lacks {len(missing)} words of the transcripts ({', '.join(missing[:3])}); make it "
                "anew with python -m training.lexicon and the same sets"
            )
        self._texts = list(texts)

    def learn(
        self, batches: Iterable[tuple[Tensor, Tensor, Sequence[str]]], device: torch.device | str = "cpu"
    ) -> None:
        """Train the aligner; batches: features, is_pad and texts as they are labelled, one for each of its steps."""
        spoken = (self._spoken(*batch) for batch in batches)
        self.aligner = train_aligner(spoken, self.config.steps, self.config.equal, device)

    def __call__(self, features: Tensor, is_pad: Tensor, texts: Sequence[str], frames: int) -> Tensor:
        """Labels (B, frames) of every 20 ms, IGNORED for padding.

        features (B, T, 80), without masks; is_pad (B, T); texts: of the clips, "" of one in which nobody speaks.
        """
        labels = self.aligner.label(self._spoken(features, is_pad, texts))[:, :frames]
        return F.pad(labels, (0, frames - labels.shape[1]), value=IGNORED)

    @cached_property
    def trigrams(self) -> Tensor:
        """Of the phones of all texts, as `asr.mmi.phone_trigrams`."""
        return phone_trigrams(map(self._words, self._texts))

    def graphs(self, texts: Sequence[str]) -> list[Graph]:
        """The ways to say each text; "" is silence."""
        return [pronunciation_graph(self._words(text)) for text in texts]

    def _spoken(self, features: Tensor, is_pad: Tensor, texts: Sequence[str]) -> SpokenBatch:
        counts = (~is_pad).sum(dim=1).tolist()
        return SpokenBatch(
            features.masked_fill(is_pad[..., None], 0.0), counts, [self._words(text) for text in texts]
        )

    def _words(self, text: str) -> Words:
        return [self.lexicon.pronunciations(word) for word in self.tokenizer.normalise(text).split()]


def label_counts(labels: Tensor | None) -> Tensor:
    """How often each phone is a label (P,)."""
    if labels is None:
        return torch.zeros(len(PHONES))
    return torch.bincount(labels[labels != IGNORED], minlength=len(PHONES)).float().cpu()
