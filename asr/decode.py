"""From posteriors to text: greedy, and a beam search over a list of scorers; and when each character was spoken.

Watanabe et al., "Hybrid CTC/Attention Architecture for End-to-End Speech Recognition", 2017, Sec. III and Alg. 2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.decoder import Decoder
from asr.scorers import Weighted
from asr.tokenizer import BLANK, EDGE


class Hypothesis(NamedTuple):
    tokens: list[int]
    score: float  # the weighted sum of the scorers, nats


def greedy_ctc(log_probs: Tensor, is_pad: Tensor) -> list[list[int]]:
    """The best path's tokens: log_probs (B, T, V), is_pad (B, T) -> B lists of ids without blanks and repeats."""
    best = log_probs.argmax(dim=-1).masked_fill(is_pad, BLANK)  # (B, T)
    texts = []
    for path in best.tolist():
        merged = [token for token, before in zip(path, [BLANK, *path[:-1]], strict=True) if token != before]
        texts.append([token for token in merged if token not in (BLANK, EDGE)])
    return texts


@torch.no_grad()
def beam_search(scorers: Sequence[Weighted], lengths: Tensor, width: int = 8) -> list[Hypothesis]:
    """The text of the highest weighted sum of scores that a beam of `width` finds, for each clip.

    lengths (B,): the most tokens of a clip's text, its frames. Where all scorers only fall as a text grows, a clip's
    search ends, exactly, when its best finished text scores no less than its best unfinished one; else at its length.
    A clip's text does not depend on the others.
    """
    scorers = [part for part in scorers if part.weight]
    falls = all(part.scorer.falls and part.weight > 0 for part in scorers)
    B, device = len(lengths), lengths.device
    states = [part.scorer.start(B, width) for part in scorers]
    is_dead = torch.ones(B, width, dtype=torch.bool, device=device)
    is_dead[:, 0] = False  # all hypotheses of a clip are the empty one: let only the first grow
    texts = torch.zeros(B, width, 0, dtype=torch.long, device=device)
    best = [Hypothesis([], -float("inf")) for _ in range(B)]
    for length in range(int(lengths.max()) + 1):
        scores = [part.weight * part.scorer.score(state) for part, state in zip(scorers, states, strict=True)]
        total = torch.stack(scores).sum(dim=0).view(B, width, -1)  # (B, W, V)
        total = total.masked_fill(is_dead[..., None], -torch.inf)
        total[..., BLANK] = -torch.inf
        ended, where = total[..., EDGE].max(dim=1)  # (B,)
        for clip, (score, row) in enumerate(zip(ended.tolist(), where.tolist(), strict=True)):
            if score > best[clip].score:
                best[clip] = Hypothesis(texts[clip, row].tolist(), score)
        total[..., EDGE] = -torch.inf
        total[lengths <= length] = -torch.inf  # no text has more characters than its clip has frames
        V = total.shape[-1]
        running, index = total.flatten(1).topk(width, dim=1)  # (B, W)
        if all(
            score == -torch.inf or (falls and best[clip].score >= score)
            for clip, score in enumerate(running[:, 0].tolist())
        ):
            break
        newest, parent, is_dead = index % V, index // V, running == -torch.inf
        rows = (torch.arange(B, device=device)[:, None] * width + parent).flatten()  # (B * W,)
        states = [
            part.scorer.extend(state, rows, newest.flatten())
            for part, state in zip(scorers, states, strict=True)
        ]
        texts = torch.cat([texts.flatten(0, 1)[rows].view(B, width, -1), newest[..., None]], dim=2)
    return best


@torch.no_grad()
def greedy_attention(decoder: Decoder, memory: Tensor, is_pad: Tensor) -> list[list[int]]:
    """The decoder's most likely character at every step until the end, or as many as there are frames.

    memory (B, T, E), is_pad (B, T) -> B lists of ids. CTC is not asked.
    """
    frames = (~is_pad).sum(dim=1)
    cache = decoder.start(memory, is_pad)
    newest = torch.full((len(memory), 1), EDGE, device=memory.device)
    steps = []
    is_done = torch.zeros_like(newest, dtype=torch.bool)  # (B, 1)
    for length in range(int(frames.max())):
        logits = decoder.step(newest, cache)  # (B, 1, V)
        logits[..., BLANK] = -torch.inf
        newest = logits.argmax(dim=-1)
        is_done = is_done | (newest == EDGE) | (frames[:, None] <= length)
        if is_done.all():
            break
        steps.append(newest.masked_fill(is_done, EDGE))
    texts = torch.cat(steps, dim=1).tolist() if steps else [[] for _ in memory]
    return [[token for token in text if token != EDGE] for text in texts]


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
