"""The phones that a recogniser in training learns of its frames: aligned anew in every step by the network itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asr.alignment import align_phones, phone_likelihoods, pronunciation_graph, spread_phones
from asr.confidence import spoken_words
from asr.decode import align
from asr.lexicon import PHONES, SILENCE, Lexicon
from asr.losses import IGNORED
from asr.model import Outputs
from asr.tokenizer import Tokenizer
from core.errors import UserError
from core.fields import bounded


@dataclass
class Alignment:
    """Where the labels of frames come from, by the step of the training."""

    lexicon: str = ""  # a file of pronunciations; python -m training.lexicon makes one
    begin: int = bounded(2000, 0, 10**9)  # CTC alone before it, which finds the letters
    own: int = bounded(
        2500, 0, 10**9
    )  # from here on the phones are aligned by themselves, before by the letters


class FrameLabels:
    """Labels of a batch's frames, from what the network says of them."""

    def __init__(self, config: Alignment, texts: Iterable[str], tokenizer: Tokenizer):
        """texts: all that will be labelled. Raises UserError where the lexicon is missing or lacks a word of theirs."""
        if not config.lexicon:
            raise UserError(
                "model.phones=true needs pronunciations: set alignment.lexicon to a file that "
                "python -m training.lexicon makes"
            )
        self.config, self.tokenizer = config, tokenizer
        self.lexicon = Lexicon.load(config.lexicon)
        words = {word for text in texts for word in tokenizer.normalise(text).split()}
        if missing := sorted(words.difference(self.lexicon.words)):
            raise UserError(
                f"{config.lexicon} lacks {len(missing)} words of the transcripts ({', '.join(missing[:3])}); make it "
                "anew with python -m training.lexicon and the same sets"
            )

    def __call__(
        self,
        outputs: Outputs,
        texts: Sequence[str],
        tokens: Tensor,
        lengths: Tensor,
        log_prior: Tensor,
        step: int,
    ) -> Tensor | None:
        """Labels (B, T) of the phone logits (B, T, P), IGNORED for padding; None as long as there are none.

        texts: of the clips; one whose tokens (B, L) have the length 0 is silent.
        """
        if step < self.config.begin:
            return None
        assert outputs.phone_logits is not None
        logits = outputs.phone_logits.detach().float()
        posteriors = logits.log_softmax(dim=-1)
        likelihoods = phone_likelihoods(posteriors, log_prior).cpu().numpy()
        each = logits.shape[1] // outputs.ctc_logits.shape[1]
        frames = (~outputs.is_pad).sum(dim=1).tolist()
        labels = np.full(logits.shape[:2], IGNORED)
        by_letters = (
            outputs.ctc_logits.detach().float().log_softmax(dim=-1) if step < self.config.own else None
        )
        for clip, (count, text) in enumerate(zip(frames, texts, strict=True)):
            spelt = tokens[clip, : int(lengths[clip])].tolist()
            if not spelt:
                found: np.ndarray | None = np.full(count * each, SILENCE)
            elif by_letters is None:
                words = list(map(self.lexicon.pronunciations, self.tokenizer.normalise(text).split()))
                found = align_phones(likelihoods[clip, : count * each], pronunciation_graph(words))
            else:
                found = self._by_letters(by_letters[clip, :count], spelt, each)
            if found is not None:
                labels[clip, : len(found)] = found
        return torch.from_numpy(labels).to(logits.device)

    def _by_letters(self, log_probs: Tensor, tokens: list[int], each: int) -> np.ndarray | None:
        spans = align(log_probs, tokens)
        if spans is None:
            return None
        words = []
        for word in spoken_words([self.tokenizer.pieces[token] for token in tokens]):
            first, last = spans[word.tokens[0]][0], spans[word.tokens[-1]][1]
            words.append((self.lexicon.pronunciations(word.text)[0], first, last))
        return spread_phones(words, len(log_probs), each)


def label_counts(labels: Tensor | None) -> Tensor:
    """How often each phone is a label (P,)."""
    if labels is None:
        return torch.zeros(len(PHONES))
    return torch.bincount(labels[labels != IGNORED], minlength=len(PHONES)).float().cpu()
