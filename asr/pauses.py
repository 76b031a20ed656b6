"""Where a recording is silent: by the energy of windows of 25 ms against its loudest one.

This finds pauses in a quiet room, not speech in noise: noise that is louder than 1/50 of the speech counts as sound.
"""

import numpy as np

from asr.audio import QUIET, SAMPLE_RATE

STEP = SAMPLE_RATE // 40  # samples of a window, 25 ms
BELOW_LOUDEST = 0.02  # -34 dB: what is quieter than this part of the loudest window is a pause
LONG_SILENCE = 1.0  # seconds at either end: where there is more, ...
KEPT_SILENCE = 0.5  # ... this much is left
SENTENCES = 8.0  # seconds: what lasts longer may be several sentences, and is cut in its ...
SENTENCE_PAUSE = 0.6  # ... pauses of so many seconds; single sentences are what recognisers are trained on
LONGEST_PIECE = 20.0  # seconds that are decoded at once, pause or not
SHORTEST_PIECE = 2.0  # seconds of a piece before it is trimmed


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

    What lasts longer than SENTENCES seconds is cut in the middle of its longest pause where that is one between
    sentences; what is still longer than LONGEST_PIECE in any pause, and where there is none, at its quietest place.
    """
    pieces = []
    left = [trim(samples)]
    while left:
        begin, end = left.pop()
        seconds = (end - begin) / SAMPLE_RATE
        cut, pause = _longest_pause(samples[begin:end]) if seconds > SENTENCES else (0, 0.0)
        if pause < SENTENCE_PAUSE and seconds <= LONGEST_PIECE:
            pieces.append((begin, end))
            continue
        cut += begin
        for first, last in ((cut, end), (begin, cut)):  # the earlier is the next to be looked at
            inner = trim(samples[first:last])
            left.append((first + inner[0], first + inner[1]))
    return pieces


def _longest_pause(samples: np.ndarray) -> tuple[int, float]:
    """The sample in the middle of the longest pause that leaves SHORTEST_PIECE seconds on either side, and how many
    seconds it lasts; where there is none, the quietest place and 0."""
    levels = loudness(samples)
    margin = int(SHORTEST_PIECE * SAMPLE_RATE) // STEP
    inside = levels[margin:-margin]
    is_pause = inside < max(BELOW_LOUDEST * levels.max(), QUIET)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_pause, [False]]).astype(np.int8)))
    if not len(edges):
        return (margin + int(inside.argmin())) * STEP, 0.0
    lengths = edges[1::2] - edges[::2]
    longest = int(lengths.argmax())
    middle = int(edges[2 * longest] + edges[2 * longest + 1]) // 2
    return (margin + middle) * STEP, float(lengths[longest] * STEP / SAMPLE_RATE)
