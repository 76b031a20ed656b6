"""Between two sentences: features that lead from one to the other."""

import torch

from core.errors import UserError
from t2i.encoders.base import TextFeatures

MOST_STEPS = 16  # as many words go into every step as both sentences have, times the steps


def interpolate(first: TextFeatures, second: TextFeatures, steps: int) -> list[TextFeatures]:
    """Two captions, a row each, without padding -> `steps` features of one row, the first and the last as given.

    The sentence goes straight from one to the other, as in StackGAN's and GAN-INT-CLS's figures. Words have no such
    line, for captions differ in length and order: a step of share k / n holds n - k copies of the words of the first
    and k of the second, so that a softmax over words gives each the same weight times that share.
    Raises UserError for less than two steps, or too many.
    """
    if not 2 <= steps <= MOST_STEPS:
        raise UserError(f"{steps} steps from one sentence to the other; 2 to {MOST_STEPS} can be made")
    n = steps - 1
    path = [first]
    for k in range(1, n):
        rows = [first] * (n - k) + [second] * k
        words, is_pad = (
            torch.cat([getattr(row, name) for row in rows], dim=1) for name in ("words", "is_pad")
        )
        path.append(TextFeatures(words, is_pad, torch.lerp(first.sentence, second.sentence, k / n)))
    return [*path, second]
