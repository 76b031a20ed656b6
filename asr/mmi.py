"""Lattice-free MMI: how much likelier a recording makes its own text than any other sequence of phones.

A classifier of frames learns each frame for itself, from labels of which many are a frame or two off. This criterion is
that of the search: the scores of all ways to say the text, summed, against those of all ways to say anything, where a
trigram of phones stands for the language (Povey et al., "Purely sequence-trained neural networks for ASR based on
lattice-free MMI", 2016; Hadian et al., "End-to-end speech recognition using lattice-free MMI", 2018). No alignment is
needed, and phones that are easily confused in their place are told apart rather than modelled.

Both sums are forward-backward passes (Rabiner 1989, Sec. III) whose states are phones with a loop on each, as in
`asr.lexicon_search`. They run on probabilities, rescaled in every frame.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from asr.alignment import Graph
from asr.lexicon import PHONES, SILENCE, Pronunciation

PAUSE = 0.2  # share of the gaps between words that are silences
DISCOUNT = 0.5  # of a count, absolute (Ney et al. 1994), what it leaves goes to the shorter context


class States(Protocol):
    """S states for each of B clips, and how they follow each other."""

    first: Tensor  # (B, S) where a clip may begin, 0 or 1
    last: Tensor  # (B, S) where it may end

    def forward(self, alpha: Tensor) -> Tensor:
        """Probabilities (B, S) of a frame -> of the next one, before what is heard in it."""
        ...

    def backward(self, beta: Tensor) -> Tensor:
        """The transpose of `forward`."""
        ...

    def of_states(self, phones: Tensor) -> Tensor:
        """Something of each phone (B, P) -> of each state (B, S)."""
        ...

    def of_phones(self, states: Tensor) -> Tensor:
        """Something of each state (T, B, S) -> its sum for each phone (T, B, P)."""
        ...


class TextStates:
    """The ways to say given texts: graphs of B clips (`asr.alignment.pronunciation_graph`), padded to the largest."""

    def __init__(self, graphs: Sequence[Graph], device: torch.device | str = "cpu"):
        B, S = len(graphs), max(len(graph.phones) for graph in graphs)
        K = max(graph.before.shape[1] for graph in graphs)
        phones, before = np.zeros((B, S), np.int64), np.full((B, S, K), S)
        first, last = np.zeros((B, S), np.float32), np.zeros((B, S), np.float32)
        for b, graph in enumerate(graphs):
            count, width = graph.before.shape
            phones[b, :count] = graph.phones
            before[b, :count, :width] = np.where(graph.before == count, S, graph.before)
            first[b, :count] = graph.first
            last[b, graph.last] = 1
        after = _reversed(before)
        self.phones, self.before, self.after = (
            torch.from_numpy(part).to(device)
            for part in (phones, before.reshape(B, -1), after.reshape(B, -1))
        )
        self.first, self.last = (torch.from_numpy(part).double().to(device) for part in (first, last))

    def forward(self, alpha: Tensor) -> Tensor:
        return _gathered(alpha, self.before)

    def backward(self, beta: Tensor) -> Tensor:
        return _gathered(beta, self.after)

    def of_states(self, phones: Tensor) -> Tensor:
        return phones.double().gather(1, self.phones)

    def of_phones(self, states: Tensor) -> Tensor:
        T, B, _ = states.shape
        found = states.new_zeros(T, B, len(PHONES))
        return found.scatter_add_(2, self.phones.expand(T, -1, -1), states)


def _gathered(values: Tensor, places: Tensor) -> Tensor:
    """The sum (B, S) of the values (B, S) at places (B, S * K), of which S is none."""
    B, S = values.shape
    padded = torch.cat([values, values.new_zeros(B, 1)], dim=1)
    return padded.gather(1, places).view(B, S, -1).sum(dim=2)


def _reversed(before: np.ndarray) -> np.ndarray:
    """Which states each may be reached from (B, S, K), S for none -> which may follow each (B, S, K')."""
    B, S, _ = before.shape
    b, state, k = np.nonzero(before < S)
    source = before[b, state, k]
    order = np.lexsort((state, source, b))
    group = (b * S + source)[order]
    starts = np.searchsorted(group, group)  # of each one's group
    rank = np.arange(len(group)) - starts
    after = np.full((B, S, int(rank.max()) + 1), S)
    after[b[order], source[order], rank] = state[order]
    return after


class PhoneLanguage:
    """Anything that may be said: a state for each pair of phones (P * P), the one before and the present one."""

    def __init__(self, trigrams: Tensor, clips: int):
        """trigrams (P, P, P) as `phone_trigrams` gives."""
        self.trigrams = trigrams.transpose(0, 1).contiguous()  # (present, before, next)
        self.reversed = self.trigrams.transpose(1, 2).contiguous()
        P = len(trigrams)
        first = trigrams.new_zeros(P, P)
        first[SILENCE] = trigrams[SILENCE, SILENCE]
        self.first = first.flatten().expand(clips, -1)
        self.last = torch.ones_like(self.first)

    def forward(self, alpha: Tensor) -> Tensor:
        B, P = len(alpha), len(self.trigrams)
        present = alpha.view(B, P, P).permute(2, 0, 1)  # (present, B, before)
        said = torch.bmm(present, self.trigrams)  # (present, B, next)
        return alpha + said.transpose(0, 1).reshape(B, -1)

    def backward(self, beta: Tensor) -> Tensor:
        B, P = len(beta), len(self.trigrams)
        following = beta.view(B, P, P).transpose(0, 1)  # (present, B, next)
        said = torch.bmm(following, self.reversed)  # (present, B, before)
        return beta + said.permute(1, 2, 0).reshape(B, -1)

    def of_states(self, phones: Tensor) -> Tensor:
        return phones.repeat(1, phones.shape[1])

    def of_phones(self, states: Tensor) -> Tensor:
        T, B, S = states.shape
        return states.view(T, B, S // len(PHONES), len(PHONES)).sum(dim=2)


def phone_trigrams(texts: Iterable[Sequence[Sequence[Pronunciation]]]) -> Tensor:
    """How likely each phone (SILENCE too) is after two: (P, P, P), axes before, present, next.

    texts: of each, the pronunciations of its words, of which the first counts. A text begins and ends in silence. A
    phone never follows itself: that is the loop. Interpolated by absolute discounting.
    """
    P = len(PHONES)
    counts = np.zeros((P, P, P))
    for words in texts:
        spoken = [np.array(pronunciations[0]) for pronunciations in words if pronunciations]
        if not spoken:
            continue
        # a gap is a silence or none: n-grams of the text without pauses, and of that with one in each gap
        silence = np.full(1, SILENCE)
        joined = np.concatenate([silence, silence, *spoken, silence])
        paused = np.concatenate([silence, *(part for word in spoken for part in (silence, word)), silence])
        for sequence, weight in ((joined, 1 - PAUSE), (paused, PAUSE)):
            np.add.at(counts, (sequence[:-2], sequence[1:-1], sequence[2:]), weight)
    counts[:, np.arange(P), np.arange(P)] = 0.0
    shorter = counts.sum(axis=(0, 1)) + 1.0
    shorter = np.broadcast_to(shorter / shorter.sum(), (P, P))
    for order in (counts.sum(axis=0), counts):
        total = order.sum(axis=-1, keepdims=True)
        taken = np.maximum(order - DISCOUNT, 0.0)
        left = np.where(total > 0, 1 - taken.sum(axis=-1, keepdims=True) / np.maximum(total, 1e-9), 1.0)
        shorter = taken / np.maximum(total, 1e-9) + left * shorter
    return torch.from_numpy(shorter).float()


class Passes(NamedTuple):
    total: Tensor  # (B,) log of the sum over all ways, nats; -inf where there is none
    occupancy: Tensor  # (T, B, P): the share of each phone in each frame, its gradient


@torch.no_grad()
def forward_backward(scores: Tensor, frames: Tensor, states: States) -> Passes:
    """Sum the ways through the states: scores (B, T, P) of each phone in each frame, nats; frames (B,) of each clip."""
    T = scores.shape[1]
    peaks = scores.amax(dim=2)  # (B, T)
    sounds = (scores - peaks[..., None]).exp()  # (B, T, P)
    emitted = [states.of_states(sounds[:, t]) for t in range(T)]  # (B, S) each
    alphas, total = [], peaks.new_zeros(len(scores), dtype=torch.float64)
    alpha = states.first
    for t in range(T):
        grown = (states.forward(alpha) if t else alpha) * emitted[t]
        mass = grown.sum(dim=1, keepdim=True)
        goes_on = frames[:, None] > t  # behind a clip's end all stays as it is
        alpha = torch.where(goes_on, _over(grown, mass), alpha)
        total += torch.where(goes_on, mass.double().log() + peaks[:, t : t + 1], 0.0)[:, 0]
        alphas.append(alpha)
    total += (alpha * states.last).sum(dim=1).double().log()
    betas, beta = [states.last], states.last
    for t in reversed(range(T - 1)):
        grown = states.backward(beta * emitted[t + 1])
        # scaled by what the ways through this frame sum to, whose states are those that matter
        beta = torch.where(
            frames[:, None] > t + 1, _over(grown, (alphas[t] * grown).sum(dim=1, keepdim=True)), beta
        )
        betas.append(beta)
    shares = torch.stack(alphas) * torch.stack(betas[::-1])  # (T, B, S)
    occupancy = states.of_phones(_over(shares, shares.sum(dim=2, keepdim=True)))
    occupancy *= (torch.arange(T, device=frames.device)[:, None] < frames)[..., None]
    return Passes(total, occupancy.to(scores.dtype))


def _over(values: Tensor, mass: Tensor) -> Tensor:
    """values / mass, 0 where there is none."""
    return values / mass.clamp(min=torch.finfo(mass.dtype).tiny)


class _LogSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores: Tensor, frames: Tensor, states: States) -> Tensor:
        total, occupancy = forward_backward(scores, frames, states)
        ctx.save_for_backward(occupancy)
        return total.to(scores.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (occupancy,) = ctx.saved_tensors
        return occupancy.transpose(0, 1) * gradient[:, None, None], None, None


def mmi_loss(scores: Tensor, frames: Tensor, graphs: Sequence[Graph], trigrams: Tensor) -> Tensor:
    """Log of what all phones make of a clip over what its text does, in nats, up to a constant of the text -> (B,).

    scores (B, T, P): of each phone in each frame, nats, as the search adds them; frames (B,); graphs: of the B texts;
    trigrams (P, P, P). A clip with fewer frames than its text has phones costs 0, and so does one that sounds some 700
    nats unlike its text.
    """
    said = _LogSum.apply(scores, frames, TextStates(graphs, scores.device))
    anything = _LogSum.apply(scores, frames, PhoneLanguage(trigrams, len(scores)))
    return torch.where(said.isfinite(), anything - said, torch.zeros_like(said))
