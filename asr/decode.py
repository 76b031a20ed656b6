"""From posteriors to text: greedy, and joint CTC/attention beam search.

Watanabe et al., "Hybrid CTC/Attention Architecture for End-to-End Speech Recognition", 2017, Sec. III and Alg. 2.
"""

from typing import NamedTuple

import torch
import torchaudio
from torch import Tensor

from asr.model import Decoder
from asr.tokenizer import BLANK, EDGE


class Hypothesis(NamedTuple):
    tokens: list[int]
    score: float  # w * log p_ctc + (1 - w) * log p_attention, nats


def greedy_ctc(log_probs: Tensor, is_pad: Tensor) -> list[list[int]]:
    """The best path's tokens: log_probs (B, T, V), is_pad (B, T) -> B lists of ids without blanks and repeats."""
    best = log_probs.argmax(dim=-1).masked_fill(is_pad, BLANK)  # (B, T)
    texts = []
    for path in best.tolist():
        merged = [token for token, before in zip(path, [BLANK, *path[:-1]], strict=True) if token != before]
        texts.append([token for token in merged if token not in (BLANK, EDGE)])
    return texts


class PrefixState(NamedTuple):
    """CTC's forward variables of N hypotheses over T frames, the first column being before any frame; logarithms."""

    ending: Tensor  # (N, T + 1): paths that spell the hypothesis and end with its last token
    blank: Tensor  # (N, T + 1): paths that spell it and end with a blank
    last: Tensor  # (N,): the last token, BLANK for the empty hypothesis


class PrefixScorer:
    """Log probability under CTC that a text begins with a hypothesis, for all its extensions at once.

    Alg. 2 of the paper runs over the frames in a loop. Its recursions are linear, so the sum over the frame at
    which the new token begins is one cumulative log-sum; in float64, since that subtracts large cumulative sums.
    """

    def __init__(self, log_probs: Tensor, is_pad: Tensor):
        """log_probs (B, T, V), is_pad (B, T)."""
        self.log_probs = log_probs.double().masked_fill(is_pad[..., None], 0.0)  # (B, T, V)
        self.is_pad = is_pad
        self.frames = (~is_pad).sum(dim=1)  # (B,)
        zero = torch.zeros_like(self.log_probs[:, :1])
        self.cumulated = torch.cat([zero, self.log_probs.cumsum(dim=1)], dim=1)  # (B, T + 1, V)

    def start(self, width: int) -> PrefixState:
        """`width` empty hypotheses a clip."""
        blank = self.cumulated[..., BLANK].repeat_interleave(width, dim=0)  # (N, T + 1)
        last = torch.full((len(blank),), BLANK, device=blank.device)
        return PrefixState(torch.full_like(blank, -torch.inf), blank, last)

    def score(self, state: PrefixState) -> Tensor:
        """Log probability of each hypothesis extended by each token; EDGE stands for its end -> (N, V)."""
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
        """The hypotheses parents (N,) of `state`, extended by tokens (N,)."""
        ending, blank, last = (part[parents] for part in state)
        clips = torch.arange(len(tokens), device=tokens.device) // (len(tokens) // len(self.frames))
        before = torch.where((tokens == last)[:, None], blank, torch.logaddexp(ending, blank))  # (N, T + 1)
        new_ending = _spread(before, self.cumulated[clips, :, tokens])
        return PrefixState(new_ending, _spread(new_ending, self.cumulated[clips, :, BLANK]), tokens)


def _spread(source: Tensor, cumulated: Tensor) -> Tensor:
    """x_t = (x_{t-1} + source_{t-1}) p_t with x_0 = 0, in logarithms, for all t: source, cumulated (N, T + 1)."""
    total = torch.logcumsumexp((source - cumulated)[:, :-1], dim=1) + cumulated[:, 1:]  # (N, T)
    return torch.cat([torch.full_like(total[:, :1], -torch.inf), total], dim=1)


@torch.no_grad()
def beam_search(
    decoder: Decoder,
    memory: Tensor,
    ctc_logits: Tensor,
    is_pad: Tensor,
    width: int = 8,
    ctc_weight: float = 0.3,
) -> list[Hypothesis]:
    """The text of the highest w * log p_ctc + (1 - w) * log p_attention that a beam of `width` finds, for each clip.

    memory (B, T, E), ctc_logits (B, T, V), is_pad (B, T) -> B hypotheses. Both terms only fall as a text grows, so
    a clip's search ends, exactly, when its best finished text scores no less than its best unfinished one.
    """
    B, V = len(memory), ctc_logits.shape[-1]
    scorer = PrefixScorer(ctc_logits.float().log_softmax(dim=-1), is_pad)
    cache, prefixes = decoder.start(memory, is_pad), scorer.start(width)
    device = memory.device
    attention = torch.full((B, width), -torch.inf, dtype=torch.float64, device=device)
    attention[:, 0] = 0.0  # all hypotheses of a clip are the empty one: let only the first grow
    newest = torch.full((B, width), EDGE, device=device)
    texts = torch.zeros(B, width, 0, dtype=torch.long, device=device)
    best = [Hypothesis([], -float("inf")) for _ in range(B)]
    for length in range(int(scorer.frames.max()) + 1):
        step = decoder.step(newest, cache).double().log_softmax(dim=-1)  # (B, W, V)
        grown = attention[..., None] + step
        total = (1 - ctc_weight) * grown
        if ctc_weight > 0:
            total = total + ctc_weight * scorer.score(prefixes).view(B, width, V)
        total = total.masked_fill((attention == -torch.inf)[..., None], -torch.inf)
        total[..., BLANK] = -torch.inf
        ended, where = total[..., EDGE].max(dim=1)  # (B,)
        for clip, (score, row) in enumerate(zip(ended.tolist(), where.tolist(), strict=True)):
            if score > best[clip].score:
                best[clip] = Hypothesis(texts[clip, row].tolist(), score)
        total[..., EDGE] = -torch.inf
        total[scorer.frames <= length] = -torch.inf  # no text has more characters than its clip has frames
        running, index = total.flatten(1).topk(width, dim=1)  # (B, W)
        if all(best[clip].score >= score for clip, score in enumerate(running[:, 0].tolist())):
            break
        newest, parent = index % V, index // V
        attention = grown.flatten(1).gather(1, index).masked_fill(running == -torch.inf, -torch.inf)
        rows = (torch.arange(B, device=device)[:, None] * width + parent).flatten()  # (B * W,)
        prefixes = scorer.extend(prefixes, rows, newest.flatten())
        cache.reorder(rows)
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

    log_probs (T, V) of one clip.
    """
    repeats = sum(a == b for a, b in zip(tokens, tokens[1:], strict=False))
    if not tokens or len(tokens) + repeats > len(log_probs):
        return None
    path, _ = torchaudio.functional.forced_align(
        log_probs[None].float().cpu(), torch.tensor([tokens]), blank=BLANK
    )
    spans: list[tuple[int, int]] = []
    before = BLANK
    for frame, token in enumerate(path[0].tolist()):
        if token != BLANK and token == before:
            spans[-1] = (spans[-1][0], frame)
        elif token != BLANK:
            spans.append((frame, frame))
        before = token
    return spans
