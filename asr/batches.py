"""Which clips go into which batch."""

from functools import lru_cache

import numpy as np

from asr.audio import SAMPLE_RATE
from core.errors import UserError


class BatchPlan:
    """Batches of clips of similar length, of at most `seconds` of sound each, padding included.

    The batch of a step is a function of (lengths, seconds, seed, weights, step) alone. In every epoch the clips are
    sorted by length, jittered by up to 10 % so that the company changes, cut into batches, and the batches shuffled,
    but for the first `sorted_epochs`, which go from short clips to long ones.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        seconds: float,
        seed: int,
        weights: np.ndarray | None = None,
        sorted_epochs: int = 0,
    ):
        """lengths (N,) in samples at 16 kHz; weights (N,): how often an epoch takes each clip, on average, 1 if None.

        Raises UserError where there is no clip, or one exceeds a batch.
        """
        if len(lengths) == 0:
            raise UserError("the training split has no clips; check data.root and data.train")
        self.lengths, self.limit, self.seed = np.asarray(lengths), int(seconds * SAMPLE_RATE), seed
        if self.lengths.max() > self.limit:
            raise UserError(
                f"the longest clip lasts {self.lengths.max() / SAMPLE_RATE:.1f} s, a batch holds {seconds:g} s: "
                "raise batch_seconds or lower data.max_seconds"
            )
        self.weights = np.ones(len(lengths)) if weights is None else weights
        self.sorted_epochs = sorted_epochs
        self.seconds = float((self.lengths * self.weights).sum()) / SAMPLE_RATE  # of an epoch, on average
        self._epoch = lru_cache(maxsize=2)(self._plan)
        self._first = [0]  # the first step of each epoch as far as known

    def batch(self, step: int) -> np.ndarray:
        """The clips (B,) of `step`."""
        while self._first[-1] <= step:
            self._first.append(self._first[-1] + len(self._epoch(len(self._first) - 1)))
        epoch = int(np.searchsorted(self._first, step, side="right")) - 1
        return self._epoch(epoch)[step - self._first[epoch]]

    def _plan(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([self.seed, epoch, 0])
        order = np.argsort(self.lengths * rng.uniform(0.9, 1.1, len(self.lengths)), kind="stable")
        if (self.weights != 1).any():
            times = np.floor(self.weights + rng.random(len(self.lengths))).astype(int)
            order = np.repeat(order, times[order])
        batches, start, longest = [], 0, 0
        for i, clip in enumerate(order):
            longest = max(longest, int(self.lengths[clip]))
            if longest * (i + 1 - start) > self.limit:
                batches.append(order[start:i])
                start, longest = i, int(self.lengths[clip])
        batches.append(order[start:])
        if epoch < self.sorted_epochs:
            return batches
        return [batches[i] for i in rng.permutation(len(batches))]
