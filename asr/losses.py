"""The joint loss of CTC and attention, and what regularises CTC."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.model import Outputs
from asr.tokenizer import BLANK, EDGE
from core.errors import UserError
from core.fields import bounded

IGNORED = -100  # a label that counts for nothing
CTC_WEIGHT = 0.3  # of the loss, and of the search


@dataclass
class LossWeights:
    """What the losses count."""

    ctc: float = bounded(
        CTC_WEIGHT, 0.0, 1.0
    )  # Watanabe et al. 2017; the rest is attention, where there is a decoder
    phones: float = bounded(0.0, 0.0, 100.0)  # cross entropy of the phones of frames, beside all this
    mmi: float = bounded(0.0, 0.0, 100.0)  # lattice-free MMI of the phones (asr.mmi), beside all this
    smoothing: float = bounded(0.1, 0.0, 0.9)  # of the decoder's labels
    # CTC of the encoder's middle layer, of CTC in all (Lee and Watanabe 2021, "Intermediate Loss Regularization")
    intermediate: float = bounded(0.0, 0.0, 0.99)
    consistency: float = bounded(
        0.0, 0.0, 10.0
    )  # two views of a clip agree (`consistency_loss`); doubles the work


class JointLoss(NamedTuple):
    total: Tensor
    ctc: Tensor
    attention: Tensor
    consistency: Tensor
    phones: Tensor
    mmi: Tensor


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
    L = tokens.shape[1]
    target = F.pad(tokens, (0, 1), value=IGNORED)  # (B, L + 1)
    positions = torch.arange(L + 1, device=tokens.device)
    target = target.masked_fill(positions >= lengths[:, None], IGNORED)
    target = target.masked_fill(positions == lengths[:, None], EDGE)
    loss = F.cross_entropy(
        logits.float().transpose(1, 2),
        target,
        ignore_index=IGNORED,
        label_smoothing=smoothing,
        reduction="none",
    )
    return loss.sum(dim=1)


def phone_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the frames' phones, the sum over a batch, nats: logits (B, T, P), labels (B, T), IGNORED where a
    frame has none."""
    return F.cross_entropy(logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="sum")


def consistency_loss(logits: Tensor, is_pad: Tensor) -> Tensor:
    """How far two views of each clip are from each other, in nats (Yao et al. 2025, "CR-CTC", Eq. 5).

    logits (2 B, T, V), is_pad (2 B, T), the second view of a clip being B further on -> (B,): half the sum over frames
    of KL(first || second) + KL(second || first), each view being the target of the other, without a gradient.
    """
    first, second = logits.float().log_softmax(dim=-1).chunk(2)  # (B, T, V)
    total = torch.zeros_like(first[..., 0])  # (B, T)
    for view, target in ((first, second.detach()), (second, first.detach())):
        total = total + F.kl_div(view, target, log_target=True, reduction="none").sum(dim=-1)
    return 0.5 * total.masked_fill(is_pad.chunk(2)[0], 0.0).sum(dim=1)


def joint_loss(
    outputs: Outputs,
    tokens: Tensor,
    lengths: Tensor,
    weights: LossWeights | None = None,
    ends: Tensor | None = None,
    labels: Tensor | None = None,
    frames: Tensor | None = None,
    mmi: Tensor | None = None,
) -> JointLoss:
    """w * CTC + (1 - w) * attention (Watanabe et al. 2017, Eq. 12), and a share of consistency, each in nats per token.

    tokens (B, L), lengths (B,) -> scalars. With weights.consistency the batch is two views of each clip, the
    second B / 2 further on. ends: what to divide by where this is part of a batch, its tokens and an end for each text.
    labels (B, T): of the frames' phones, where they are known; frames: of the batch that have one. mmi (B,):
    of each clip, by `asr.mmi.mmi_loss`, where it is asked for.
    """
    weights = weights or LossWeights()
    ends = (lengths + 1).sum() if ends is None else ends

    def ctc_of(logits: Tensor) -> Tensor:
        return ctc_loss(logits, outputs.is_pad, tokens, lengths).sum() / ends

    ctc = ctc_of(outputs.ctc_logits)
    total_ctc = ctc
    if weights.intermediate:
        if outputs.middle_logits is None:
            raise UserError(
                f"loss.intermediate={weights.intermediate}: this encoder does not show its middle layer; set it to 0"
            )
        total_ctc = (1 - weights.intermediate) * ctc + weights.intermediate * ctc_of(outputs.middle_logits)
    attention = consistency = phones = sequences = torch.zeros_like(ctc)
    total = weights.ctc * total_ctc
    if outputs.logits is not None:
        attention = attention_loss(outputs.logits, tokens, lengths, weights.smoothing).sum() / ends
        total = total + (1 - weights.ctc) * attention
    if labels is not None:
        assert outputs.phone_logits is not None
        frames = (labels != IGNORED).sum() if frames is None else frames
        phones = phone_loss(outputs.phone_logits, labels) / frames
        total = total + weights.phones * phones
    if mmi is not None:
        sequences = mmi.sum() / ends
        total = total + weights.mmi * sequences
    if weights.consistency:
        # `ends` counts both views, the loss has one value for the two
        consistency = 2 * consistency_loss(outputs.ctc_logits, outputs.is_pad).sum() / ends
        total = total + weights.ctc * weights.consistency * consistency
    return JointLoss(total, ctc, attention, consistency, phones, sequences)
