"""Networks trained on ImageNet as backbones: of image encoders that learn from them, of projected discriminators."""

from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from core.errors import UserError
from t2i.augmentation import random_cutout
from t2i.encoders.base import TextFeatures
from t2i.encoders.damsm import Damsm
from t2i.encoders.image import IMAGE_ENCODERS
from t2i.families import attngan
from t2i.families.attngan import AttnGanConfig, AttnGanLoss
from t2i.families.projected import (
    ProjectedConfig,
    ProjectedLoss,
    build_discriminators,
    discriminator_loss,
    generator_loss,
)
from t2i.families.registry import SETTINGS, family_of
from training import encoder as train_encoder
from training import gan as train_gan
from training.config import load_config
from vision.backbones import TAPS, Backbone, imagenet_normalised

networks = pytest.mark.parametrize("name", TAPS)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of each network, of random weights, in torchvision's names."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    for name in TAPS:
        torch.save(getattr(torchvision.models, name)(weights=None).state_dict(), folder / f"{name}.pth")
    return folder


@networks
def test_a_backbone_gives_torchvision_s_maps_at_every_scale(name: str, files: Path):
    backbone = Backbone(name).train()
    backbone.load(files / f"{name}.pth")
    whole = getattr(torchvision.models, name)(weights=None).eval()
    whole.load_state_dict(torch.load(files / f"{name}.pth"))
    images = torch.rand(2, 3, 128, 128) * 2 - 1
    maps = backbone(images)
    expected = whole.features(imagenet_normalised(images))
    torch.testing.assert_close(
        maps[-1], expected, rtol=1e-4, atol=1e-5 * float(expected.detach().abs().max())
    )
    for scale, channels, found in zip(TAPS[name], backbone.channels, maps, strict=True):
        assert found.shape[1] == channels and abs(found.shape[-1] - 128 // scale) <= 1
    assert [m.shape for m in Backbone(name, finest=8)(images)] == [m.shape for m in maps[1:]]


def test_a_backbone_names_what_does_not_fit(files: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"squeezenet1_1.pth lacks 0\.0\.weight"):
        Backbone("mobilenet_v2").load(files / "squeezenet1_1.pth")
    with pytest.raises(UserError, match="cannot read the weights .*none.pth"):
        Backbone("mobilenet_v2").load(tmp_path / "none.pth")
    with pytest.raises(UserError, match='backbone="vgg": one of mobilenet_v2, squeezenet1_1 was expected'):
        ProjectedConfig(backbone="vgg")


# ---- an image encoder ----


@networks
def test_an_encoder_sees_regions_and_the_whole(name: str):
    encoder = IMAGE_ENCODERS[name](embedding=16, width=2, size=64).eval()
    regions, whole = encoder(torch.rand(3, 3, 80, 80) * 2 - 1)
    assert regions.shape[0] == 3 and regions.shape[2] == 16 and 9 <= regions.shape[1] <= 16
    assert whole.shape == (3, 16)


def small_training(world: Path, runs: Path, *more: str) -> train_encoder.TrainEncoder:
    words = [
        "experiment=damsm_real", "lr=1e-3", "batch=4",
        "encoder.embedding=16", "encoder.word_width=8", "encoder.image_width=2", "encoder.image_size=64",
        "run.steps=2", "run.sample_every=0", "run.precision=fp32", "run.threads=1", "run.device=cpu",
        f"data.root={world / 'painted_birds'}", f"data.cache={world / 'painted_birds' / 'cache'}",
        "data.painted=true", f"run.root={runs}", "run.name=damsm", *more,
    ]  # fmt: skip
    return load_config("train_encoder", train_encoder.TrainEncoder, words)


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_a_backbone_learns_at_a_rate_of_its_own(rate: float, files: Path, tiny_world: Path, tmp_path):
    words = [f"backbone_weights={files / 'mobilenet_v2.pth'}", f"backbone_rate={rate}"]
    train_encoder.train(small_training(tiny_world, tmp_path, *words))
    before = Backbone("mobilenet_v2", finest=8)
    before.load(files / "mobilenet_v2.pth")
    backbone = Damsm.load(tmp_path / "damsm" / "model").image_encoder.backbone
    assert isinstance(backbone, Backbone)
    pairs = list(zip(backbone.parameters(), before.parameters(), strict=True))
    moved = max(float((mine - theirs).detach().abs().max()) for mine, theirs in pairs)
    rounding = 1e-3  # of float16, in which a model is stored
    assert moved < (rounding if rate == 0 else rounding + 3e-4)  # Adam's step is the rate or less
    buffers = zip(backbone.buffers(), before.buffers(), strict=True)
    assert all(
        torch.allclose(a.float(), b.float(), atol=1e-3) for a, b in buffers
    )  # no statistics are followed
    if rate:
        assert any(not torch.equal(mine, theirs.half().float()) for mine, theirs in pairs)
    else:
        assert all(torch.equal(mine, theirs.half().float()) for mine, theirs in pairs)
    card = (tmp_path / "damsm" / "model" / "README.md").read_text()
    assert ("which stayed" in card) == (rate == 0)


def test_an_encoder_goes_on_at_another_side(files: Path, tiny_world: Path, tmp_path, capsys):
    def train(*words: str) -> Damsm:
        config = small_training(
            tiny_world, tmp_path, f"backbone_weights={files / 'mobilenet_v2.pth'}", *words
        )
        train_encoder.train(config)
        return Damsm.load(tmp_path / config.run.name / "model")

    first = train("run.name=first")
    start = f"start={tmp_path / 'first' / 'model'}"
    second = train(start, "encoder.image_size=32", "lr=0", "run.name=second")
    assert "started from its weights" in capsys.readouterr().out
    assert second.config.image_size == 32
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]) or "running" in key or "num_batches" in key
    with pytest.raises(UserError, match=r"has embedding=16, not 8; set encoder\.embedding=16"):
        train(start, "encoder.embedding=8", "run.name=third")


# ---- projected discriminators ----


def small(**changes) -> ProjectedConfig:
    sizes = {
        "size": 64,
        "width": 2,
        "discriminator_width": 4,
        "embedding": 8,
        "noise": 5,
        "mixing_width": 4,
        "text_width": 3,
    }
    return ProjectedConfig(**(sizes | changes))


def batch(config: ProjectedConfig, B: int = 3) -> tuple[Tensor, TextFeatures]:
    text = TextFeatures(
        torch.randn(B, 2, 8), torch.zeros(B, 2, dtype=torch.bool), torch.randn(B, config.embedding)
    )
    return torch.rand(B, 3, config.size, config.size) * 2 - 1, text


@networks
@pytest.mark.parametrize("size", [64, 128])
def test_every_scale_is_judged(name: str, size: int):
    config = small(backbone=name, backbone_size=size)
    D = build_discriminators(config)[0].eval()  # spectral norm estimates anew at every pass of a training
    images, text = batch(config)
    features = D.features(images)
    assert features.shape == (3, len(TAPS[name]) * config.discriminator_width, 4, 4)
    logits = D.conditional_logits(features, text.sentence)
    assert logits.shape == (len(TAPS[name]), 3)
    rolled = D.conditional_logits(features.roll(-1, 0), text.sentence.roll(-1, 0))
    torch.testing.assert_close(rolled, logits.roll(-1, 1))


def test_the_look_stays_and_the_generator_learns_from_it():
    from t2i.families.projected import Generator

    torch.manual_seed(0)
    config = small()
    Ds, G = build_discriminators(config), Generator(config)
    images, text = batch(config)
    painting = G(torch.randn(3, config.noise), torch.zeros(3, 0), text)
    loss, logs = discriminator_loss(Ds, (images,), painting, text, ProjectedLoss(), 0)
    loss.backward()
    learns = {name.split(".")[1] for name, p in Ds.named_parameters() if p.grad is not None}
    assert learns == {"scales"} and all(p.grad is None for p in G.parameters())
    assert {"d_64", "d_real", "d_fake", "d_wrong"} == set(logs)
    generator_loss(Ds, painting, text, torch.arange(3), None, ProjectedLoss())[0].backward()
    assert all(p.grad is not None for p in G.project.parameters())


def test_a_square_is_cut_out_of_every_picture():
    torch.manual_seed(0)
    images = torch.ones(200, 3, 16, 16)
    cut = random_cutout(images, 0.5)
    gone = (cut == 0).all(1)
    assert torch.equal(cut == 0, gone[:, None].expand_as(cut))
    counts = gone.flatten(1).sum(1)
    assert counts.max() == 64 and counts.min() >= 16  # a corner may be all that lies inside
    assert (gone.float().mean(0) > 0).all()
    assert random_cutout(images, 0.0) is images


@pytest.mark.parametrize("adversarial", ["hinge", "bce"])
def test_attngan_may_be_judged_through_a_network(adversarial: str):
    torch.manual_seed(0)
    of_attngan = partial(AttnGanConfig, stages=2, width=4, discriminator_width=4, embedding=16, noise=6, condition=6,
                         backbone="mobilenet_v2", mixing_width=2)  # fmt: skip
    config = of_attngan()
    family = family_of(config)
    networks, losses = family.build(config), AttnGanLoss(adversarial=adversarial)
    Ds, G = networks["discriminators"], networks["generator"]
    words = TextFeatures(torch.randn(3, 4, 16), torch.zeros(3, 4, dtype=torch.bool), torch.randn(3, 16))
    painting = G(torch.randn(3, 6), torch.randn(3, 6), words)
    real = tuple(torch.rand(3, 3, side, side) * 2 - 1 for side in (64, 128))
    attngan.discriminator_loss(Ds, real, painting, words, losses, 0)[0].backward()
    assert {name.split(".")[1] for name, p in Ds.named_parameters() if p.grad is not None} == {"scales"}
    attngan.generator_loss(Ds, painting, words, torch.arange(3), None, losses)[0].backward()
    assert all(p.grad is not None for p in G.parameters())
    with pytest.raises(UserError, match="penalty_weight=2 is for the pixels' own discriminators"):
        family.needs(config, AttnGanLoss(penalty_weight=2.0))


def test_a_network_belongs_to_the_family_that_looks_through_it():
    projected = train_gan.TrainGan(gan=SETTINGS["projected"]())
    encoder = torch.nn.Identity()
    with pytest.raises(
        UserError, match="gan=projected sees through an ImageNet network: name its file, backbone_weights="
    ):
        train_gan.check(projected, encoder)
    other = train_gan.TrainGan(gan=SETTINGS["dfgan"](), backbone_weights="mobilenet_v2.pth")
    with pytest.raises(
        UserError, match=r"backbone_weights=mobilenet_v2.pth is for .* gan=projected .*; gan=dfgan has none"
    ):
        train_gan.check(other, encoder)


def test_model_folders_with_the_old_names_load_and_are_saved_with_today_s(tmp_path: Path):
    """The first releases, the encoder of real birds among them, call a backbone `trunk`."""
    from safetensors.torch import load_file, save_file

    from core.model_folder import load_discriminators, save_discriminators
    from t2i.encoders.damsm import DamsmConfig
    from t2i.vocabulary import Vocabulary

    sizes = DamsmConfig(embedding=4, word_width=2, image="mobilenet_v2", image_width=1, image_size=32)
    model = Damsm(sizes, Vocabulary.build(["a red bird"]))
    model.save(tmp_path / "model", "# card", {}, half=False)
    today = load_file(tmp_path / "model" / "model.safetensors")
    assert any(name.startswith("image_encoder.backbone.") for name in today)
    assert not any("trunk" in name for name in today)
    old = {name.replace(".backbone.", ".trunk."): value for name, value in today.items()}
    save_file(old, tmp_path / "model" / "model.safetensors")
    loaded = Damsm.load(tmp_path / "model")
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in today.items())
    loaded.save(tmp_path / "again", "# card", {}, half=False)
    assert load_file(tmp_path / "again" / "model.safetensors").keys() == today.keys()

    save_discriminators(tmp_path, {"0.trunk.0.weight": torch.ones(2), "0.head.trunks": torch.zeros(1)})
    assert sorted(load_discriminators(tmp_path)) == ["0.backbone.0.weight", "0.head.trunks"]
