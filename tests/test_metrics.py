"""Scores against known answers and against torchmetrics."""

import numpy as np
import pytest
import torch

from metrics.bootstrap import ratio_interval
from metrics.cer import character_error_rate
from metrics.colour_edits import colour_edits
from metrics.coverage import manifold
from metrics.error_rates import normalise
from metrics.fid import frechet_distance
from metrics.inception_score import inception_score
from metrics.kid import kernel_distance, squared_mmd
from metrics.linear_classifier import fit
from metrics.part_colours import part_colour_accuracy
from metrics.r_precision import r_precision
from metrics.retrieval import chance, retrieval
from metrics.stage_agreement import stage_agreement
from metrics.variety import mean_pairwise_distance
from metrics.wer import word_error_rate


def features(seed: int, n: int = 300, d: int = 16) -> np.ndarray:
    """Correlated features (n, d) whose mean and covariance depend on the seed."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


# Inception Score


def test_inception_score_of_uniform_predictions_is_1():
    assert inception_score(np.full((50, 7), 1 / 7)) == pytest.approx((1, 0))


def test_inception_score_of_certain_and_balanced_predictions_is_the_number_of_classes():
    assert inception_score(np.tile(np.eye(7), (5, 1)), splits=1)[0] == pytest.approx(7)


def test_inception_score_shuffles_data_sorted_by_class():
    by_class = np.repeat(np.eye(10), 100, axis=0)  # unshuffled, each split would hold one class and score 1
    assert inception_score(by_class, splits=10)[0] > 9
    assert inception_score(by_class, seed=3) == inception_score(by_class, seed=3)


def test_inception_score_is_that_of_torchmetrics(monkeypatch):
    inception = pytest.importorskip("torchmetrics.image.inception")
    logits = torch.randn(103, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    order = torch.from_numpy(np.random.default_rng(5).permutation(100))
    monkeypatch.setattr(torch, "randperm", lambda n: order)  # its shuffle is replaced by ours
    metric = inception.InceptionScore(feature=torch.nn.Identity(), splits=10)
    metric.set_dtype(torch.float64)
    metric.update(logits[:100])
    mean, std = (float(value) for value in metric.compute())
    ours = inception_score(logits[:100].softmax(dim=1).numpy(), splits=10, seed=5)
    assert ours[0] == pytest.approx(mean, rel=1e-6)
    assert ours[1] * np.sqrt(10 / 9) == pytest.approx(std, rel=1e-5)  # theirs divides by splits - 1


@pytest.mark.parametrize("bad", [np.ones((3, 2)) / 2, np.ones((20, 2)), np.ones(20)])
def test_inception_score_refuses_what_is_not_enough_distributions(bad):
    with pytest.raises(ValueError):
        inception_score(bad, splits=10)


# Frechet distance


def test_frechet_distance_with_equal_covariances_is_the_squared_distance_of_means():
    a = features(0)
    shift = np.linspace(-1, 2, a.shape[1])
    assert frechet_distance(a, a + shift) == pytest.approx(np.square(shift).sum(), rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_one_dimension_is_the_closed_form():
    a, b = features(1, d=1), features(2, n=200, d=1)
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_frechet_distance_is_that_of_torchmetrics():
    fid = pytest.importorskip("torchmetrics.image.fid")
    a, b = features(3), features(4, n=250)
    statistics = [torch.from_numpy(np.ascontiguousarray(s)) for x in (a, b) for s in (x.mean(0), np.cov(x.T))]
    assert frechet_distance(a, b) == pytest.approx(float(fid._compute_fid(*statistics)), rel=1e-8)


def test_frechet_distance_of_fewer_images_than_dimensions_is_that_of_the_matrix_root():
    from scipy.linalg import sqrtm

    a, b = features(5, n=12, d=40), features(6, n=300, d=40)
    root = sqrtm(sqrtm(np.cov(b.T)) @ np.cov(a.T) @ sqrtm(np.cov(b.T)))
    expected = (
        np.square(a.mean(0) - b.mean(0)).sum() + np.trace(np.cov(a.T) + np.cov(b.T)) - 2 * np.trace(root).real
    )
    assert frechet_distance(a, b) == pytest.approx(
        expected, rel=1e-4
    )  # sqrtm loses digits on a singular matrix
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_distances_do_not_depend_on_the_order_or_the_float_type():
    a, b = features(7).astype(np.float32), features(8).astype(np.float32)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(a[::-1], b.astype(np.float64)), rel=1e-9)
    assert squared_mmd(a.astype(np.float64), b) == pytest.approx(
        squared_mmd(a[::-1].astype(np.float64), b), rel=1e-9
    )


@pytest.mark.parametrize("bad", [np.zeros((1, 3)), np.zeros((5, 4)), np.full((5, 3), np.nan)])
def test_frechet_distance_refuses_unfit_features(bad):
    with pytest.raises(ValueError):
        frechet_distance(bad, features(0, d=3))


# kernel distance


def test_kernel_distance_is_that_of_torchmetrics():
    kid = pytest.importorskip("torchmetrics.image.kid")
    a, b = features(9, n=120), features(10, n=120)
    expected = float(kid.poly_mmd(torch.from_numpy(a), torch.from_numpy(b)))
    assert squared_mmd(a, b) == pytest.approx(expected, rel=1e-9)
    # a subset of everything is the estimate of everything, whatever the draw
    assert kernel_distance(a, b, subsets=3, subset_size=120) == pytest.approx(
        (expected, 0), rel=1e-9, abs=1e-9
    )


def test_kernel_distance_is_unbiased_near_zero_for_one_distribution_and_grows_with_a_shift():
    a, b = features(11, n=2000), features(11, n=2000)[::-1]
    same, spread = kernel_distance(a[:1000], b[:1000], subsets=30, subset_size=200)
    assert abs(same) < 3 * spread
    assert kernel_distance(a, a + 3, subsets=5, subset_size=200)[0] > 10 * spread
    assert kernel_distance(a, b, 4, 100, seed=1) == kernel_distance(a, b, 4, 100, seed=1)


def test_kernel_distance_refuses_a_subset_larger_than_a_set():
    with pytest.raises(ValueError, match="found 500"):
        kernel_distance(features(0, n=100), features(1, n=600), subset_size=500)


# R-precision


def test_r_precision_of_perfect_random_and_constant_embeddings():
    rng = np.random.default_rng(0)
    captions, classes = rng.normal(size=(600, 64)), np.arange(600) // 6
    assert r_precision(captions * 3, captions, classes).value == 1
    assert r_precision(rng.normal(size=(600, 64)), captions, classes).value < 0.05
    constant = r_precision(np.ones((600, 8)), np.ones((600, 8)), classes)
    assert constant.value == pytest.approx(0.01)  # ties share the first place
    assert r_precision(np.zeros((600, 8)), captions[:, :8], classes).value == pytest.approx(0.01)


def test_r_precision_draws_candidates_from_other_classes_only():
    captions = np.repeat(np.eye(20), 10, axis=0)  # all captions of a class are the same
    found = r_precision(captions, captions, np.arange(200) // 10, candidates=100)
    assert found.value == 1 and found.std == 0 and len(found.hits) == 200


def test_r_precision_refuses_too_few_other_classes():
    with pytest.raises(ValueError, match="99 captions of other classes expected, found 50"):
        r_precision(np.eye(100), np.eye(100), np.arange(100) // 50)


# part colours


def test_part_colours_by_hand():
    parts, colours = ("head", "wings"), ("red", "blue", "grey", "black")
    predicted = np.array([[0, 1], [0, 0], [2, 3]])
    named = [{"head": "red", "wings": "blue"}, {"wings": "blue"}, {"head": "grey"}]
    found = part_colour_accuracy(predicted, named, parts, colours)
    assert (found.value, found.named, found.chance) == (3 / 4, 4, 1 / 4)
    assert found.parts == {"head": (1.0, 2), "wings": (0.5, 2)}
    # head red 2/3 and grey 1/3; wings blue 1/3, twice
    assert found.shuffled == pytest.approx((2 / 3 + 1 / 3 + 2 / 3) / 4)
    assert 0 <= found.interval.low <= found.value <= found.interval.high <= 1


@pytest.mark.parametrize("named", [[{}], [{"head": "teal"}], [{"tail": "red"}]])
def test_part_colours_refuses_unknown_names_and_empty_captions(named):
    with pytest.raises(ValueError):
        part_colour_accuracy(np.array([[0]]), named, ("head",), ("red",))


# error rates


def test_error_rates_by_hand():
    said, heard = ["the cat sat", "a bird"], ["the cat", "a bird sang"]
    words = word_error_rate(said, heard)
    assert (words.edits, words.length, words.value) == (2, 5, 2 / 5)
    assert words.interval.low <= words.value <= words.interval.high
    characters = character_error_rate(["abc de"], ["abd de"])
    assert (characters.edits, characters.length) == (1, 6)


def test_error_rates_are_those_of_torchmetrics():
    text = pytest.importorskip("torchmetrics.functional.text")
    rng = np.random.default_rng(0)
    words = ["red", "blue", "bird", "wings", "a", "the", "with"]
    said = [" ".join(rng.choice(words, 8)) for _ in range(30)]
    heard = [" ".join(rng.choice(words, 7)) for _ in range(30)]
    assert word_error_rate(said, heard).value == pytest.approx(
        float(text.word_error_rate(heard, said)), abs=1e-6
    )
    assert character_error_rate(said, heard).value == pytest.approx(
        float(text.char_error_rate(heard, said)), abs=1e-6
    )


def test_error_rates_compare_normalised_text():
    assert (
        normalise("  The bird\u2019s 'crown', blue-grey; caf\u00e9_! ") == "the bird's crown blue grey cafe"
    )
    assert word_error_rate(["This bird, is RED."], ["this bird is red"]).value == 0


def test_error_rates_of_silence():
    assert word_error_rate(["a red bird", ""], ["", ""]).value == 1
    assert word_error_rate(["a red bird", ""], ["a red bird", "oh no"]).edits == 2
    with pytest.raises(ValueError, match="no words"):
        word_error_rate([""], ["a"])
    with pytest.raises(ValueError, match="one hypothesis"):
        word_error_rate(["a"], [])


# --- colour edits and variety ----------------------------------------------------------------------------------


def test_colour_edits_by_hand():
    before = np.array([[1, 2, 3], [1, 2, 3]])
    after = np.array([[5, 2, 3], [1, 4, 3]])  # the first edit works, the second spoils another part
    found = colour_edits(before, after, [0, 0], [5, 6], np.array([[1, 1, 0], [1, 1, 1]]))
    assert found.changed == 0.5
    assert found.others == 3 and found.kept == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="beside the edited"):
        colour_edits(before, after, [0, 0], [5, 6], np.array([[1, 0, 0], [1, 0, 0]]))
    with pytest.raises(ValueError, match="one row an edit"):
        colour_edits(before, after, [0], [5], np.ones((2, 3)))


def test_stage_agreement_by_hand():
    read = np.array([[[1, 2, 3], [1, 2, 3]], [[1, 2, 4], [1, 5, 3]], [[1, 2, 4], [1, 6, 7]]])  # of three stages
    found = stage_agreement(read, np.array([[1, 0, 1], [1, 1, 0]]))
    assert found.values == [0.5, 0.75] and found.named == 4
    assert found.intervals[0].low < 0.5 < found.intervals[0].high
    with pytest.raises(ValueError, match="two stages or more"):
        stage_agreement(read[:1], np.ones((2, 3)))
    with pytest.raises(ValueError, match="no caption names"):
        stage_agreement(read, np.zeros((2, 3)))


def test_mean_pairwise_distance_by_hand():
    features = np.array([[0.0, 0], [3, 4], [1, 1], [1, 1], [9, 9]])
    assert mean_pairwise_distance(features, np.array([0, 0, 1, 1, 2])) == (2.5, 2.5)
    with pytest.raises(ValueError, match="no two pictures"):
        mean_pairwise_distance(features, np.arange(5))


# precision, recall, density, coverage


def test_a_set_covers_itself_and_nothing_far_away():
    real = features(0)
    assert manifold(real, real)[:2] == (1, 1) and manifold(real, real).coverage == 1
    assert manifold(real, real + 1000) == (0, 0, 0, 0)


def test_pictures_of_one_kind_are_precise_and_do_not_recall():
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.eye(4) * 100, 50, axis=0)
    real = kinds + rng.normal(size=(200, 4))
    one_kind = kinds[:50] + rng.normal(size=(50, 4))
    found = manifold(real, one_kind)
    assert found.precision > 0.8 and found.density > 0.8
    assert found.recall <= 0.25 and found.coverage <= 0.25


def test_balls_reach_to_the_kth_neighbour():
    real = np.arange(8.0)[:, None]  # every ball of 1 reaches to 1, at both ends too
    found = manifold(real, np.array([[0.5], [0.7], [3.5], [9.0]]), k=1, k_density=2)
    assert found.precision == 0.75  # 9 lies 2 from 7
    assert (
        found.recall == 0.875
    )  # 1 to 6 within 2.8 of 3.5, 7 within 5.5 of 9; 0 is farther than 0.2 from 0.5
    with pytest.raises(ValueError, match="more than 5 pictures in each set expected, found 4"):
        manifold(real, real[:4])


# retrieval


def test_retrieval_counts_any_own_caption_and_ties_against_the_query():
    images = np.eye(3)
    captions = np.eye(3)[
        [0, 1, 1, 2, 0, 2]
    ]  # two captions a picture; the second of pictures 0 and 2 are swapped
    picture_of = np.array([0, 0, 1, 1, 2, 2])
    found = retrieval(images, captions, picture_of, ks=(1, 2, 3))
    assert found.text_to_picture[1] == pytest.approx(3 / 6)
    assert found.text_to_picture[3] == 1
    assert found.picture_to_text == {1: 0, 2: 1, 3: 1}  # each shares its place with another's caption
    assert retrieval(images, captions, picture_of, ks=(1, 2, 3), block=1) == found
    with pytest.raises(ValueError, match="a caption for each of 3 pictures expected"):
        retrieval(images, captions[:4], picture_of[:4])


def test_chance_of_retrieval_is_what_random_features_reach():
    picture_of = np.repeat(np.arange(8), [1, 3, 2, 4, 1, 2, 2, 5])
    expected = chance(picture_of, ks=(1, 5))
    rng = np.random.default_rng(0)
    drawn = [
        retrieval(rng.standard_normal((8, 4)), rng.standard_normal((20, 4)), picture_of, ks=(1, 5))
        for _ in range(600)
    ]
    for way in ("text_to_picture", "picture_to_text"):
        for k in (1, 5):
            mean = np.mean([getattr(found, way)[k] for found in drawn])
            assert mean == pytest.approx(getattr(expected, way)[k], abs=0.03)
    assert chance(np.arange(3), ks=(5,)) == ({5: 1}, {5: 1})


# linear classifier


def test_a_linear_classifier_learns_what_is_linear():
    labels = np.repeat([7, 3, 5], 40)
    rng = np.random.default_rng(0)
    x = np.eye(3)[np.repeat([0, 1, 2], 40)] * 4 + rng.normal(size=(120, 3))
    classifier = fit(x[::2], labels[::2])
    assert classifier.accuracy(x[1::2], labels[1::2]) > 0.9
    of = classifier.probabilities(x)
    assert of.shape == (120, 3) and np.allclose(of.sum(1), 1)
    assert fit(x, rng.permutation(labels)).accuracy(x, labels) < 0.6


# --- intervals -------------------------------------------------------------------------------------------------


def test_an_interval_of_unlike_items_is_the_percentile_bootstrap():
    rng = np.random.default_rng(0)
    right = rng.random(400) < 0.3
    low, high, of = ratio_interval(right, np.ones(400), "pictures")
    wide = 1.96 * np.sqrt(0.3 * 0.7 / 400)
    assert low == pytest.approx(right.mean() - wide, abs=0.01) and high == pytest.approx(
        right.mean() + wide, abs=0.01
    )
    assert of == "95 % bootstrap over 400 pictures"
    assert ratio_interval(right, np.ones(400), "pictures") == (low, high, of)


def test_an_interval_over_voices_is_wider_than_over_clips_where_voices_differ():
    """Eight voices of 40 clips: one is heard badly. Clips are many, voices are not."""
    voices = np.repeat(np.arange(8), 40)
    edits = np.where(voices == 3, 8, 1) * np.ones(320)
    of_clips, of_voices = (ratio_interval(edits, np.full(320, 100), "x", groups) for groups in (None, voices))
    assert of_voices.high - of_voices.low > 2 * (of_clips.high - of_clips.low)
    assert of_voices.of == "95 % bootstrap over 8 x"
    # the draws of eight voices: none of them the bad one gives the low end
    assert of_voices.low == pytest.approx(0.01)


@pytest.mark.parametrize("count, low", [(2, 0.158), (10, 0.692), (300, 0.988)])
def test_units_that_agree_have_the_exact_binomial_interval(count, low):
    found = ratio_interval(np.full(count, 4), np.full(count, 4), "pictures")
    assert found.low == pytest.approx(low, abs=1e-3) and found.high == 1
    none = ratio_interval(np.zeros(count), np.full(count, 4), "pictures")
    assert none.low == 0 and none.high == pytest.approx(1 - low, abs=1e-3)
    assert found.of == f"95 % exact binomial over {count} pictures, which agree"


def test_one_unit_has_an_interval_of_its_counts():
    low, high, of = ratio_interval(np.array([3]), np.array([10]), "clips")
    assert (low, high) == pytest.approx((0.067, 0.652), abs=1e-3) and "10 counts" in of
    with pytest.raises(ValueError, match="a ratio of nothing"):
        ratio_interval(np.zeros(3), np.zeros(3))


def test_error_rates_are_resampled_by_speaker_where_there_are_several():
    said, heard = ["a red bird"] * 6, ["a red bird"] * 5 + ["a bed word"]
    by_clip, by_voice = word_error_rate(said, heard), word_error_rate(said, heard, 0, list("aabbcc"))
    assert by_clip.interval.of == "95 % bootstrap over 6 clips"
    assert by_voice.interval.of == "95 % bootstrap over 3 voices"
    assert by_voice.value == by_clip.value
    assert word_error_rate(said, heard, 0, ["LJ"] * 6) == by_clip


def test_r_precision_tells_the_error_of_its_mean_from_the_spread_of_groups():
    rng = np.random.default_rng(0)
    captions = rng.normal(size=(600, 32))
    found = r_precision(captions + 2.5 * rng.normal(size=(600, 32)), captions, np.arange(600) // 6)
    assert 0.2 < found.value < 0.9
    assert found.standard_error == pytest.approx(found.hits.std() / np.sqrt(600))
    assert found.std > 2 * found.standard_error  # ten groups of 60 spread about sqrt(10) times as much


def test_a_linear_classifier_of_a_single_class_is_sure_and_unseen_classes_have_no_share():
    x = np.random.default_rng(0).normal(size=(20, 3))
    assert (fit(x, np.full(20, 7)).probabilities(x) == 1).all()
    of = fit(x, np.repeat([3, 7], 10), classes=np.array([3, 5, 7])).probabilities(x)
    assert of.shape == (20, 3) and (of[:, 1] == 0).all() and np.allclose(of.sum(1), 1)
