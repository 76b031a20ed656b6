"""Pictures between two sentences."""

from pathlib import Path

import pytest
import torch

from core.errors import UserError
from pipeline import SpeechToImage
from t2i.encoders.base import TextFeatures
from t2i.interpolation import MOST_STEPS, interpolate

ROOT = Path(__file__).resolve().parents[1]


def features(length: int, seed: int) -> TextFeatures:
    random = torch.Generator().manual_seed(seed)
    words = torch.randn(1, length, 4, generator=random)
    return TextFeatures(words, torch.zeros(1, length, dtype=torch.bool), torch.randn(1, 4, generator=random))


def attended(text: TextFeatures, query: torch.Tensor) -> torch.Tensor:
    """What a softmax over the words of one caption takes from them, (E,)."""
    return (text.words[0] @ query).softmax(0) @ text.words[0]


def test_a_step_attends_to_both_sentences_by_its_share():
    first, second, query = features(3, 0), features(5, 1), torch.tensor([0.3, -1.0, 0.5, 2.0])
    path = interpolate(first, second, 5)
    assert path[0] is first and path[-1] is second
    scores = [(text.words[0] @ query).exp() for text in (first, second)]
    for k, text in enumerate(path[1:-1], 1):
        share = k / 4
        weights = torch.cat([(1 - share) * scores[0], share * scores[1]])
        expected = weights / weights.sum() @ torch.cat([first.words[0], second.words[0]])
        torch.testing.assert_close(attended(text, query), expected)
        torch.testing.assert_close(text.sentence, (1 - share) * first.sentence + share * second.sentence)
        assert text.is_pad.shape == text.words.shape[:2] and not text.is_pad.any()


@pytest.mark.parametrize("steps", [-1, 0, 1, MOST_STEPS + 1])
def test_too_few_or_too_many_steps_are_refused(steps):
    with pytest.raises(UserError, match="2 to"):
        interpolate(features(1, 0), features(1, 1), steps)


@pytest.mark.parametrize("model", ["painted", "real"])
def test_the_ends_are_what_each_sentence_paints(model):
    bird = SpeechToImage.load(None, model)
    first, second = "a red bird with black wings", "this small bird is blue and has a white belly"
    between = bird.interpolate(first, second, steps=3, seed=5).images[-1]
    for image, text in ((between[0], first), (between[2], second)):
        assert torch.equal(image, bird.paint(text, [5]).images[-1][0])
    moved = [(between[1] - between[end]).abs().mean() for end in (0, 2)]
    assert all(0 < some < (between[0] - between[2]).abs().mean() for some in moved)
    with pytest.raises(UserError):
        SpeechToImage(None, None).interpolate(first, second)
