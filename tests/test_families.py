"""One trainer and one painter serve every family: each trains, is saved, and paints from free text."""

import json
import pickle
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import UserError
from core.model_folder import load_discriminators, save_discriminators, save_model
from evaluation import command as evaluate
from pipeline import load_painter
from t2i.encoders.char_cnn_rnn import CharEncoder, CharEncoderConfig
from t2i.encoders.registry import load_encoder
from t2i.families.registry import FAMILIES, SETTINGS, build_config, family_of
from t2i.painter import Painter, painter_of
from training import gan as train_gan
from training.config import load_config
from training.warm_start import start_from
from vision.backbones import Backbone

SMALL = {
    "attngan": ["gan.stages=1", "gan.width=4", "gan.discriminator_width=4"],
    "stackgan": ["gan.width=8", "gan.discriminator_width=4"],
    "stackgan_v2": ["gan.stages=2", "gan.width=4", "gan.discriminator_width=4"],
    "gan_int_cls": ["gan.width=4", "gan.discriminator_width=4"],
    "dfgan": ["gan.size=64", "gan.width=4", "gan.discriminator_width=4"],
    "projected": ["gan.width=4", "gan.discriminator_width=4", "gan.mixing_width=4"],
}


def train(world: Path, runs: Path, family: str, encoder: Path, *more: str, name: str = "") -> Painter:
    if family == "projected":
        from torchvision.models import mobilenet_v2

        torch.save(mobilenet_v2(weights=None).state_dict(), runs / "network.pth")
    network = [f"backbone_weights={runs / 'network.pth'}"] if family == "projected" else []
    words = [
        *network,
        f"gan={family}", *SMALL[family], f"encoder={encoder}", "batch=4", "run.steps=2", "run.sample_every=2",
        f"data.root={world / 'painted_birds'}", f"data.cache={world / 'painted_birds' / 'cache'}",
        f"run.root={runs}", f"run.name={name or family}", "run.threads=1", "run.device=cpu", *more,
    ]  # fmt: skip
    train_gan.train(load_config("train_gan", train_gan.TrainGan, words))
    return Painter.load(runs / (name or family) / "model")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_is_saved_and_paints(family, tiny_world, tmp_path):
    painter = train(tiny_world, tmp_path, family, tiny_world / "damsm")
    assert family_of(painter.config).name == family
    painting = painter.paint(["a red bird", "a bird with black wings"], [1, 2])
    assert [image.shape for image in painting.images] == [(2, 3, side, side) for side in painter.resolutions]
    again = painter.paint(["a bird with black wings"], [2])
    torch.testing.assert_close(again.images[-1][0], painting.images[-1][1], rtol=0, atol=1e-4)
    ready = load_painter(tmp_path / family / "model")  # BatchNorm folded away
    assert (
        not any(isinstance(m, torch.nn.BatchNorm2d) for m in ready.generator.modules())
        or family == "gan_int_cls"
    )
    folded = ready.paint(["a red bird", "a bird with black wings"], [1, 2])
    torch.testing.assert_close(folded.images[-1], painting.images[-1], rtol=0, atol=1e-4)
    ready.precision = "bf16"
    rounded = ready.paint(["a red bird", "a bird with black wings"], [1, 2])
    assert 0 < (rounded.images[-1] - painting.images[-1]).abs().mean() < 0.05


def test_a_training_starts_from_a_painter(tiny_world, tmp_path, capsys):
    """Of the same sizes, with the discriminators beside it; another encoder or size is refused."""
    torch.manual_seed(0)
    G = FAMILIES["dfgan"].config(size=64, width=4, discriminator_width=4, embedding=16)
    family = family_of(G)
    first, second = (family.build(G) for _ in range(2))
    encoder = load_encoder(tiny_world / "damsm")
    painter_of(first["generator"], encoder).save(
        tmp_path / "painter", "# card", {"encoder": "abc"}, half=False
    )
    save_discriminators(tmp_path / "painter", first["discriminators"].state_dict())
    start_from(str(tmp_path / "painter"), second, "abc")
    for name in first:
        for a, b in zip(first[name].parameters(), second[name].parameters(), strict=True):
            assert torch.equal(a, b)
    wider = FAMILIES["dfgan"].config(size=64, width=4, discriminator_width=8, embedding=16)
    others = family.build(wider)["discriminators"]
    as_begun = others[0].from_image.weight.clone()
    start_from(str(tmp_path / "painter"), {**second, "discriminators": others}, "abc")
    assert torch.equal(as_begun, others[0].from_image.weight)
    assert capsys.readouterr().out.splitlines()[-1].endswith("its discriminators begin anew")
    with pytest.raises(UserError, match="was trained with another text encoder"):
        start_from(str(tmp_path / "painter"), second, "another")
    G.width = 8
    with pytest.raises(UserError, match=r"generator\.\S+ has shape .* was expected; choose the same sizes"):
        start_from(str(tmp_path / "painter"), family.build(G), "abc")


def test_what_a_training_started_from_is_known_when_it_goes_on(tiny_world, tmp_path):
    """And its discriminators look through the network that is named, not through that of those they start from."""
    go = partial(train, tiny_world, tmp_path, "projected", tiny_world / "damsm")
    first = go(name="first")
    start = f"start={tmp_path / 'first' / 'model'}"
    go(start, "run.steps=1", name="second")
    backbone = Backbone("mobilenet_v2")
    backbone.load(tmp_path / "network.pth")
    kept = load_discriminators(tmp_path / "second" / "model")
    assert torch.equal(kept["0.backbone.layers.0.0.weight"], backbone.state_dict()["layers.0.0.weight"])

    shutil.rmtree(tmp_path / "first")
    second = go(start, "run.steps=2", name="second")
    before = {"painter": first.checksum, "pictures": 2 * 4, "hours": first.training_info["hours"]}
    assert second.training_info["before"] == before
    assert (
        f"from a painter (SHA-256 {first.checksum[:16]})" in (tmp_path / "second/model/README.md").read_text()
    )


def test_a_training_goes_on_from_a_painter_alone(tiny_world, tmp_path):
    """Without the encoder that guided it: the painter's own reads; at first its new discriminators alone learn."""
    first = train(tiny_world, tmp_path, "dfgan", tiny_world / "damsm", "gan.damsm_weight=0.1")
    folder = tmp_path / "dfgan" / "model"
    (folder / "discriminators.safetensors").unlink()
    go = partial(train, tiny_world, tmp_path, "dfgan", folder, f"start={folder}")
    waited, learnt = (
        go(f"discriminators_first={steps}", name=f"after_{steps}").state_dict() for steps in (2, 1)
    )
    assert all(torch.equal(tensor, waited[key]) for key, tensor in first.state_dict().items())
    assert any(not torch.equal(tensor, learnt[key]) for key, tensor in first.state_dict().items())
    assert (
        Painter.load(tmp_path / "after_2" / "model").training_info["encoder"]
        == first.training_info["encoder"]
    )

    for words, message in (
        (
            "gan.damsm_weight=0.1",
            "gan.damsm_weight=0.1 needs an encoder that sees images, and .* has no image encoder",
        ),
        ("measure_every=1", "measure_every needs an encoder that sees images"),
    ):
        with pytest.raises(UserError, match=message):
            go(words, name="refused")


def test_a_painter_grows_from_a_smaller_one(tiny_world, tmp_path):
    """At first it paints what that one does, enlarged, and is judged as that one was."""
    torch.manual_seed(0)
    of_projected = partial(FAMILIES["projected"].config, discriminator_width=4, mixing_width=2, embedding=16)
    small, large = (
        of_projected(size=32, width=4),
        of_projected(size=128, width=1, max_multiplier=32, grown_from=32),
    )
    family = family_of(small)
    first, second = (family.build(G) for G in (small, large))
    encoder = load_encoder(tiny_world / "damsm")
    training = {
        "encoder": "abc",
        "steps": 30,
        "batch": 3,
        "hours": 1.0,
        "before": {"pictures": 7, "hours": 0.5},
    }
    painter_of(first["generator"], encoder).save(tmp_path / "painter", "# card", training, half=False)
    save_discriminators(tmp_path / "painter", first["discriminators"].state_dict())
    before, _ = start_from(str(tmp_path / "painter"), second, "abc")
    assert (before["pictures"], before["hours"]) == (90 + 7, 1.5)
    for a, b in zip(first["discriminators"].parameters(), second["discriminators"].parameters(), strict=True):
        assert torch.equal(a, b)
    small_picture, after = (
        painter_of(G, encoder).paint(["a red bird"], [1]).images[-1]
        for G in (first["generator"], second["generator"])
    )
    enlarged = torch.nn.functional.interpolate(small_picture.atanh(), (128, 128), mode="bilinear").tanh()
    torch.testing.assert_close(after, enlarged, rtol=0, atol=1e-4)

    torch.nn.init.normal_(second["generator"].to_detail.weight, std=0.1)
    changed = painter_of(second["generator"], encoder).paint(["a red bird"], [1]).images[-1]
    assert (changed - after).abs().mean() > 1e-3
    with pytest.raises(
        UserError, match=r"grown_from=64 must be a side below size=64: 0 for none, or one of 32$"
    ):
        of_projected(size=64, grown_from=64)


def test_a_family_reads_characters_where_its_encoder_does(tiny_world, tmp_path):
    torch.manual_seed(0)
    config = CharEncoderConfig(embedding=8, first_width=4, width=8, image_width=4, image_size=32)
    CharEncoder(config).save(tmp_path / "chars", "# card", {})
    painter = train(tiny_world, tmp_path, "stackgan", tmp_path / "chars")
    painting = painter.paint(["a zygodactylous bird of no known vocabulary"], [0])
    assert painting.tokens == [["a zygodactylous bird of no known vocabulary"]]
    assert painter.unknown("a bird ∑") == ["∑"]


def test_a_family_paints_given_captions(tiny_world, tmp_path, monkeypatch, capsys):
    """StackGAN's published features in place of an encoder: trained with, saved without, found again, or missed."""
    source, root = tiny_world / "painted_birds", tmp_path / "birds"
    captions = []
    for split in ("train", "test"):
        shutil.copytree(source / split, root / split)
        names = pickle.loads((root / split / "filenames.pickle").read_bytes())
        captions += [
            (source / "text" / f"{name}.txt").read_text().splitlines()[i] for name in names for i in range(10)
        ]
    for part in ("CUB_200_2011", "text"):
        (root / part).symlink_to(source / part)
    of_text = {text: row for row, text in enumerate(captions)}
    table = np.random.default_rng(0).standard_normal((len(captions), 1024)).astype(np.float32)
    features = table[[of_text[text] for text in captions]].reshape(-1, 10, 1024)
    for split, part in (("train", features[:24]), ("test", features[24:])):
        (root / split / "char-CNN-RNN-embeddings.pickle").write_bytes(pickle.dumps(list(part), protocol=2))

    unread = train(tiny_world, tmp_path, "stackgan", root)
    folder = tmp_path / "stackgan" / "model"
    assert unread.config.embedding == 1024
    assert (folder / "model.safetensors").stat().st_size < table.nbytes  # the features are not stored
    assert not any("text_encoder" in key for key in unread.state_dict())
    painter = load_painter(folder)
    assert torch.equal(painter.encode(captions[-2:]).sentence, torch.from_numpy(features[-1, -2:]))
    assert torch.equal(painter.encode([captions[0].upper()]).sentence[0], torch.from_numpy(features[0, 0]))
    assert not torch.equal(*painter.paint([captions[0], captions[-1]], [0, 0]).images[-1])
    for model in (painter, unread):
        with pytest.raises(
            UserError, match='"a bird of no caption" has no given feature: .* train an encoder'
        ) as error:
            model.paint(["a bird of no caption"], [0])
        assert "\n" not in str(error.value)

    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    words = [
        "--metric", "r_precision", "--json", "--samples", "150", "--data", root, "--model", folder, "--root", tmp_path,
        "--encoder", tiny_world / "damsm", "--out", tmp_path / "results", "--device", "cpu",
    ]  # fmt: skip
    assert evaluate.main(list(map(str, words))) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["protocol"]["samples"] == 150 and found["protocol"]["texts without a known word"] == 0

    (root / "test" / "char-CNN-RNN-embeddings.pickle").unlink()
    with pytest.raises(
        UserError, match="no .*test/char-CNN-RNN-embeddings.pickle; take it from StackGAN's data"
    ):
        load_painter(folder)
    shutil.rmtree(root / "train")
    with pytest.raises(
        UserError, match="model paints captions from the features given in .*restore that folder"
    ) as error:
        load_painter(folder)
    assert "\n" not in str(error.value)


def test_a_family_is_registered_by_its_name():
    for name, family in FAMILIES.items():
        config = build_config(name, {})
        assert family.name == name and type(config) is family.config and family_of(config) is family
        assert family_of(SETTINGS[name]()) is family and "generator" in family.networks
        assert family.split(SETTINGS[name](embedding=17))[0] == family.config(embedding=17)
        assert {phase.network for phase in family.phases} <= family.networks.keys()
    with pytest.raises(
        UserError, match=r'family "dfgun" is unknown \(did you mean "dfgan"\?\); there are attngan'
    ):
        build_config("dfgun", {})


def test_a_model_of_an_earlier_release_is_read(root):
    """Its losses' settings are dropped and its keys renamed; a key that nobody has known is an error."""
    stored = json.loads((root / "weights" / "real-projected" / "config.json").read_text())["config"]
    assert {"damsm_weight", "shift", "cut", "most", "said", "network"} <= stored["generator"].keys()
    config = build_config(stored["family"], stored["generator"])
    assert (config.max_multiplier, config.text_width, config.backbone) == (16, 64, "mobilenet_v2")
    assert build_config("stackgan_v2", {"unconditional_weight": 0.0}).unconditional is False
    with pytest.raises(UserError, match=r'config.json: unknown key "widht" \(did you mean "width"\?\)'):
        build_config("attngan", {"widht": 3}, "config.json")


def test_another_model_is_no_encoder(tmp_path):
    save_model(tmp_path, "painter", {}, {}, "# card")
    with pytest.raises(
        UserError, match='holds a "painter" model; an encoder was expected: damsm, char-encoder'
    ):
        load_encoder(tmp_path)
