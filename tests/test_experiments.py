"""Every published setting is there at full size and with its published parameter counts, and trains."""

from pathlib import Path

import pytest
import torch

from t2i.encoders.image import InceptionImageEncoder
from t2i.encoders.registry import encoder_of
from t2i.families.registry import family_of
from t2i.painter import Painter
from training import encoder as train_encoder
from training import gan as train_gan
from training.config import CONFIGS, load_config

D_OF_ATTNGAN = (6_313_730, 19_424_002, 71_858_946)  # 64, 128, 256 px
D_OF_STACKGAN_V2 = (5_723_906, 18_834_178, 71_269_122)
GANS = {  # parameters of the generator and of each discriminator, as counted in the authors' networks
    "attngan_cub": (7_084_592, D_OF_ATTNGAN),
    "attndcgan_cub": (6_638_960, (71_850_753,)),
    "attngan_512_cub": (7_352_592, None),  # capped: nobody has published these
    "attngan_512_naive_cub": (7_352_592, (*D_OF_ATTNGAN, 281_586_434)),
    "stackgan_stage1_cub": (10_301_248, (5_715_713,)),
    "stackgan_stage2_cub": (36_591_328, (71_269_122,)),
    "stackgan_v2_cub": (21_239_696, D_OF_STACKGAN_V2),
    "gan_int_cls_cub": (
        18_909_699 - 4227,
        (4_032_321 - 2241,),
    ),  # without biases that BatchNorm takes away again
    "dfgan_cub": (9_744_131, (6_619_206 + 295_936,)),
}
ENCODERS = {"damsm_cub": (2_075_320, 22_506_720), "damsm_cub_light": (2_075_320, None),
            "char_cnn_rnn_cub": (4_045_184, None)}  # fmt: skip
LARGE = ("attngan_512_cub", "attngan_512_naive_cub", "damsm_cub")  # pictures: two of them must do
REDUCED = {
    "attngan": ["gan.width=2", "gan.discriminator_width=2"],
    "attndcgan": ["gan.width=2", "gan.discriminator_width=2"],
    "stackgan": ["gan.width=4", "gan.discriminator_width=2"],
    "gan": ["gan.width=4", "gan.discriminator_width=2"],
    "dfgan": ["gan.width=2", "gan.discriminator_width=2"],
}


def size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_every_setting_for_cub_is_here():
    assert {
        path.stem for path in (CONFIGS / "experiment").glob("*/*_cub*.yaml")
    } == GANS.keys() | ENCODERS.keys()


@pytest.mark.parametrize("name", GANS)
def test_a_generator_and_its_discriminators_have_the_published_size(name: str):
    config = load_config("train_gan", train_gan.TrainGan, [f"experiment={name}"])
    family = family_of(config.gan)
    generator, discriminators = GANS[name]
    with torch.device("meta"):
        networks = family.build(family.split(config.gan)[0])
    G, Ds = networks["generator"], networks["discriminators"]
    assert size(G) == generator
    if discriminators is None:
        assert max(map(size, Ds)) < 30_000_000
    else:
        assert tuple(map(size, Ds)) == discriminators


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_has_the_published_size(name: str):
    config = load_config("train_encoder", train_encoder.TrainEncoder, [f"experiment={name}"])
    with torch.device("meta"):
        captions = [" ".join(map(str, range(5449)))]  # words beside <end>
        model = encoder_of(config.encoder).from_captions(config.encoder, captions)
    text, image = ENCODERS[name]
    assert size(model.text_encoder) == text
    assert image is None or size(model.image_encoder) == image


SCHEMAS = {
    train_gan: ("train_gan", train_gan.TrainGan),
    train_encoder: ("train_encoder", train_encoder.TrainEncoder),
}


def run(script, name: str, world: Path, runs: Path, *words: str) -> Path:
    """Two steps of an experiment on a few painted birds."""
    given = [
        f"experiment={name}", f"batch={2 if name in LARGE else 4}", "run.steps=2", "run.sample_every=0",
        f"data.root={world / 'painted_birds'}", f"data.cache={world / 'painted_birds' / 'cache'}",
        "data.painted=true", f"run.root={runs}", "run.threads=1", "run.device=cpu",
        "run.precision=fp32", *words,
    ]  # fmt: skip
    script.train(load_config(*SCHEMAS[script], given))
    return runs / name / "model"


@pytest.mark.parametrize("name", [name for name in GANS if name != "stackgan_stage2_cub"])
def test_a_setting_trains_at_reduced_width(name: str, tiny_world: Path, tmp_path: Path):
    words = [*REDUCED[name.split("_")[0]], f"encoder={tiny_world / 'damsm'}", "measure_every=0"]
    painter = Painter.load(run(train_gan, name, tiny_world, tmp_path, *words))
    assert painter.paint(["a red bird"], [0]).images[-1].isfinite().all()


def test_stage_ii_starts_from_stage_i(tiny_world: Path, tmp_path: Path, capsys):
    words = [*REDUCED["stackgan"], f"encoder={tiny_world / 'damsm'}"]
    first = run(train_gan, "stackgan_stage1_cub", tiny_world, tmp_path, *words)
    second = run(train_gan, "stackgan_stage2_cub", tiny_world, tmp_path, *words, f"start={first}")
    assert "started from its generator" in capsys.readouterr().out
    sketch, painting = Painter.load(first).generator, Painter.load(second).generator
    for (name, mine), theirs in zip(
        painting.first.named_parameters(), sketch.first.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs), name


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_trains_at_reduced_width(name: str, tiny_world: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(InceptionImageEncoder, "SIDE", 107)
    words = ["encoder.embedding=16", "encoder.image_width=4"]
    words += ["encoder.first_width=8", "encoder.width=16"] if "char" in name else ["encoder.word_width=8"]
    run(train_encoder, name, tiny_world, tmp_path, *words)
    assert ("no backbone_weights were named" in capsys.readouterr().out) == (name == "damsm_cub")
