"""The joint loss of CTC and attention."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.tokenizer import BLANK, EDGE


class JointLoss(NamedTuple):
    total: Tensor
    ctc: Tensor
    attention: Tensor


def ctc_loss(logits: Tensor, is_pad: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Negative log probability of each text under CTC (Graves et al. 2006), in nats.

    logits (B, T, V), is_pad (B, T), tokens (B, L), lengths (B,) in tokens -> (B,). A text that cannot fit into its
    frames costs 0 rather than infinity.
    """
    log_probs = logits.float().log_softmax(dim=-1).transpose(0, 1)  # (T, B, V)
    frames = (~is_pad).sum(dim=1)
    return F.ctc_loss(log_probs, tokens, frames, lengths, blank=BLANK, reduction="none", zero_infinity=True)


def attention_loss(logits: Tensor, tokens: Tensor, lengths: Tensor, smoothing: float) -> Tensor:
    """Cross entropy of each text and its end under the decoder, in nats, with label smoothing.

    logits (B, L + 1, V), tokens (B, L), lengths (B,) -> (B,).
    """
    ignored = -100
    L = tokens.shape[1]
    target = F.pad(tokens, (0, 1), value=ignored)  # (B, L + 1)
    positions = torch.arange(L + 1, device=tokens.device)
    target = target.masked_fill(positions >= lengths[:, None], ignored)
    target = target.masked_fill(positions == lengths[:, None], EDGE)
    loss = F.cross_entropy(
        logits.float().transpose(1, 2),
        target,
        ignore_index=ignored,
        label_smoothing=smoothing,
        reduction="none",
    )
    return loss.sum(dim=1)


def joint_loss(
    ctc_logits: Tensor,
    is_pad: Tensor,
    logits: Tensor,
    tokens: Tensor,
    lengths: Tensor,
    ctc_weight: float = 0.3,
    smoothing: float = 0.1,
) -> JointLoss:
    """w * CTC + (1 - w) * attention (Watanabe et al. 2017, Eq. 12), each in nats per character of the batch.

    ctc_logits (B, T, V), is_pad (B, T), logits (B, L + 1, V), tokens (B, L), lengths (B,) -> three scalars.
    """
    ends = (lengths + 1).sum()  # characters, and an end for each text
    ctc = ctc_loss(ctc_logits, is_pad, tokens, lengths).sum() / ends
    attention = attention_loss(logits, tokens, lengths, smoothing).sum() / ends
    return JointLoss(ctc_weight * ctc + (1 - ctc_weight) * attention, ctc, attention)
