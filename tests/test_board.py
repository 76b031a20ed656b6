"""What each trainer shows in TensorBoard, read back from its files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_recognizer import configured

from asr.layers import CrossAttention
from asr.recognizer import Recognizer
from data.captioned_images import load_images
from data.sampling import to_unit
from data.sets import ImageData
from t2i.encoders.char_cnn_rnn import CharEncoder, CharEncoderConfig
from t2i.encoders.damsm import Damsm, DamsmConfig
from t2i.families.registry import SETTINGS
from training import asr, classifier, encoder, gan
from training.asr_board import decoder_attention, transcript_table
from training.config import RunConfig
from visualization.alignment import alignment_page


def read(run: Path) -> EventAccumulator:
    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"tensors": 0, "scalars": 0, "audio": 0})
    board.Reload()
    return board


def rates(board: EventAccumulator, name: str) -> list[float]:
    return [event.value for event in board.Scalars(f"learning_rate/{name}")]


def texts(board: EventAccumulator, name: str) -> list[str]:
    return [event.tensor_proto.string_val[0].decode() for event in board.Tensors(f"{name}/text_summary")]


def settings(folder: Path, **changes) -> RunConfig:
    given = {"name": "a", "root": str(folder), "steps": 2, "log_every": 1, "sample_every": 1, "threads": 1}
    return RunConfig(**given | {"device": "cpu", "precision": "fp32"} | changes)


# ---- train_asr ----


def test_the_recogniser_shows_rates_transcripts_sound_and_attention(tmp_path: Path):
    asr.train(configured(tmp_path / "LJ", run=settings(tmp_path), lr=1e-3))
    board = read(tmp_path / "a")
    assert rates(board, "recognizer") == pytest.approx([0.5e-3, 1e-3])
    tables = texts(board, "validation/transcripts")
    assert len(tables) == 2 and all("| LJ/val/LJ001-0008 | the tail is grey |" in table for table in tables)
    audio = board.Tags()["audio"]
    assert sorted(audio) == ["validation/LJ/val/LJ001-0008", "validation/LJ/val/LJ001-0009"]
    assert [len(board.Audio(tag)) for tag in audio] == [1, 1]  # once a run, not at every validation
    assert len(board.Images("attention")) == 2
    assert (tmp_path / "a" / "samples" / "attention_000002.png").is_file()

    recognizer = Recognizer.load(tmp_path / "a" / "model")
    clip = np.random.default_rng(0).standard_normal(8000).astype(np.float32) / 10
    pieces, weights = decoder_attention(recognizer, clip, "A red bird")
    assert "".join(pieces) == "a red bird"
    assert weights.shape == (10, 12)  # 48 windows of 10 ms fit into 0.5 s, four to a frame of the encoder
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(10))


def test_the_weights_shown_are_those_attended_with():
    torch.manual_seed(0)
    layer = CrossAttention(8, 2)
    x, memory, is_pad = (
        torch.randn(2, 3, 8),
        torch.randn(2, 5, 8),
        torch.arange(5) >= torch.tensor([[5], [3]]),
    )
    key, value = layer.project(memory)
    weights = layer.weights(x, key, is_pad[:, None, None])
    assert weights.shape == (2, 2, 3, 5) and not weights[1, :, :, 3:].any()
    again = layer.to_out((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x, key, value, is_pad[:, None, None]), again)


def test_a_table_of_transcripts():
    table = transcript_table(["a", "b"], ["a red bird", "..."], ["a | bird", ""]).splitlines()
    assert table[2:] == ["| a | a red bird | a \\| bird | 33 % |", "| b | ... | – | – |"]


@pytest.mark.parametrize("count", [1, 10, 3000])
def test_a_page_of_any_number_of_characters(count):
    page = alignment_page(np.zeros((count, 7), np.float32), ["a"] * count, 2.0, "caption")
    assert page.width == alignment_page(np.ones((1, 1)), [" "], 0.1).width and page.height < 7000
    with pytest.raises(ValueError, match="at least one"):
        alignment_page(np.zeros((0, 7)), [], 2.0)


# ---- the trainers of images ----


def birds(world: Path) -> ImageData:
    root = world / "painted_birds"
    return ImageData(root=str(root), cache=str(root / "cache"))


def test_an_encoder_shows_rates_retrieval_and_the_words_regions(tiny_world: Path, tmp_path: Path):
    sizes = DamsmConfig(embedding=16, word_width=8, image_width=4, image_size=64)
    config = encoder.TrainEncoder(
        data=birds(tiny_world), run=settings(tmp_path), encoder=sizes, batch=4, lr=1e-3
    )
    encoder.train(config)
    board = read(tmp_path / "a")
    assert rates(board, "encoder") == pytest.approx([0.02e-3, 0.04e-3])  # 50 steps of warm-up
    for way in ("text_to_image", "image_to_text"):
        recall = [board.Scalars(f"{way}_recall_{k}")[-1].value for k in (1, 5, 10)]
        assert 0 <= recall[0] <= recall[1] == recall[2] == 1  # of two validation images
        assert f"test_{way}_recall_1" in board.Tags()["scalars"]
    assert len(board.Images("attention")) == 2


def test_a_words_weights_are_those_of_its_own_image(tiny_world: Path):
    """Each word's weights sum to 1, and are the same alone and beside another pair."""
    root = tiny_world / "painted_birds"
    images = load_images(root, "train", 64, root / "cache")
    model, pictures = Damsm.load(tiny_world / "damsm"), to_unit(images.batch(range(2), None))
    captions = [images.captions[0][0], "a red bird"]
    weights = model.word_attention(pictures, captions)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(weights.shape[:2]))
    alone = model.word_attention(pictures[1:], captions[1:])
    torch.testing.assert_close(weights[1, :3], alone[0])
    assert CharEncoder(CharEncoderConfig()).word_attention(pictures, captions) is None


def test_a_generator_shows_rates_captions_and_attention(tiny_world: Path, tmp_path: Path):
    sizes = SETTINGS["attngan"](
        stages=1, first_attention=32, width=2, discriminator_width=2, damsm_weight=0.0
    )
    changes = {"lr_generator": 1e-3, "lr_discriminator": 4e-3, "halve_every": 1, "batch": 2}
    config = gan.TrainGan(
        data=birds(tiny_world),
        run=settings(tmp_path),
        gan=sizes,
        encoder=str(tiny_world / "damsm"),
        **changes,
    )
    gan.train(config)
    board = read(tmp_path / "a")
    assert rates(board, "generator") == pytest.approx([1e-3, 5e-4])
    assert rates(board, "discriminators") == pytest.approx([4e-3, 2e-3])
    root = tiny_world / "painted_birds"
    shown = load_images(root, "validation", 64, root / "cache")
    (captions,) = texts(board, "grid/captions")  # once
    assert [line for line in captions.splitlines() if line[:1].isdigit()] == [
        f"{i}. {of_one[0]}" for i, of_one in enumerate(shown.captions, start=1)
    ]
    assert len(board.Images("grid")) == len(board.Images("attention")) == 2


def test_a_family_that_attends_to_no_words_shows_the_grid_alone(tiny_world: Path, tmp_path: Path):
    sizes = SETTINGS["dfgan"](size=64, width=2, discriminator_width=2)
    run = settings(tmp_path, steps=1)
    gan.train(gan.TrainGan(birds(tiny_world), run, sizes, str(tiny_world / "damsm"), batch=2))
    assert read(tmp_path / "a").Tags()["images"] == ["grid"]


def test_the_classifier_shows_its_rate(tiny_world: Path, tmp_path: Path):
    run = settings(tmp_path, steps=1)
    classifier.train(classifier.TrainClassifier(birds(tiny_world), run, size=16, width=2, batch=4, lr=1e-3))
    assert rates(read(tmp_path / "a"), "classifier") == pytest.approx([0.05e-3])  # 20 steps of warm-up
