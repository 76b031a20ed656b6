"""What labels the frames of a recogniser in training: a small network that hears little, taught by its own alignments.

The classical start of a recogniser from whole clips and their texts, here with a network in place of Gaussian mixtures
(Rabiner, "A tutorial on hidden Markov models", 1989, Sec. VI; Young et al., "The HTK book", flat start): first the
phones of a text share its clip in equal parts, from then on each batch is aligned by what has been learned so far.

It hears an eighth of a second around a frame, too little to do anything but tell how a phone sounds. The recogniser
itself hears the whole clip and can learn any labels, wherever they are put: aligned by itself, half of the phones had
shrunk to a single frame after 9,000 steps, and its words had become worse since step 1,600.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from asr.alignment import align_phones, phone_likelihoods, pronunciation_graph
from asr.features import N_MELS
from asr.lexicon import PHONES, SILENCE, Pronunciation
from asr.losses import IGNORED, phone_loss
from training.distributed import is_first
from training.schedule import set_rate, warmup_cosine

WIDTH = 128
RATE, WARMUP = 2e-3, 20  # AdamW
CLIP = 5.0  # norm of the gradient
FRAMES = 2  # of the front end, 10 ms each, to a label
DECAY = 0.98  # of the counts of labels
QUIET = 0.3  # of the way from a clip's quiet frames to its loud ones, below which nobody speaks
# of the speech's frames, which have other labels than their texts would lead one to expect; a sound alignment has a
# quarter, since phones differ in length, one in which a few phones have swallowed the others more than half
MOST_UNEXPECTED = 0.4

Words = Sequence[Sequence[Pronunciation]]  # of a text, each with its pronunciations


class SpokenBatch(NamedTuple):
    """Clips and what is said in them."""

    features: Tensor  # (B, T, 80)
    frames: Sequence[int]  # of each clip; what is behind them is no sound
    texts: Sequence[Words]


class Aligner(nn.Module):
    """Log-mel features (B, T, 80) -> logits of the phone of every 20 ms (B, ceil(T / 2), P).

    BatchNorm keeps it from collapse while it teaches itself: with LayerNorm or none two phones swallowed the others
    after a hundred steps.
    """

    counts: Tensor  # (P,) of each phone among the labels

    def __init__(self, width: int = WIDTH):
        super().__init__()
        kernels, strides, sizes = (5, 3, 3), (FRAMES, 1, 1), (N_MELS, width, width)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, width, kernel, stride, kernel // 2)
            for size, kernel, stride in zip(sizes, kernels, strides, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in kernels)
        self.to_logits = nn.Conv1d(width, len(PHONES), 1)
        self.register_buffer("counts", torch.ones(len(PHONES)))

    def forward(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(F.relu(convolution(x)))
        return self.to_logits(x).transpose(1, 2)

    @torch.no_grad()
    def label(self, batch: SpokenBatch) -> Tensor:
        """The phones of a batch's frames (B, ceil(T / 2)), IGNORED behind the sound and where a text does not fit."""
        return self.aligned(self(batch.features), batch)

    def aligned(self, logits: Tensor, batch: SpokenBatch) -> Tensor:
        """The same by the logits (B, ceil(T / 2), P) of the batch."""
        log_prior = (self.counts / self.counts.sum()).log().cpu().numpy()
        log_probs = logits.detach().float().log_softmax(dim=-1).cpu().numpy()
        found = [
            align_phones(clip[: _labels_of(count)], pronunciation_graph(words))
            if words
            else np.full(_labels_of(count), SILENCE)
            for clip, count, words in zip(
                phone_likelihoods(log_probs, log_prior), batch.frames, batch.texts, strict=True
            )
        ]
        return _stacked(found, logits)


def train_aligner(
    batches: Iterable[SpokenBatch], steps: int, equal: int, device: torch.device | str = "cpu"
) -> Aligner:
    """An aligner that has learned for so many steps, a batch each, in the first `equal` of which the phones of a text
    have equal lengths. Says on the terminal how it went."""
    aligner = Aligner().to(device)
    optimizer = torch.optim.AdamW(aligner.parameters(), lr=RATE, weight_decay=1e-3)
    expected = torch.ones(
        len(PHONES)
    )  # counts of phones in the texts, which follow them as those of the labels do
    losses: list[float] = []
    for step, batch in enumerate(tqdm(batches, "aligner", total=steps, unit="step", disable=not is_first())):
        logits = aligner(batch.features)
        labels = equal_labels(logits, batch) if step < equal else aligner.aligned(logits, batch)
        counts = torch.bincount(labels[labels != IGNORED], minlength=len(PHONES)).float()
        loss = phone_loss(logits, labels) / counts.sum().clamp(min=1)
        set_rate(optimizer, RATE * warmup_cosine(step, steps, WARMUP))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(aligner.parameters(), CLIP)
        optimizer.step()
        aligner.counts.mul_(DECAY).add_(counts)
        phones = [phone for text in batch.texts for word in text for phone in word[0]]
        expected.mul_(DECAY).add_(
            torch.bincount(torch.tensor(phones, dtype=torch.long), minlength=len(PHONES))
        )
        losses = [*losses[-49:], loss.item()]
    if is_first():
        tell(aligner.counts.cpu(), expected, float(np.mean(losses)))
    return aligner.eval()


def tell(counts: Tensor, expected: Tensor, loss: float) -> None:
    """How an aligner has learned: counts (P,) of its labels and of the texts' phones, and the cross entropy, nats."""
    silence = counts[SILENCE] / counts.sum()
    found, wanted = (part[1:] / part[1:].sum() for part in (counts, expected))
    unexpected = float((found - wanted).clamp(min=0).sum())
    most = int((found - wanted).argmax())
    print(
        f"aligner: {loss:.2f} nats a frame, {100 * silence:.0f} % of the frames silence; of speech "
        f"{PHONES[1 + most]} has {100 * found[most]:.0f} %, of the texts {100 * wanted[most]:.0f} %"
    )
    if unexpected > MOST_UNEXPECTED:
        print(
            f"warning: {100 * unexpected:.0f} % of the labels of speech are not what its texts lead one to expect: the "
            "alignment may have collapsed; try more alignment.steps or more speech"
        )


def equal_labels(logits: Tensor, batch: SpokenBatch) -> Tensor:
    """Labels like those of `Aligner.label`, with equal lengths."""
    found = [
        equal_phones(clip[:count].mean(dim=1).cpu().numpy(), words)
        for clip, count, words in zip(*batch, strict=True)
    ]
    return _stacked(found, logits)


def equal_phones(loudness: np.ndarray, words: Words) -> np.ndarray:
    """Labels (ceil(T / 2),) of a clip in which the phones of its words, by their first pronunciations, share what is
    loud in equal parts: loudness (T,), in any unit."""
    count = _labels_of(len(loudness))
    labels = np.full(count, SILENCE)
    low, high = np.quantile(loudness, (0.05, 0.95))
    loud = np.flatnonzero(loudness >= low + QUIET * (high - low)) // FRAMES
    first, last = int(loud[0]), int(loud[-1]) + 1
    phones = np.array([phone for word in words for phone in word[0]], np.int64)
    if len(phones):
        labels[first:last] = phones[np.arange(last - first) * len(phones) // (last - first)]
    return labels


def _labels_of(frames: int) -> int:
    return -(-frames // FRAMES)


def _stacked(found: Sequence[np.ndarray | None], logits: Tensor) -> Tensor:
    """Labels of B clips -> (B, T), IGNORED where there are none."""
    labels = np.full(logits.shape[:2], IGNORED)
    for row, one in zip(labels, found, strict=True):
        if one is not None:
            row[: len(one)] = one
    return torch.from_numpy(labels).to(logits.device)
