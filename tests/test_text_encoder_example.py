"""A text encoder from outside the package, in the trainers, the painter and the pipeline as they are."""

import json
from pathlib import Path

import pytest
import torch

from core.errors import UserError
from data.sets import ImageData
from examples import text_encoder_bag
from examples.text_encoder_bag import BagConfig, BagOfWords
from pipeline import load_painter
from t2i.encoders.registry import ENCODERS, load_encoder, register, trainable_encoders
from t2i.families.registry import SETTINGS
from t2i.vocabulary import Vocabulary
from training import encoder, gan
from training.config import RunConfig

ENCODERS.pop("bag", None)  # the import registered it, which is for these tests alone to see


@pytest.fixture(autouse=True)
def registered():
    register("bag", BagOfWords)
    yield
    ENCODERS.pop("bag")


def tiny() -> BagOfWords:
    torch.manual_seed(0)
    vocabulary = Vocabulary.build(["a red bird with black wings"])
    return BagOfWords(BagConfig(embedding=8, image_width=2, image_size=32, max_words=5), vocabulary)


def test_it_trains_and_a_generator_learns_from_it(tiny_world: Path, tmp_path: Path):
    birds = tiny_world / "painted_birds"
    data = ImageData(root=str(birds), cache=str(birds / "cache"))

    def run(name: str, steps: int) -> RunConfig:
        return RunConfig(
            name, str(tmp_path), steps=steps, log_every=1, sample_every=2, device="cpu", threads=1
        )

    sizes = BagConfig(embedding=16, image_width=4, image_size=64)
    encoder.train(encoder.TrainEncoder(data, run("bag", 2), sizes, batch=4))
    losses = [json.loads(line) for line in (tmp_path / "bag" / "metrics.jsonl").read_text().splitlines()]
    assert losses[0]["loss"] > 0 and "r_precision" in losses[2]
    model = load_encoder(tmp_path / "bag" / "model")
    assert isinstance(model, BagOfWords) and model.sees_images
    assert "mean of a caption's word vectors" in (tmp_path / "bag" / "model" / "README.md").read_text()

    settings = SETTINGS["dfgan"](size=64, width=2, discriminator_width=2)
    gan.train(gan.TrainGan(data, run("painter", 1), settings, str(tmp_path / "bag" / "model"), batch=2))
    painter = load_painter(tmp_path / "painter" / "model")
    assert isinstance(painter.encoder, BagOfWords) and painter.encoder.checksum == model.checksum
    one, other = painter.paint(["a red bird", "bird red a"], [1, 1]).images[-1]
    torch.testing.assert_close(one, other)  # it knows no order


def test_captions_by_hand():
    model = tiny()
    text = model.encode(["a red bird", "red unheard wings"])
    a, red, bird, wings = (
        model.vectors.weight[model.vocabulary.words.index(w)] for w in ["a", "red", "bird", "wings"]
    )
    torch.testing.assert_close(text.sentence, torch.stack([(a + red + bird) / 3, (red + wings) / 2]))
    torch.testing.assert_close(text.words[0], torch.stack([a, red, bird]))
    assert text.is_pad.tolist() == [[False] * 3, [False, False, True]]
    alone = model.encode(["red unheard wings"])
    torch.testing.assert_close(alone.sentence, text.sentence[1:])
    assert model.known("a red bird with black wings") == ["a", "red", "bird", "with", "black"]
    assert model.unknown("red unheard wings") == ["unheard"]
    with pytest.raises(UserError, match="has no word that the model knows"):
        model.encode(["unheard"])


def test_steps_of_training_lower_the_loss():
    model = tiny().train()
    optimizer = model.recipe.optimizer(model.parameters(), lr=1e-2)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    captions, losses = ["a red bird", "black wings", "a bird with black"], []
    for _ in range(15):
        loss, _ = model.loss(images, captions, torch.arange(3), ["red", "wings", "bird"])
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_one_line_registers_it():
    assert trainable_encoders()["bag"] is BagOfWords is text_encoder_bag.BagOfWords
    register("bag", BagOfWords)  # the same again is no harm
    with pytest.raises(ValueError, match="registered already"):
        register("damsm", BagOfWords)
