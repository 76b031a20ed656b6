"""From posteriors to text: greedy, and a prefix beam search with a list of scorers; and when each token was spoken.

Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs", 2014,
Alg. 1, for the search over frames. Its best texts are scored anew by the attention decoder, all at once, as in Zhang et
al., "WeNet", 2021, Sec. 2.2; the joint score is that of Watanabe et al., "Hybrid CTC/Attention Architecture for
End-to-End Speech Recognition", 2017, Sec. III-C.
"""

from collections.abc import Sequence
from heapq import heapify, heappush, heapreplace
from math import exp, inf, log1p
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.decoder import Decoder
from asr.losses import attention_loss, ctc_loss
from asr.scorers import Weighted
from asr.tokenizer import BLANK, EDGE, SPECIAL

LEAST = -9.0  # log probability of the tokens that a frame may add
MOST_TOKENS = 32  # that a frame may add


class Hypothesis(NamedTuple):
    tokens: list[int]
    score: float  # the weighted sum of all that was asked, nats
    others: float = 0.0  # the part of it that the scorers gave


def greedy_ctc(log_probs: Tensor, is_pad: Tensor) -> list[list[int]]:
    """The best path's tokens: log_probs (B, T, V), is_pad (B, T) -> B lists of ids without blanks and repeats."""
    best = log_probs.argmax(dim=-1).masked_fill(is_pad, BLANK)  # (B, T)
    texts = []
    for path in best.tolist():
        merged = [token for token, before in zip(path, [BLANK, *path[:-1]], strict=True) if token != before]
        texts.append([token for token in merged if token not in (BLANK, EDGE)])
    return texts


class Prefix:
    """A text in the search: the node of a tree, whose states and score are made once."""

    __slots__ = ("children", "parent", "score", "states", "token")

    def __init__(self, parent: "Prefix | None", token: int, states: list[Any], score: float):
        self.parent, self.token, self.states, self.score = parent, token, states, score
        self.children: dict[int, Prefix] = {}

    def tokens(self) -> list[int]:
        found, node = [], self
        while node.parent is not None:
            found.append(node.token)
            node = node.parent
        return found[::-1]


def prefix_beam_search(
    log_probs: np.ndarray, scorers: Sequence[Weighted] = (), width: int = 8
) -> list[Hypothesis]:
    """The best texts of one clip, the best first, by CTC's log probability of the frames log_probs (T, V) and the
    weighted sum of the scorers.

    Of each frame the `width` best texts are kept. A text that is no best one is not asked for its scores: no token adds
    more than a scorer's `most`. Where blank is the likeliest in every frame, scorers, which know
    nothing of the sound, add no words to it.
    """
    scorers = [part for part in scorers if part.weight]
    root = Prefix(None, BLANK, [part.scorer.start() for part in scorers], 0.0)
    if scorers and (log_probs.argmax(axis=1) == BLANK).all():
        return [Hypothesis([], float(log_probs[:, BLANK].sum()))]
    most = sum(part.weight * part.scorer.most for part in scorers)
    beam = {
        root: (0.0, -inf)
    }  # log probability of its paths that end in blank, and of those in its last token
    for row, tokens in zip(log_probs.tolist(), _likely_tokens(log_probs), strict=True):
        beam = _next_beam(beam, row, tokens, scorers, width, most)
    found = []
    for node, (blank, token) in beam.items():
        others = node.score + sum(
            part.weight * part.scorer.end(state) for part, state in zip(scorers, node.states, strict=True)
        )
        found.append(Hypothesis(node.tokens(), _add(blank, token) + others, others))
    return sorted(found, key=lambda one: -one.score)


Beam = dict[Prefix, tuple[float, float]]


def _next_beam(
    beam: Beam, row: list[float], tokens: list[int], scorers: Sequence[Weighted], width: int, most: float
) -> Beam:
    """One frame further: row, the log probabilities of its tokens; tokens, those that it may add."""
    same: Beam = {}  # texts that stay, to which those that grow into them are added
    for node, (blank, token) in beam.items():
        again = token + row[node.token] if node.parent is not None else -inf
        same[node] = (_add(blank, token) + row[BLANK], again)
    grown: list[
        tuple[float, int, Prefix, int, float]
    ] = []  # at most so good, a number, from which text, by what
    for node, (blank, token) in beam.items():
        total = _add(blank, token) if tokens else 0.0
        for new in tokens:
            # after a blank alone can the same token begin anew
            mass = (blank if new == node.token else total) + row[new]
            child = node.children.get(new)
            if child in same:
                before = same[child]
                same[child] = (before[0], _add(before[1], mass))
            elif mass > -inf:
                bound = mass + (node.score + most if child is None else child.score)
                grown.append((-bound, len(grown), node, new, mass))
    ranked = [(_add(*parts) + node.score, node, parts) for node, parts in same.items()]
    best = [score for score, *_ in ranked]  # the `width` best scores so far
    heapify(best)
    for negative, _, node, new, mass in sorted(grown):
        if len(best) >= width and -negative <= best[0]:
            break
        child = node.children.get(new) or _grow(node, new, scorers)
        score = mass + child.score
        if len(best) < width:
            heappush(best, score)
        elif score > best[0]:
            heapreplace(best, score)
        else:
            continue
        ranked.append((score, child, (-inf, mass)))
    ranked.sort(key=lambda one: -one[0])
    return {node: parts for _, node, parts in ranked[:width]}


def _grow(node: Prefix, token: int, scorers: Sequence[Weighted]) -> Prefix:
    states, score = [], node.score
    for part, state in zip(scorers, node.states, strict=True):
        state, gain = part.scorer.extend(state, token)
        states.append(state)
        score += part.weight * gain
    node.children[token] = child = Prefix(node, token, states, score)
    return child


def _likely_tokens(log_probs: np.ndarray) -> list[list[int]]:
    """The tokens that each frame may add: (T, V) -> T lists of ids."""
    tokens = log_probs[:, len(SPECIAL) :]
    least = np.full((len(tokens), 1), LEAST)
    if tokens.shape[1] > MOST_TOKENS:
        least = np.maximum(least, np.partition(tokens, -MOST_TOKENS, axis=1)[:, -MOST_TOKENS, None])
    return [(np.flatnonzero(is_likely) + len(SPECIAL)).tolist() for is_likely in tokens >= least]


def _add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))"""
    if a < b:
        a, b = b, a
    return a if b == -inf else a + log1p(exp(b - a))


@torch.no_grad()
def joint_search(
    decoder: Decoder | None,
    memory: Tensor,
    ctc_logits: Tensor,
    is_pad: Tensor,
    width: int = 8,
    ctc_weight: float = 0.3,
    scorers: Sequence[Weighted] = (),
) -> list[Hypothesis]:
    """The text of each clip with the highest ctc_weight * CTC + (1 - ctc_weight) * attention + scorers, log
    probabilities, among the `width` best of CTC and scorers.

    memory (B, T, E), ctc_logits (B, T, V), is_pad (B, T). A clip's text does not depend on the others.
    """
    log_probs = ctc_logits.float().log_softmax(dim=-1)  # (B, T, V)
    frames = (~is_pad).sum(dim=1).tolist()
    rows = log_probs.cpu().numpy()
    lists = [prefix_beam_search(row[:n], scorers, width) for row, n in zip(rows, frames, strict=True)]
    chosen = []
    for clip, (found, n) in enumerate(zip(lists, frames, strict=True)):
        if ctc_weight < 1 and decoder is not None:
            found = rescore(decoder, memory[clip, :n], log_probs[clip, :n], found, ctc_weight)
        chosen.append(found[0])
    return chosen


def rescore(
    decoder: Decoder, memory: Tensor, log_probs: Tensor, hypotheses: Sequence[Hypothesis], ctc_weight: float
) -> list[Hypothesis]:
    """The texts of one clip by their joint score, the best first, each part of it exact: memory (T, E), CTC's log_probs
    (T, V)."""
    W, device = len(hypotheses), memory.device
    lengths = torch.tensor([len(one.tokens) for one in hypotheses], device=device)
    tokens = torch.zeros(W, int(lengths.max()), dtype=torch.long, device=device)
    for row, one in zip(tokens, hypotheses, strict=True):
        row[: len(one.tokens)] = torch.tensor(one.tokens, dtype=torch.long)
    is_pad = torch.zeros(W, len(memory), dtype=torch.bool, device=device)
    prompt = torch.cat([tokens.new_full((W, 1), EDGE), tokens], dim=1)
    attention = -attention_loss(decoder(prompt, memory[None], is_pad[:1]), tokens, lengths, smoothing=0.0)
    ctc = -ctc_loss(log_probs.expand(W, -1, -1), is_pad, tokens, lengths)
    joint = (ctc_weight * ctc + (1 - ctc_weight) * attention).tolist()
    found = [
        Hypothesis(one.tokens, score + one.others, one.others)
        for one, score in zip(hypotheses, joint, strict=True)
    ]
    return sorted(found, key=lambda one: -one.score)


def align(log_probs: Tensor, tokens: list[int]) -> list[tuple[int, int]] | None:
    """The frames [first, last] of each token on CTC's best path that spells `tokens`; None where none is possible.

    log_probs (T, V) of one clip. Viterbi over the blanks and tokens of Graves et al. 2006, Fig. 3.
    """
    repeats = sum(a == b for a, b in zip(tokens, tokens[1:], strict=False))
    T, L = len(log_probs), len(tokens)
    if not tokens or L + repeats > T:
        return None
    symbols = np.full(2 * L + 1, BLANK)
    symbols[1::2] = tokens
    emitted = log_probs.double().cpu().numpy()[:, symbols]  # (T, 2 L + 1)
    may_skip = np.zeros(2 * L + 1, bool)  # the blank between two tokens, where these differ
    may_skip[3::2] = symbols[3::2] != symbols[1:-2:2]
    score = np.full(2 * L + 1, -np.inf)
    score[:2] = emitted[0, :2]
    steps = np.zeros((T, 2 * L + 1), np.int8)
    for t in range(1, T):
        before = np.stack([score, np.full_like(score, -np.inf), np.full_like(score, -np.inf)])
        before[1, 1:] = score[:-1]
        before[2, 2:] = np.where(may_skip[2:], score[:-2], -np.inf)
        steps[t] = before.argmax(axis=0)
        score = before.max(axis=0) + emitted[t]
    at = 2 * L if score[-1] > score[-2] else 2 * L - 1
    spans: list[tuple[int, int]] = [(T, -1)] * L
    for t in range(T - 1, -1, -1):
        if at % 2:
            spans[at // 2] = (t, max(spans[at // 2][1], t))
        at -= int(steps[t, at])
    return spans
