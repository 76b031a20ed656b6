"""Text encoder and DAMSM: padding changes nothing, the batched scores are the loop's and the original's."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from core.errors import UserError
from core.model_folder import save_model
from t2i.encoders.base import TextFeatures
from t2i.encoders.damsm import Damsm, DamsmConfig, damsm_loss, matching_loss, word_scores
from t2i.encoders.lstm import SENTENCES, TextEncoder, encode_captions, pad_captions
from t2i.vocabulary import Vocabulary, tokens

CAPTIONS = [[1, 2, 3, 4, 5, 6, 7], [3, 1], [9, 8, 7, 6]]


def features(seed: int = 0, E: int = 8) -> tuple[torch.Tensor, TextFeatures]:
    """Regions (3, 10, E) and the words of three captions of 5, 3 and 4 words."""
    draw = torch.Generator().manual_seed(seed)
    words = torch.randn(3, 5, E, generator=draw)
    is_pad = torch.arange(5)[None] >= torch.tensor([5, 3, 4])[:, None]
    return torch.randn(3, 10, E, generator=draw), TextFeatures(
        words, is_pad, torch.randn(3, E, generator=draw)
    )


def test_words_are_split_as_attngan_does():
    words = ["a", "red", "eyed", "bird", "s", "caf", "2", "wings"]
    assert tokens("A red-eyed bird's \ufffd\ufffd café, 2 wings.") == words


def test_vocabulary_cuts_and_reports():
    vocabulary = Vocabulary.build(["a red bird", "a blue bird"])
    assert vocabulary.words == ["<end>", "a", "bird", "blue", "red"]
    assert vocabulary.encode("a zebra red bird", limit=2) == [1, 4]  # unknown words do not count
    assert vocabulary.unknown("a zebra and a zebra bird") == ["zebra", "and"]


@pytest.mark.parametrize("text", ["", "   ", "zebra crossing"])
def test_a_caption_without_known_words_is_an_error(text):
    with pytest.raises(UserError, match="empty|no word"):
        encode_captions(Vocabulary.build(["a red bird"]), [text], 18)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_text_features_do_not_depend_on_padding_or_company(sentence):
    encoder = TextEncoder(12, embedding=16, word_width=10, sentence=sentence).eval()
    together = encoder(*pad_captions(CAPTIONS))
    padded = encoder(*pad_captions(CAPTIONS, length=15))
    for i, caption in enumerate(CAPTIONS):
        alone = encoder(*pad_captions([caption]))
        for batch in (together, padded):
            torch.testing.assert_close(batch.words[i, : len(caption)], alone.words[0], rtol=0, atol=1e-6)
            torch.testing.assert_close(batch.sentence[i], alone.sentence[0], rtol=0, atol=1e-6)
            assert not batch.words[i, len(caption) :].any()


def test_an_unknown_sentence_feature_is_named():
    with pytest.raises(UserError, match='sentence="first" is unknown; choose one of last, mean'):
        TextEncoder(12, sentence="first")


def test_loss_does_not_depend_on_padding():
    regions, text = features()
    longer = TextFeatures(
        F.pad(text.words, (0, 0, 0, 4), value=7.0), F.pad(text.is_pad, (0, 4), value=True), text.sentence
    )
    ids = torch.arange(3)
    image = torch.randn(3, 8)
    for a, b in zip(
        damsm_loss(regions, image, text, ids, DamsmConfig()),
        damsm_loss(regions, image, longer, ids, DamsmConfig()),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_batched_word_scores_equal_the_loop():
    regions, text = features()
    scores = word_scores(regions, text, gamma1=4.0, gamma2=5.0)
    for image in range(3):
        for caption in range(3):
            words = text.words[caption][~text.is_pad[caption]]  # (T, E)
            similarity = (words @ regions[image].T).softmax(0)  # over the words, (T, R)
            context = (4.0 * similarity).softmax(1) @ regions[image]  # (T, E)
            expected = (5.0 * F.cosine_similarity(context, words)).exp().sum().log()
            torch.testing.assert_close(scores[image, caption], expected)


def test_pictures_of_the_same_class_are_no_mismatches():
    scores = torch.tensor([[1.0, 9.0, 0.0], [9.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    apart, same = (
        matching_loss(scores, torch.tensor([0, 1, 2])),
        matching_loss(scores, torch.tensor([0, 0, 2])),
    )
    assert same < 3 < apart


def test_captions_without_a_picture_are_told_apart_by_the_pictures_only():
    scores = torch.randn(3, 5)
    ids = torch.arange(3)
    expected = F.cross_entropy(scores, ids) + F.cross_entropy(scores[:, :3].T, ids)
    torch.testing.assert_close(matching_loss(scores, ids), expected)
    same = torch.tensor(
        [0, 0, 2]
    )  # the others of a class are left out, the captions without a picture are not
    left_out = scores.clone()
    left_out[0, 1] = left_out[1, 0] = -torch.inf
    torch.testing.assert_close(
        matching_loss(scores, same), F.cross_entropy(left_out, ids) + F.cross_entropy(left_out[:, :3].T, ids)
    )


def test_further_captions_of_the_same_pictures_count_in_the_sentence_loss():
    vocabulary = Vocabulary.build(["a red bird with black wings"])
    model = Damsm(DamsmConfig(embedding=16, word_width=8, image_width=8, image_size=32), vocabulary).eval()
    images, ids = torch.rand(2, 3, 32, 32) * 2 - 1, torch.arange(2)
    first, second = ["a red bird", "black wings"], ["red", "a bird with wings"]
    (_, a), (_, b) = (model.loss(images, captions, ids) for captions in (first, second))
    loss, both = model.loss(images, first, ids, extra_captions=second)
    torch.testing.assert_close(both["words"], a["words"])
    torch.testing.assert_close(both["sentence"], (a["sentence"] + b["sentence"]) / 2)
    torch.testing.assert_close(loss, both["words"] + both["sentence"])


def test_a_saved_damsm_answers_as_before(tmp_path: Path):
    vocabulary = Vocabulary.build(["a red bird with black wings"])
    config = DamsmConfig(embedding=16, word_width=8, image_width=8, image_size=32)
    model = Damsm(config, vocabulary).eval()
    save_model(tmp_path, model.kind, model.state_dict(), vars(config), "# card", vocabulary.words, half=False)
    loaded = Damsm.load(tmp_path)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(loaded.encode_images(images)[0], model.encode_images(images)[0])
    torch.testing.assert_close(loaded.encode(["a red bird"]).words, model.encode(["a red bird"]).words)
