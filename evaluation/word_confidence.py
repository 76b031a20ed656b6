"""Words that a recogniser hears in clips whose text is known: how sure it is of them, and whether they are right."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from metrics.confidence import words_right

if TYPE_CHECKING:
    from asr.recognizer import Recognizer
    from evaluation.sets import Clips


def compare_words(
    clips: "Clips", recognizer: "Recognizer", beam: int, progress: Callable[..., Iterable[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """The scores of all N words heard (N, scores), and whether they are right (N,)."""
    scores, is_right = [np.zeros((0, len(recognizer.score_names(beam))))], [np.zeros(0, bool)]
    for i in progress(range(len(clips.samples)), "hearing", len(clips.samples), 1):
        words, of_words = recognizer.words_with_scores(clips.samples[i], beam)
        scores.append(of_words)
        is_right.append(words_right(clips.texts[i], words))
    return np.concatenate(scores), np.concatenate(is_right)


def plain_confidences(scores: np.ndarray) -> np.ndarray:
    """What confidences (N,) are without a calibration: the mean probability of a word's tokens, or its phones."""
    from asr.confidence import SCORES

    return np.exp(scores[:, SCORES.index("likelihood")])  # the first of either kind
