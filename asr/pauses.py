"""Where a recording is silent: by the energy of windows of 25 ms against its loudest one.

This finds pauses in a quiet room, not speech in noise: noise that is louder than 1/50 of the speech counts as sound.
"""

import numpy as np

from asr.audio import QUIET, SAMPLE_RATE

STEP = SAMPLE_RATE // 40  # samples of a window, 25 ms
BELOW_LOUDEST = 0.02  # -34 dB: what is quieter than this part of the loudest window is a pause
LONG_SILENCE = 1.0  # seconds at either end: where there is more, ...
KEPT_SILENCE = 0.5  # ... this much is left
LONGEST_PIECE = 20.0  # seconds that are decoded at once; the trainings hear at most some 16
SHORTEST_PIECE = 4.0  # seconds


def loudness(samples: np.ndarray) -> np.ndarray:
    """The RMS (N,) of every whole window of samples (S,), 0 to 1; of all samples where they fill none."""
    if not len(samples):
        return np.zeros(1)
    count = max(len(samples) // STEP, 1)
    windows = samples[: count * STEP].reshape(count, -1) if len(samples) >= STEP else samples[None]
    return np.sqrt(np.square(windows, dtype=np.float64).mean(axis=1))


def trim(samples: np.ndarray) -> tuple[int, int]:
    """First and last sample (exclusive) of what is to be decoded: silence of over a second at an end is shortened."""
    levels = loudness(samples)
    loud = np.flatnonzero(levels >= max(BELOW_LOUDEST * levels.max(), QUIET))
    if not len(loud):
        return 0, len(samples)
    long, kept = (int(seconds * SAMPLE_RATE) for seconds in (LONG_SILENCE, KEPT_SILENCE))
    first, last = int(loud[0]) * STEP, min((int(loud[-1]) + 1) * STEP, len(samples))
    begin = first - kept if first > long else 0
    end = last + kept if len(samples) - last > long else len(samples)
    return begin, end


def split(samples: np.ndarray) -> list[tuple[int, int]]:
    """Pieces [first, last) of at most LONGEST_PIECE seconds that hold all sound of samples (S,), in their order.

    A recording that is longer is cut in the middle of its longest pauses, and where there is none, at its quietest
    place.
    """
    pieces = []
    left = [trim(samples)]
    while left:
        begin, end = left.pop()
        if end - begin <= LONGEST_PIECE * SAMPLE_RATE:
            pieces.append((begin, end))
            continue
        cut = begin + _best_cut(samples[begin:end])
        for first, last in ((cut, end), (begin, cut)):  # the earlier is the next to be looked at
            inner = trim(samples[first:last])
            left.append((first + inner[0], first + inner[1]))
    return pieces


def _best_cut(samples: np.ndarray) -> int:
    """The sample in the middle of the longest pause that leaves SHORTEST_PIECE seconds on either side."""
    levels = loudness(samples)
    margin = int(SHORTEST_PIECE * SAMPLE_RATE) // STEP
    inside = levels[margin:-margin]
    is_pause = inside < max(BELOW_LOUDEST * levels.max(), QUIET)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_pause, [False]]).astype(np.int8)))
    if len(edges):
        starts, ends = edges[::2], edges[1::2]
        longest = int((ends - starts).argmax())
        return (margin + int(starts[longest] + ends[longest]) // 2) * STEP
    return (margin + int(inside.argmin())) * STEP
