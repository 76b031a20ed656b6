"""One trainer and one painter serve every family: each trains, is saved, and paints from free text."""

import sys
from pathlib import Path

import pytest
import torch

import train_gan
from storage.errors import UserError
from storage.model_folder import save_model
from t2i.char_cnn_rnn import CharEncoder, CharEncoderConfig
from t2i.encoders import load_encoder
from t2i.families import FAMILIES, build_config, family_name, family_of
from t2i.painter import Painter

SMALL = {
    "attngan": ["gan.stages=1", "gan.width=4", "gan.discriminator_width=4"],
    "stackgan": ["gan.width=8", "gan.discriminator_width=4"],
    "stackgan_v2": ["gan.stages=2", "gan.width=4", "gan.discriminator_width=4"],
    "gan_int_cls": ["gan.width=4", "gan.discriminator_width=4"],
    "dfgan": ["gan.size=64", "gan.width=4", "gan.discriminator_width=4"],
}


def train(monkeypatch, world: Path, runs: Path, family: str, encoder: Path) -> Painter:
    words = [
        f"gan={family}", *SMALL[family], f"encoder={encoder}", "batch=4", "run.steps=2", "run.sample_every=2",
        f"data.root={world / 'painted_birds'}", f"data.cache={world / 'painted_birds' / 'cache'}",
        f"run.root={runs}", f"run.name={family}", "run.threads=1", "run.device=cpu",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["train_gan.py", *words])
    train_gan.main()
    return Painter.load(runs / family / "model")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_is_saved_and_paints(family, tiny_world, tmp_path, monkeypatch):
    painter = train(monkeypatch, tiny_world, tmp_path, family, tiny_world / "damsm")
    assert family_name(painter.config) == family
    painting = painter.paint(["a red bird", "a bird with black wings"], [1, 2])
    assert [image.shape for image in painting.images] == [(2, 3, side, side) for side in painter.resolutions]
    again = painter.paint(["a bird with black wings"], [2])
    torch.testing.assert_close(again.images[-1][0], painting.images[-1][1], rtol=0, atol=1e-4)


def test_a_family_reads_characters_where_its_encoder_does(tiny_world, tmp_path, monkeypatch):
    torch.manual_seed(0)
    config = CharEncoderConfig(embedding=8, first_width=4, width=8, image_width=4, image_size=32)
    CharEncoder(config).save(tmp_path / "chars", "# card", {})
    painter = train(monkeypatch, tiny_world, tmp_path, "stackgan", tmp_path / "chars")
    painting = painter.paint(["a zygodactylous bird of no known vocabulary"], [0])
    assert painting.tokens == [["a zygodactylous bird of no known vocabulary"]]
    assert painter.unknown("a bird ∑") == ["∑"]


def test_a_family_is_the_file_of_its_configuration():
    for name, kind in FAMILIES.items():
        config = build_config(name, {})
        assert type(config) is kind and family_of(config).__name__ == f"t2i.{name}"
        for export in (
            "Generator",
            "resolutions",
            "build_discriminators",
            "discriminator_loss",
            "generator_loss",
        ):
            assert hasattr(family_of(config), export), (name, export)
    with pytest.raises(
        UserError, match=r'family "dfgun" is unknown \(did you mean "dfgan"\?\); there are attngan'
    ):
        build_config("dfgun", {})


def test_another_model_is_no_encoder(tmp_path):
    save_model(tmp_path, "painter", {}, {}, "# card")
    with pytest.raises(
        UserError, match='holds a "painter" model; an encoder was expected: damsm, char-encoder'
    ):
        load_encoder(tmp_path)
