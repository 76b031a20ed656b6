"""What labels the frames of a recogniser in training: a small network that hears little, taught by its own alignments.

The classical start of a recogniser from whole clips and their texts, here with a network in place of Gaussian mixtures
(Rabiner, "A tutorial on hidden Markov models", 1989, Sec. VI; Young et al., "The HTK book", flat start): first the
phones of a text share its clip in equal parts, from then on each batch is aligned by what has been learned so far.

It hears an eighth of a second around a frame, too little to do anything but tell how a phone sounds. The recogniser
itself hears the whole clip and can learn any labels, wherever they are put: aligned by itself, half of the phones had
shrunk to a single frame after 9,000 steps, and its words had become worse since step 1,600.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.alignment import align_phones, phone_likelihoods, pronunciation_graph
from asr.features import N_MELS
from asr.lexicon import PHONES, SILENCE, Pronunciation
from asr.losses import IGNORED, phone_loss
from training.distributed import sum_gradients, total
from training.schedule import set_rate, warmup_cosine

WIDTH = 128
RATE, WARMUP = 2e-3, 20  # AdamW
CLIP = 5.0  # norm of the gradient
FRAMES = 2  # of the front end, 10 ms each, to a label
DECAY = 0.98  # of the counts of labels
QUIET = 0.3  # of the way from a clip's quiet frames to its loud ones, below which nobody speaks

Words = Sequence[Sequence[Pronunciation]]  # of a text, each with its pronunciations


class Aligner(nn.Module):
    """Log-mel features (B, T, 80) -> logits of the phone of every 20 ms (B, ceil(T / 2), P)."""

    def __init__(self, width: int = WIDTH):
        super().__init__()
        kernels, strides, sizes = (5, 3, 3), (FRAMES, 1, 1), (N_MELS, width, width)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, width, kernel, stride, kernel // 2)
            for size, kernel, stride in zip(sizes, kernels, strides, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in kernels)
        self.to_logits = nn.Linear(width, len(PHONES))
        self.counts: Tensor
        self.register_buffer("counts", torch.ones(len(PHONES)))  # of each phone among the labels

    def forward(self, features: Tensor) -> Tensor:
        if not len(features):  # which convolutions refuse
            return features.new_zeros(0, 0, len(PHONES))
        x = features
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(F.relu(convolution(x.transpose(1, 2)).transpose(1, 2)))
        return self.to_logits(x)

    def likelihoods(self, logits: Tensor) -> np.ndarray:
        """Logits (..., P) -> how likely the sound is under each phone, nats, up to a constant of the frame."""
        log_prior = (self.counts / self.counts.sum()).log().cpu().numpy()
        return phone_likelihoods(logits.detach().float().log_softmax(dim=-1).cpu().numpy(), log_prior)


class AlignerTraining:
    """An aligner and what trains it."""

    def __init__(self, steps: int, equal: int, device: torch.device | str = "cpu"):
        """steps: of the training; equal: of these, in which phones have equal lengths."""
        self.steps, self.equal = steps, equal
        self.aligner = Aligner().to(device)
        self.optimizer = torch.optim.AdamW(self.aligner.parameters(), lr=RATE, weight_decay=1e-3)

    def state_dict(self) -> dict:
        return {"aligner": self.aligner.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.aligner.load_state_dict(state["aligner"])
        self.optimizer.load_state_dict(state["optimizer"])

    def learn(self, features: Tensor, frames: Sequence[int], texts: Sequence[Words], step: int) -> Tensor:
        """One step on this process's part of a batch, which may be empty: features (B, T, 80), of which the first
        `frames` are sound -> the mean cross entropy of its labels, nats."""
        logits = self.aligner(features)
        if step < self.equal:
            found = [
                equal_phones(clip[:count].mean(dim=1).cpu().numpy(), words)
                for clip, count, words in zip(features, frames, texts, strict=True)
            ]
            labels = _stacked(found, logits)
        else:
            labels = self._aligned(logits, frames, texts)
        counts = total(torch.bincount(labels[labels != IGNORED], minlength=len(PHONES)).float())
        loss = phone_loss(logits, labels) / counts.sum().clamp(min=1)
        if not len(features):  # the others have this batch's clips
            loss = torch.stack([parameter.sum() for parameter in self.aligner.parameters()]).sum() * 0.0
        set_rate(self.optimizer, RATE * warmup_cosine(step, self.steps, WARMUP))
        self.optimizer.zero_grad()
        loss.backward()
        sum_gradients(self.aligner.parameters())
        nn.utils.clip_grad_norm_(self.aligner.parameters(), CLIP)
        self.optimizer.step()
        self.aligner.counts.mul_(DECAY).add_(counts)
        return loss.detach()

    @torch.no_grad()
    def label(self, features: Tensor, frames: Sequence[int], texts: Sequence[Words]) -> Tensor:
        """The phones of a batch's frames (B, ceil(T / 2)), IGNORED behind the sound and where a text does not fit:
        features (B, T, 80), of which the first `frames` are sound."""
        return self._aligned(self.aligner(features), frames, texts)

    def _aligned(self, logits: Tensor, frames: Sequence[int], texts: Sequence[Words]) -> Tensor:
        likelihoods = self.aligner.likelihoods(logits)
        found = [
            align_phones(clip[: _labels_of(count)], pronunciation_graph(words))
            if words
            else np.full(_labels_of(count), SILENCE)
            for clip, count, words in zip(likelihoods, frames, texts, strict=True)
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
