"""Scorers of a beam search: CTC, the attention decoder, and the interface for a language model or one of your own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from asr.decoder import Decoder, DecoderCache
from asr.tokenizer import BLANK, EDGE


class Scorer(Protocol):
    """Scores N = clips * width hypotheses, those of a clip being neighbours, and all their extensions by one token.

    The state is whatever the scorer has to remember of the hypotheses; it belongs to one search, so that one scorer
    may serve several at once.
    """

    falls: (
        bool  # whether no text scores more than its beginning, as with probabilities; ends a search earlier
    )

    def start(self, clips: int, width: int) -> Any:
        """The state of empty hypotheses."""
        ...

    def score(self, state: Any) -> Tensor:
        """The score of each hypothesis when extended by each token, of the whole text and in nats, EDGE standing for
        its end -> (N, V)."""
        ...

    def extend(self, state: Any, parents: Tensor, tokens: Tensor) -> Any:
        """The state of the hypotheses parents (N,), extended by tokens (N,); `score` was called before."""
        ...


class Weighted(NamedTuple):
    scorer: Scorer
    weight: float


class PrefixState(NamedTuple):
    """CTC's forward variables of N hypotheses over T frames, the first column being before any frame; logarithms."""

    ending: Tensor  # (N, T + 1): paths that spell the hypothesis and end with its last token
    blank: Tensor  # (N, T + 1): paths that spell it and end with a blank
    last: Tensor  # (N,): the last token, BLANK for the empty hypothesis


class CtcPrefixScorer:
    """Log probability under CTC that a text begins with a hypothesis, for all its extensions at once.

    Alg. 2 of the paper runs over the frames in a loop. Its recursions are linear, so the sum over the frame at
    which the new token begins is one cumulative log-sum; in float64, since that subtracts large cumulative sums.
    """

    falls = True

    def __init__(self, log_probs: Tensor, is_pad: Tensor):
        """log_probs (B, T, V), is_pad (B, T)."""
        self.log_probs = log_probs.double().masked_fill(is_pad[..., None], 0.0)  # (B, T, V)
        self.is_pad = is_pad
        self.frames = (~is_pad).sum(dim=1)  # (B,)
        zero = torch.zeros_like(self.log_probs[:, :1])
        self.cumulated = torch.cat([zero, self.log_probs.cumsum(dim=1)], dim=1)  # (B, T + 1, V)

    def start(self, clips: int, width: int) -> PrefixState:
        blank = self.cumulated[..., BLANK].repeat_interleave(width, dim=0)  # (N, T + 1)
        last = torch.full((len(blank),), BLANK, device=blank.device)
        return PrefixState(torch.full_like(blank, -torch.inf), blank, last)

    def score(self, state: PrefixState) -> Tensor:
        width = len(state.last) // len(self.frames)
        log_probs = self.log_probs.repeat_interleave(width, dim=0)  # (N, T, V)
        before = torch.logaddexp(state.ending, state.blank)[:, :-1]  # (N, T)
        is_pad = self.is_pad.repeat_interleave(width, dim=0)
        total = (
            (before[..., None] + log_probs).masked_fill(is_pad[..., None], -torch.inf).logsumexp(dim=1)
        )  # (N, V)
        rows = torch.arange(len(total), device=total.device)
        # after a blank alone can the same token begin anew
        again = state.blank[:, :-1] + log_probs[rows, :, state.last]  # (N, T)
        repeated = again.masked_fill(is_pad, -torch.inf).logsumexp(dim=1)
        total[rows, state.last] = torch.where(state.last == BLANK, -torch.inf, repeated)
        end = self.frames.repeat_interleave(width)
        total[:, EDGE] = torch.logaddexp(state.ending[rows, end], state.blank[rows, end])
        total[:, BLANK] = -torch.inf
        return total

    def extend(self, state: PrefixState, parents: Tensor, tokens: Tensor) -> PrefixState:
        ending, blank, last = (part[parents] for part in state)
        clips = torch.arange(len(tokens), device=tokens.device) // (len(tokens) // len(self.frames))
        before = torch.where((tokens == last)[:, None], blank, torch.logaddexp(ending, blank))  # (N, T + 1)
        new_ending = _spread(before, self.cumulated[clips, :, tokens])
        return PrefixState(new_ending, _spread(new_ending, self.cumulated[clips, :, BLANK]), tokens)


def _spread(source: Tensor, cumulated: Tensor) -> Tensor:
    """x_t = (x_{t-1} + source_{t-1}) p_t with x_0 = 0, in logarithms, for all t: source, cumulated (N, T + 1)."""
    total = torch.logcumsumexp((source - cumulated)[:, :-1], dim=1) + cumulated[:, 1:]  # (N, T)
    return torch.cat([torch.full_like(total[:, :1], -torch.inf), total], dim=1)


@dataclass
class AttentionState:
    cache: DecoderCache
    newest: Tensor  # (B, W)
    total: Tensor  # (B, W) float64: log probability of the hypotheses
    grown: Tensor | None = field(default=None)  # (B, W, V): of their extensions


class AttentionScorer:
    """Log probability of a text under the attention decoder."""

    falls = True

    def __init__(self, decoder: Decoder, memory: Tensor, is_pad: Tensor):
        """memory (B, T, E), is_pad (B, T)."""
        self.decoder, self.memory, self.is_pad = decoder, memory, is_pad

    def start(self, clips: int, width: int) -> AttentionState:
        newest = torch.full((clips, width), EDGE, device=self.memory.device)
        total = torch.zeros(clips, width, dtype=torch.float64, device=self.memory.device)
        return AttentionState(self.decoder.start(self.memory, self.is_pad), newest, total)

    def score(self, state: AttentionState) -> Tensor:
        step = self.decoder.step(state.newest, state.cache).double().log_softmax(dim=-1)  # (B, W, V)
        state.grown = state.total[..., None] + step
        return state.grown.flatten(0, 1)

    def extend(self, state: AttentionState, parents: Tensor, tokens: Tensor) -> AttentionState:
        assert state.grown is not None
        state.cache.reorder(parents)
        total = state.grown.flatten(0, 1)[parents].gather(1, tokens[:, None])  # (N, 1)
        return AttentionState(state.cache, tokens.view_as(state.newest), total.view_as(state.total))


def joint_scorers(
    decoder: Decoder,
    memory: Tensor,
    ctc_logits: Tensor,
    is_pad: Tensor,
    ctc_weight: float = 0.3,
    others: Sequence[Weighted] = (),
) -> list[Weighted]:
    """ctc_weight * CTC + (1 - ctc_weight) * attention (Watanabe et al. 2017, Sec. III-C), and `others`.

    memory (B, T, E), ctc_logits (B, T, V), is_pad (B, T).
    """
    ctc = CtcPrefixScorer(ctc_logits.float().log_softmax(dim=-1), is_pad)
    attention = AttentionScorer(decoder, memory, is_pad)
    return [Weighted(attention, 1 - ctc_weight), Weighted(ctc, ctc_weight), *others]
