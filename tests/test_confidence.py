"""Confidence of words: from pieces, from whole distributions, calibrated, and how its quality is measured."""

import numpy as np
import pytest

from asr.audio import load_audio
from asr.confidence import (
    SCORES,
    Calibration,
    SpokenWord,
    certainty,
    fit_calibration,
    spoken_words,
    word_scores,
)
from asr.recognizer import Recognizer
from core.errors import UserError
from core.files import read_json
from metrics.confidence import confidence_quality, words_right


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (["a", " ", "b", "c"], [SpokenWord("a", [0]), SpokenWord("bc", [2, 3])]),
        (
            [" a", " b", "c", "d e"],
            [SpokenWord("a", [0]), SpokenWord("bcd", [1, 2, 3]), SpokenWord("e", [3])],
        ),
        ([" ", " ", "a", " "], [SpokenWord("a", [2])]),
        (["", " "], []),
        ([], []),
    ],
)
def test_words_are_found_among_pieces(pieces, words):
    assert spoken_words(pieces) == words


def test_certainty_is_that_of_the_whole_distribution():
    sure, even = np.array([1.0, 0.0, 0.0, 0.0]), np.full(4, 0.25)
    assert certainty(np.log(np.maximum(sure, 1e-30))) == pytest.approx(1.0, abs=1e-5)
    assert certainty(np.log(even)) == pytest.approx(0.0, abs=1e-6)
    # the same largest probability, and less certain where the rest is spread
    spread, one = np.log([[0.7, 0.1, 0.1, 0.1], [0.7, 0.3, 1e-30, 1e-30]])
    assert certainty(spread) < certainty(one)
    # Tsallis, alpha 1/3, exponential normalisation, by hand
    entropy = (0.7 ** (1 / 3) + 3 * 0.1 ** (1 / 3) - 1) * 1.5
    most = (4 ** (2 / 3) - 1) * 1.5
    expected = (np.exp(-entropy) - np.exp(-most)) / (1 - np.exp(-most))
    assert certainty(spread) == pytest.approx(expected, rel=1e-4)


def test_scores_fall_where_a_model_wavers():
    """Two words of a token each; CTC hears the second as another token, attention is undecided between both."""
    ctc = np.full((4, 4), 0.01)
    for frame, token in enumerate((2, 0, 3, 0)):
        ctc[frame, token] = 0.97
    ctc[2] = [0.01, 0.01, 0.58, 0.40]
    attention = np.array([[0.01, 0.01, 0.97, 0.01], [0.01, 0.01, 0.47, 0.51], [0.01, 0.97, 0.01, 0.01]])
    words = [SpokenWord("a", [0]), SpokenWord("b", [1])]
    likelihoods = [np.log(0.97), np.log(0.45)]
    scores = word_scores(np.log(ctc), [(0, 0), (2, 2)], np.log(attention), [2, 3], words, likelihoods)
    assert scores.shape == (2, len(SCORES))
    first, second = (dict(zip(SCORES, row, strict=True)) for row in scores)
    for name in ("likelihood", "worst", "ctc", "attention", "agreement"):
        assert first[name] > second[name], name
    assert first["agreement"] == 1 and second["agreement"] == 0 and first["piece"] == second["piece"]


def test_a_calibration_is_fitted_and_comes_back():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((4000, len(SCORES)))
    chance = 1 / (1 + np.exp(-(1.5 * scores[:, 0] - 0.5 * scores[:, 3] + 1)))
    is_right = rng.random(4000) < chance
    fitted = fit_calibration(scores, is_right)
    assert np.abs(fitted(scores) - chance).mean() < 0.02
    quality = confidence_quality(fitted(scores), is_right)
    assert quality.ece < 0.03 and quality.nce > 0.15 and quality.auroc > 0.75
    again = Calibration.from_json(fitted.as_json(), "config.json")
    assert again is not None and np.array_equal(again(scores), fitted(scores))
    assert Calibration.from_json({}, "config.json") is None
    with pytest.raises(UserError, match="config.json: confidence should hold the numbers bias, likelihood"):
        Calibration.from_json({"bias": 1.0}, "config.json")
    with pytest.raises(UserError, match="all of 5 words are right"):
        fit_calibration(scores[:5], np.ones(5, bool))


def test_quality_of_confidences_is_as_defined():
    confidences, is_right = np.array([0.95, 0.95, 0.55, 0.05]), np.array([True, True, False, False])
    quality = confidence_quality(confidences, is_right)
    assert quality.auroc == 1.0 and quality.words == 4 and quality.right == 0.5
    assert quality.ece == pytest.approx((2 * 0.05 + 0.55 + 0.05) / 4)
    cross = -(2 * np.log(0.95) + np.log(0.45) + np.log(0.95)) / 4
    assert quality.nce == pytest.approx(1 - cross / np.log(2))
    assert confidence_quality(np.full(4, 0.5), is_right).nce == pytest.approx(0.0)
    with pytest.raises(ValueError, match="all of 2 words are right"):
        confidence_quality(np.ones(2), np.ones(2, bool))


def test_right_words_are_those_that_stand_in_the_reference():
    heard = ["a", "blue", "bid", "that", "flies"]
    assert words_right("A small, BLUE bird that flies.", heard).tolist() == [True, True, False, True, True]
    assert words_right("a bird", []).tolist() == [] and words_right("", ["a"]).tolist() == [False]


def test_a_calibrated_recogniser_says_what_its_calibration_does(root, tmp_path):
    """Saved with the model, loaded with it; texts and times are those of the uncalibrated one."""
    from evaluation.calibrate import save

    plain = Recognizer.load(root / "weights" / "recognizer")
    plain.calibration = None
    folder = plain.save(tmp_path / "model", "# card\n", half=False)
    numbers = {"bias": 0.3} | {name: 0.1 * i for i, name in enumerate(plain.score_names(1))}
    save(folder, numbers)
    assert read_json(folder / "config.json")["config"]["confidence"] == numbers
    calibrated = Recognizer.load(folder)
    clip = load_audio(root / "samples" / "blue_bird.ogg")
    before, after = plain.transcribe(clip, beam=1), calibrated.transcribe(clip, beam=1)
    words, scores = calibrated.words_with_scores(clip, beam=1)
    assert after.text == before.text == " ".join(words)
    assert [(w.start, w.end) for w in after.words] == [(w.start, w.end) for w in before.words]
    assert [w.confidence for w in after.words] == calibrated.calibration(scores).tolist()
    assert [w.confidence for w in before.words] == np.exp(scores[:, 0]).tolist()
    assert min(w.confidence for w in after.words) < after.confidence < max(w.confidence for w in after.words)
    assert Recognizer.load(calibrated.save(tmp_path / "again", "#")).calibration.as_json() == numbers


def test_several_sets_are_given_by_several_options():
    from evaluation.calibrate import _one_set_each

    assert _one_set_each(["--speech", "a", "--beam", "2", "--speech=b"]) == [
        ["--beam", "2", "--speech", "a"], ["--beam", "2", "--speech=b"],
    ]  # fmt: skip
    assert _one_set_each(["--beam", "2"]) == [["--beam", "2"]]
