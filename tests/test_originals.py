"""AttnGAN and DAMSM are the originals' networks and losses; every family's checkpoints can be read and written."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import DTYPES, REFERENCE, Golden, probe
from torch import Tensor, nn

from app import convert
from core.errors import UserError
from t2i.encoders.base import TextFeatures
from t2i.encoders.damsm import (
    Damsm,
    DamsmConfig,
    attend_regions,
    damsm_loss,
    matching_loss,
    sentence_scores,
    word_scores,
)
from t2i.encoders.image import InceptionImageEncoder
from t2i.encoders.lstm import TextEncoder
from t2i.families import attngan
from t2i.families.attngan import AttnGanConfig, AttnGanLoss, Generator, build_discriminators
from t2i.families.base import GeneratorOutput
from t2i.families.dfgan import DfGanConfig
from t2i.families.registry import family_of
from t2i.families.stackgan import StackGanConfig
from t2i.families.stackgan_v2 import StackGanV2Config
from t2i.interop import encoder_names, names_of, networks_of, renamed
from t2i.losses import kl_divergence
from t2i.painter import Painter
from t2i.vocabulary import Vocabulary

MODES = pytest.mark.parametrize("mode", ["train", "eval"])


def sizes(golden: Golden, **changes) -> AttnGanConfig:
    """The configuration that a file of AttnGAN was made with."""
    theirs = {
        "width": "GF_DIM",
        "discriminator_width": "DF_DIM",
        "embedding": "EMBEDDING_DIM",
        "noise": "Z_DIM",
    }
    theirs |= {"condition": "CONDITION_DIM", "residual_blocks": "R_NUM"}
    found = {ours: golden.sizes[name] for ours, name in theirs.items() if name in golden.sizes}
    return AttnGanConfig(**(found | changes))


def of_words(words: Tensor, is_pad: Tensor, sentence: Tensor | None = None) -> TextFeatures:
    """words (B, E, L), as the originals have them -> TextFeatures."""
    return TextFeatures(words.transpose(1, 2), is_pad, words.mean(2) if sentence is None else sentence)


# ---- AttnGAN's modules ----


@DTYPES
@pytest.mark.parametrize("variant", ["original", "corrected", "nomask"])
def test_attention(variant: str, dtype: torch.dtype):
    golden = Golden("attngan_attention", dtype)
    config = AttnGanConfig(width=8, embedding=16, mask="original" if variant == "original" else "own")
    model = nn.ModuleDict({"generator": Generator(config)})
    golden.load(model, names_of(config), "netG.h_net2.att", whole=False)
    hidden, words, mask = golden.input("input"), golden.input("context"), golden.input("mask")
    is_pad = torch.zeros_like(mask) if variant == "nomask" else mask
    context, attention = model["generator"].next[0].attend(hidden, words.transpose(1, 2), is_pad)
    loss = probe([context, attention])
    loss.backward()
    values = {"out/weighted": context, "out/attn": attention, "loss/scalar": loss}
    golden.compare(f"{variant}/", values | {"gradin/input": hidden.grad, "gradin/context": words.grad})


@DTYPES
def test_conditioning_augmentation(dtype: torch.dtype):
    golden = Golden("attngan_ca_net", dtype)
    config = sizes(golden)
    model = nn.ModuleDict({"generator": Generator(config)})
    golden.load(model, names_of(config), "netG.ca_net", whole=False)
    sentence = golden.input("sent_emb")
    outputs = model["generator"].augment(sentence, golden.input("eps"))
    loss = probe(list(outputs))
    loss.backward()
    values = dict(zip(("out/c_code", "out/mu", "out/logvar"), outputs, strict=True))
    values |= {"gradin/sent_emb": sentence.grad, "loss/scalar": loss}
    golden.compare("", values)


@DTYPES
@MODES
def test_first_stage(mode: str, dtype: torch.dtype):
    golden = Golden("attngan_init_stage_g", dtype)
    config = sizes(golden, width=golden.sizes["ngf"] // 16)
    model = nn.ModuleDict({"generator": Generator(config)}).train(mode == "train")
    golden.load(model, names_of(config), "netG.h_net1", whole=False)
    noise, code = golden.input("z_code"), golden.input("c_code")
    hidden = model["generator"].first(code, noise)
    loss = probe([hidden])
    loss.backward()
    values = {"out/h_code": hidden, "loss/scalar": loss}
    golden.compare(f"{mode}/", values | {"gradin/c_code": code.grad, "gradin/z_code": noise.grad})


@DTYPES
@MODES
@pytest.mark.parametrize("mask", ["original", "own"])
def test_next_stage(mask: str, mode: str, dtype: torch.dtype):
    name = "attngan_next_stage_g" + ("_corrected" if mask == "own" else "")
    golden = Golden(name, dtype)
    config = sizes(golden, width=golden.sizes["ngf"], embedding=golden.sizes["nef"], mask=mask)
    model = nn.ModuleDict({"generator": Generator(config)}).train(mode == "train")
    golden.load(model, names_of(config), "netG.h_net2", whole=False)
    hidden, words = golden.input("h_code"), golden.input("word_embs")
    out, (attention,) = model["generator"].next[0](hidden, of_words(words, golden.input("mask")))
    loss = probe([out, attention])
    loss.backward()
    values = {"out/out_code": out, "out/att": attention, "loss/scalar": loss}
    golden.compare(f"{mode}/", values | {"gradin/h_code": hidden.grad, "gradin/word_embs": words.grad})


@DTYPES
def test_image_head(dtype: torch.dtype):
    golden = Golden("attngan_get_image_g", dtype)
    config = AttnGanConfig(width=golden.sizes["ngf"], embedding=16)
    model = nn.ModuleDict({"generator": Generator(config)})
    golden.load(model, names_of(config), "netG.img_net1", whole=False)
    hidden = golden.input("h_code")
    image = model["generator"].to_image[0](hidden).tanh()
    loss = probe([image])
    loss.backward()
    values = {"out/img": image, "loss/scalar": loss, "gradin/h_code": hidden.grad}
    golden.compare("", values)


@DTYPES
@MODES
@pytest.mark.parametrize("name", ["attngan_g_net", "attngan_g_net_corrected", "attngan_g_dcgan"])
def test_generators(name: str, mode: str, dtype: torch.dtype):
    golden = Golden(name, dtype)
    mask = "own" if golden.sizes["mask"] == "corrected" else "original"
    config = sizes(golden, mask=mask, outputs="last" if "dcgan" in name else "every")
    model = nn.ModuleDict({"generator": Generator(config)}).train(mode == "train")
    golden.load(model, names_of(config), "netG")
    noise, sentence, words = (golden.input(key) for key in ("z_code", "sent_emb", "word_embs"))
    text = of_words(words, golden.input("mask"), sentence)
    painting = model["generator"](noise, golden.input("eps"), text)
    fakes = ["fake3"] if "dcgan" in name else ["fake1", "fake2", "fake3"]
    outputs = dict(
        zip(
            [*fakes, "att1", "att2", "mu", "logvar"],
            [*painting.images, *painting.attention, painting.mean, painting.log_var],
            strict=True,
        )
    )
    loss = probe(list(outputs.values()))
    loss.backward()
    values = {f"out/{key}": value for key, value in outputs.items()} | {"loss/scalar": loss}
    values |= {"gradin/z_code": noise.grad, "gradin/sent_emb": sentence.grad, "gradin/word_embs": words.grad}
    golden.compare(f"{mode}/", values)


@DTYPES
@MODES
@pytest.mark.parametrize("index, side", [(0, 64), (1, 128), (2, 256)])
def test_discriminators(index: int, side: int, mode: str, dtype: torch.dtype):
    golden = Golden(f"attngan_d_net{side}", dtype)
    config = sizes(golden)
    model = nn.ModuleDict({"discriminators": build_discriminators(config)}).train(mode == "train")
    golden.load(model, names_of(config), f"netD{index}")
    D = model["discriminators"][index]
    x, sentence = golden.image("x", side).requires_grad_(), golden.input("c_code")
    features = D.features(x)
    outputs = {
        "features": features,
        "cond": D.conditional_logits(features, sentence).sigmoid(),
        "uncond": D.unconditional_logits(features).sigmoid(),
    }
    loss = probe(list(outputs.values()))
    loss.backward()
    values = {f"out/{key}": value for key, value in outputs.items()} | {"loss/scalar": loss}
    golden.compare(f"{mode}/", values | {"gradin/x": x.grad, "gradin/c_code": sentence.grad})


# ---- AttnGAN's losses ----


@DTYPES
@pytest.mark.parametrize("unconditional", [True, False])
def test_discriminator_loss(unconditional: bool, dtype: torch.dtype):
    golden = Golden("attngan_discriminator_loss" + ("" if unconditional else "_nouncond"), dtype)
    config = sizes(golden, stages=1, unconditional=unconditional)
    model = nn.ModuleDict({"discriminators": build_discriminators(config)})
    golden.load(model, names_of(config), "netD0")
    real, fake, sentence = golden.image("real", 64), golden.image("fake", 64), golden.input("conditions")
    text = of_words(sentence[:, :, None], torch.zeros(3, 1, dtype=torch.bool), sentence)
    loss, _ = attngan.discriminator_loss(
        model["discriminators"], (real,), GeneratorOutput((fake,)), text, AttnGanLoss(), step=0
    )
    loss.backward()
    values = {"loss/errD": loss, "gradin/conditions": sentence.grad}
    golden.compare("", values)


class StubEncoder(nn.Module):
    """The image encoder of the golden file: averages of 15 x 15 pixels, then linear maps."""

    def __init__(self, golden: Golden):
        super().__init__()
        self.of_region, self.of_code = golden.input("stub_region_w"), golden.input("stub_code_w")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pooled = nn.functional.avg_pool2d(images, 15, 15).flatten(2).transpose(1, 2)  # (B, 289, 3)
        return pooled @ self.of_region.flatten(1).T, pooled.mean(1) @ self.of_code.T


@DTYPES
def test_generator_loss(dtype: torch.dtype):
    golden = Golden("attngan_generator_loss", dtype)
    config = sizes(golden)
    model = nn.ModuleDict({"discriminators": build_discriminators(config)})
    for i in range(3):
        golden.load(model, names_of(config), f"netD{i}", stored=f"param/D{i}.")
    damsm = Damsm(DamsmConfig(embedding=16, word_width=8, image_width=2), Vocabulary.build(["bird"]))
    damsm.image_encoder = StubEncoder(golden)  # type: ignore[assignment]
    fakes = tuple(golden.image(f"fake{i}", 64 * 2**i).requires_grad_() for i in range(3))
    words, sentence = golden.input("words_embs"), golden.input("sent_emb")
    is_pad = torch.arange(words.shape[2])[None] >= golden.input("cap_lens")[:, None]
    text = of_words(words, is_pad, sentence)
    nothing = torch.zeros(3, 1, dtype=dtype)
    loss, logs = attngan.generator_loss(
        model["discriminators"],
        GeneratorOutput(fakes, (), nothing, nothing),
        text,
        golden.input("class_ids"),
        damsm,
        AttnGanLoss(),
    )
    loss.backward()
    values = {"loss/errG_total": loss, "loss/w_loss": 5 * logs["damsm_words"]}
    values |= {"loss/s_loss": 5 * logs["damsm_sentence"]}
    values |= {f"gradin/fake{i}": fake.grad for i, fake in enumerate(fakes)}
    of_each = tuple(f"loss/g_loss{i}" for i in range(3))  # ours gives their sum
    golden.close("their sum", logs["g"], sum(golden.tensors[key] for key in of_each))
    buffers = tuple(key for key in golden.tensors if key.startswith("buffer_after/"))
    golden.compare("", values, without=(*of_each, *buffers))
    state = model.state_dict()
    for key in buffers:  # "buffer_after/D0.img_code_s16.3.running_mean"
        name = "net" + key.removeprefix("buffer_after/")
        golden.close(key, state[renamed(name, names_of(config))], golden.tensors[key])


@DTYPES
def test_kl(dtype: torch.dtype):
    golden = Golden("attngan_kl_loss", dtype)
    golden.model = nn.ModuleDict()
    mean, log_var = golden.input("mu"), golden.input("logvar")
    loss = kl_divergence(mean, log_var)
    loss.backward()
    values = {"loss/kl": loss, "gradin/mu": mean.grad, "gradin/logvar": log_var.grad}
    golden.compare("", values)


# ---- DAMSM ----


@DTYPES
@pytest.mark.parametrize("rnn", ["lstm", "gru"])
def test_text_encoder(rnn: str, dtype: torch.dtype):
    golden = Golden(f"attngan_rnn_encoder_{rnn}", dtype)
    shape = golden.sizes
    encoder = TextEncoder(shape["ntoken"], shape["nhidden"], shape["ninput"], 0.0, rnn=rnn)
    golden.load(nn.ModuleDict({"text_encoder": encoder}), encoder_names(rnn), "text_encoder")
    ids, lengths = golden.input("captions"), golden.input("cap_lens")
    ids = ids[:, : int(lengths.max())]
    text = encoder(ids, torch.arange(ids.shape[1])[None] >= lengths[:, None])
    words = text.words.transpose(1, 2)
    loss = probe([words, text.sentence])
    loss.backward()
    values = {"out/words_emb": words, "out/sent_emb": text.sentence, "loss/scalar": loss}
    golden.compare("", values)


@DTYPES
def test_image_encoder_heads(dtype: torch.dtype):
    golden = Golden("attngan_cnn_encoder_heads", dtype)
    with torch.device("meta"):
        encoder = InceptionImageEncoder(golden.sizes["nef"])
    encoder.backbone = nn.ModuleDict()
    model = nn.ModuleDict({"image_encoder": encoder.to_empty(device="cpu")})
    golden.load(model, encoder_names(), "image_encoder")
    maps, pooled = golden.input("mixed_6e"), golden.input("pooled")
    regions, seen = encoder.heads(maps, pooled.flatten(1))
    features = regions.transpose(1, 2).unflatten(2, maps.shape[2:])
    loss = probe([features, seen])
    loss.backward()
    values = {"out/features": features, "out/cnn_code": seen, "loss/scalar": loss}
    values |= {"gradin/pooled": pooled.grad, "out/resize299_align1": encoder.enlarged(golden.input("img16"))}
    others = tuple(key for key in golden.tensors if "align0" in key)  # newer PyTorch's way to enlarge
    golden.compare("", values, without=others)


@DTYPES
def test_region_attention(dtype: torch.dtype):
    golden = Golden("attngan_func_attention", dtype)
    golden.model = nn.ModuleDict()
    words, maps = golden.input("query"), golden.input("context")  # (B, E, L), (B, E, h, w)
    text = of_words(words, torch.zeros(len(words), words.shape[2], dtype=torch.bool))
    context, weights = attend_regions(maps.flatten(2).transpose(1, 2), text, golden.sizes["gamma1"])
    own = torch.arange(len(words))
    weighted = context[own, own].transpose(1, 2)
    attention = weights[own, own].unflatten(2, maps.shape[2:])
    loss = probe([weighted, attention])
    loss.backward()
    values = {"out/weighted": weighted, "out/attn": attention, "loss/scalar": loss}
    values |= {"gradin/query": words.grad, "gradin/context": maps.grad}
    golden.compare("", values)


@DTYPES
@pytest.mark.parametrize("variant", ["nomask", "masked"])
def test_matching_losses(variant: str, dtype: torch.dtype):
    golden = Golden("attngan_words_loss", dtype)
    golden.model = nn.ModuleDict()
    ids = golden.input("class_ids") if variant == "masked" else torch.arange(5)
    maps, words = golden.input("img_features"), golden.input("words_emb")
    is_pad = torch.arange(words.shape[2])[None] >= golden.input("cap_lens")[:, None]
    scores = 10 * word_scores(maps.flatten(2).transpose(1, 2), of_words(words, is_pad), 4.0, 5.0)
    golden.close("similarities", scores, golden.tensors["out/similarities"])
    loss = matching_loss(scores, ids)
    loss.backward()
    expected = golden.tensors[f"{variant}/loss/w_loss0"] + golden.tensors[f"{variant}/loss/w_loss1"]
    golden.close("word loss", loss, expected)
    golden.compare(f"{variant}/gradin/", {"img_features": maps.grad, "words_emb": words.grad})

    golden = Golden("attngan_sent_loss", dtype)
    golden.model = nn.ModuleDict()
    image, sentence = golden.input("cnn_code"), golden.input("rnn_code")
    loss = matching_loss(10 * sentence_scores(image, sentence), ids)
    loss.backward()
    expected = golden.tensors[f"{variant}/loss/s_loss0"] + golden.tensors[f"{variant}/loss/s_loss1"]
    golden.close("sentence loss", loss, expected)
    golden.compare(f"{variant}/gradin/", {"cnn_code": image.grad, "rnn_code": sentence.grad})


# ---- checkpoints ----

FULL_SIZE = {  # family and networks of checkpoints.json, and ours
    "AttnGAN": (
        AttnGanConfig(),
        {"netG": "G_NET", "netD0": "D_NET64", "netD1": "D_NET128", "netD2": "D_NET256"},
    ),
    "AttnDCGAN": (
        AttnGanConfig(outputs="last", unconditional=False, residual_blocks=0),
        {"netG": "G_DCGAN", "netD2": "D_NET256_dcgan"},
    ),
    "AttnGAN, 512 px": (
        AttnGanConfig(stages=4),
        {"netG": "G_NET_4stage_512px_extrapolated", "netD3": "D_NET512_extrapolated"},
    ),
    "StackGAN, Stage I": (StackGanConfig(), {"STAGE1_G": "STAGE1_G", "netD": "STAGE1_D"}),
    "StackGAN, Stage II": (StackGanConfig(stage=2), {"STAGE2_G": "STAGE2_G", "netD": "STAGE2_D"}),
    "StackGAN-v2": (
        StackGanV2Config(),
        {"netG": "G_NET", "netD0": "D_NET64", "netD1": "D_NET128", "netD2": "D_NET256"},
    ),
    "DF-GAN": (DfGanConfig(), {"netG": "netG", "netD": "netD", "netC": "netC"}),
}


@pytest.mark.parametrize("family", FULL_SIZE)
def test_every_key_of_the_originals_has_its_place(family: str):
    """All keys and shapes of the files at full size, there and back."""
    listed = checkpoints_listed()[family.replace("AttnDCGAN", "AttnGAN").split(",")[0]]["networks"]
    config, networks = FULL_SIZE[family]
    with torch.device("meta"):
        module = family_of(config)
        model = nn.ModuleDict(module.build(config))
    names = names_of(config)
    ours = networks_of(model.state_dict(), names)
    for network, theirs in networks.items():
        expected = {key: tuple(shape) for key, shape in listed[theirs]["keys"].items()}
        assert {key: tuple(value.shape) for key, value in ours[network].items()} == expected
        for key in expected:
            name = key if key.startswith("STAGE1_G.") else f"{network}.{key}"
            assert renamed(renamed(name, names), names, back=True) == name
    if family != "AttnGAN, 512 px":  # only the largest of its discriminators is listed
        assert ours.keys() == networks.keys()


def checkpoints_listed() -> dict:
    return json.loads((REFERENCE / "checkpoints.json").read_text(encoding="utf-8"))["families"]


def test_every_key_of_the_original_encoders_has_its_place():
    listed = checkpoints_listed()["DAMSM"]["networks"]
    with torch.device("meta"):
        model = Damsm(DamsmConfig(image="inception"), Vocabulary(["<end>", *map(str, range(5449))]))
    ours = networks_of(model.state_dict(), encoder_names())
    text, image = listed["text_encoder"], listed["image_encoder"]
    assert {key: list(value.shape) for key, value in ours["text_encoder"].items()} == text["keys"]
    heads = {key: list(value.shape) for key, value in ours["image_encoder"].items() if key.startswith("emb_")}
    assert heads == image["keys"]
    counts = {
        block: sum(key.startswith(f"{block}.") for key in ours["image_encoder"])
        for block in image["trunk_prefixes_and_key_counts"]
    }
    assert counts == image["trunk_prefixes_and_key_counts"]
    assert sum(counts.values()) + len(heads) == len(ours["image_encoder"])
    assert sum(p.numel() for p in model.image_encoder.parameters()) == image["parameters"]


TINY = dict(width=4, discriminator_width=2, embedding=16, noise=5)
CONVERTED = {
    "attngan": AttnGanConfig(**TINY, condition=6, residual_blocks=1),
    "attndcgan": AttnGanConfig(**TINY, condition=6, residual_blocks=0, outputs="last", unconditional=False),
    "stackgan 1": StackGanConfig(**TINY, condition=6, residual_blocks=1),
    "stackgan 2": StackGanConfig(**TINY, stage=2, condition=6, residual_blocks=1),
    "stackgan_v2": StackGanV2Config(**TINY, condition=6, residual_blocks=1),
    "dfgan": DfGanConfig(**TINY, size=64),
}
WORDS = ["<end>", "a", "red", "bird", "with", "black", "wings"]


def write_theirs(folder: Path, config, counters: bool = True) -> list[Path]:
    """Files as the authors' code would have written them, of random networks and a text encoder."""
    torch.manual_seed(0)
    module = family_of(config)
    state = nn.ModuleDict(module.build(config)).state_dict()
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):
            value.fill_(7)
    networks = networks_of(state, names_of(config))
    if not counters:
        networks = {
            name: {key: value for key, value in of.items() if not key.endswith("num_batches_tracked")}
            for name, of in networks.items()
        }
    text = TextEncoder(len(WORDS), 16, 8).state_dict()
    networks |= networks_of({f"text_encoder.{key}": v for key, v in text.items()}, encoder_names())
    folder.mkdir()
    (folder / "captions.pickle").write_bytes(
        pickle.dumps([[], [], dict(enumerate(WORDS)), {word: i for i, word in enumerate(WORDS)}], protocol=2)
    )
    paths = []
    for name, content in convert.original_files(networks, config):
        paths.append(folder / name)
        torch.save(content, paths[-1])
    return paths


def same(a: object, b: object) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return isinstance(a, Tensor) and isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)


@pytest.mark.parametrize("counters", [True, False], ids=["counters", "older"])
@pytest.mark.parametrize("family", CONVERTED)
def test_there_and_back_is_bit_identical(family: str, counters: bool, tmp_path: Path, capsys):
    files = write_theirs(tmp_path / "theirs", CONVERTED[family], counters)
    words = [*map(str, files), "--captions", str(tmp_path / "theirs" / "captions.pickle")]
    assert convert.main([*words, "--out", str(tmp_path / "ours")]) == 0
    assert "painter of" in capsys.readouterr().out
    painter = Painter.load(tmp_path / "ours")
    assert painter.paint(["a red bird"], [0]).images[-1].isfinite().all()
    assert convert.main([str(tmp_path / "ours"), "--back", "--out", str(tmp_path / "again")]) == 0
    for path in files:
        again = tmp_path / "again" / path.name
        assert same(*(torch.load(p, weights_only=True) for p in (path, again))), path.name


def test_encoders_there_and_back(tmp_path: Path):
    torch.manual_seed(0)
    damsm = Damsm(DamsmConfig(embedding=16, word_width=8, image="inception"), Vocabulary(WORDS))
    (tmp_path / "theirs").mkdir()
    files = []
    for name, state in networks_of(damsm.state_dict(), encoder_names()).items():
        state = {key: v + 1 if key.endswith("num_batches_tracked") else v for key, v in state.items()}
        files.append(tmp_path / "theirs" / f"{name}.pth")
        torch.save(state, files[-1])
    captions = tmp_path / "captions.pickle"
    captions.write_bytes(pickle.dumps([[], [], dict(enumerate(WORDS)), {}], protocol=2))
    convert.main([*map(str, files), "--captions", str(captions), "--out", str(tmp_path / "ours")])
    loaded = Damsm.load(tmp_path / "ours")
    assert loaded.encode_images(torch.zeros(1, 3, 64, 64))[0].shape == (1, 289, 16)
    text = TextFeatures(*loaded.encode(["a red bird"]))
    regions, image = loaded.encode_images(torch.rand(1, 3, 64, 64))
    assert all(loss == 0 for loss in damsm_loss(regions, image, text, torch.zeros(1), loaded.config))
    convert.main([str(tmp_path / "ours"), "--back", "--out", str(tmp_path / "again")])
    for path in files:
        assert same(*(torch.load(p, weights_only=True) for p in (path, tmp_path / "again" / path.name)))


# ---- what does not fit ----


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"g_ema": state, "best": np.float64(0.5)},
        lambda state: {f"module.module.{key}": value for key, value in state.items()},
        lambda state: state | {"iteration": np.int64(7)},
        lambda state: {key: v.half() if v.is_floating_point() else v for key, v in state.items()},
    ],
    ids=["state_dict", "g_ema", "module.module.", "numpy", "float16"],
)
def test_files_as_others_save_them_are_converted_alike(wrapped, tmp_path: Path):
    files = write_theirs(tmp_path / "theirs", CONVERTED["attngan"])
    generator, text = (next(f for f in files if f.name == name) for name in ("netG.pth", "text_encoder.pth"))
    state = torch.load(generator, weights_only=True)
    # the same in half and single precision
    state = {key: v.half().float() if v.is_floating_point() else v for key, v in state.items()}
    models = []
    for content in (state, wrapped(state)):
        torch.save(content, generator)
        out = tmp_path / str(len(models))
        captions = str(tmp_path / "theirs" / "captions.pickle")
        assert convert.main([str(generator), str(text), "--captions", captions, "--out", str(out)]) == 0
        models.append(Painter.load(out).state_dict())
    assert all(torch.equal(value, models[1][key]) for key, value in models[0].items())
    card = (tmp_path / "1" / "README.md").read_text()
    assert ("stored as float16 there" in card) == any(v.dtype == torch.half for v in wrapped(state).values()
                                                      if isinstance(v, torch.Tensor))  # fmt: skip


def test_what_does_not_fit_is_named(tmp_path: Path):
    files = write_theirs(tmp_path / "theirs", CONVERTED["attngan"])
    generator = next(path for path in files if path.name == "netG.pth")
    captions = ["--captions", str(tmp_path / "theirs" / "captions.pickle")]
    out = ["--out", str(tmp_path / "ours")]
    text = str(tmp_path / "theirs" / "text_encoder.pth")
    state = torch.load(generator, weights_only=True)

    def refused(changed: dict | None, *words: str) -> str:
        if changed is not None:
            torch.save(changed, generator)
        with pytest.raises(UserError) as raised:
            convert.main([*words, *out])
        assert "\n" not in str(raised.value) and not (tmp_path / "ours").exists()
        return str(raised.value)

    whole = [str(generator), text, *captions]
    key = "h_net2.residual.0.block.0.weight"
    assert f"{key} has shape (9, 8, 3, 3), (16, 8, 3, 3) was expected" in refused(
        state | {key: state[key][:9]}, *whole
    )
    assert f"lacks {key} (16, 8, 3, 3)" in refused({k: v for k, v in state.items() if k != key}, *whole)
    assert "has strange.weight (2,), which a netG" in refused(
        state | {"strange.weight": torch.zeros(2)}, *whole
    )
    assert "holds no network that is known here" in refused({"strange.weight": torch.zeros(2)}, *whole)
    torch.save(state, generator)
    assert "needs the text encoder it was trained with" in refused(None, str(generator))
    assert "give that file: --captions" in refused(None, str(generator), text)
    assert "both hold a netG" in refused(None, str(generator), str(generator))
    assert "No such file" in refused(None, str(tmp_path / "none.pth"))
    fc = "h_net1.fc.0.weight"
    assert f"'{fc}' {tuple(state[fc].shape)} holds NaN" in refused(
        state | {fc: state[fc] * torch.nan}, *whole
    )
    assert f"'{fc}' {tuple(state[fc].shape)} holds complex numbers" in refused(
        state | {fc: state[fc] * 1j}, *whole
    )
    assert "do not tell the sizes" in refused(state | {fc: state[fc][0]}, *whole)
    for content, told in (
        (b"no checkpoint", "cut short, damaged, or no file of weights"),
        (b"<!DOCTYPE html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"", "the file is empty"),
    ):
        generator.write_bytes(content)
        assert told in refused(None, *whole)
    with pytest.raises(UserError, match='"netG.fc.weight.0" is not a key of these networks'):
        renamed("netG.fc.weight.0", names_of(DfGanConfig()))


# ---- a backbone from a file ----


@pytest.mark.parametrize("change", [{"max_multiplier": 16}, {"size": 64, "grown_from": 32}])
def test_what_the_authors_dfgan_has_not_is_not_converted(change):
    with pytest.raises(
        UserError, match="only a painter with gan.grown_from=0 and gan.max_multiplier=8 can be converted"
    ):
        names_of(DfGanConfig(**change))


def test_a_backbone_takes_the_weights_of_a_file_and_keeps_them(tmp_path: Path):
    torch.manual_seed(0)
    trained, encoder = InceptionImageEncoder(16), InceptionImageEncoder(16)
    state = trained.backbone.state_dict() | {
        "fc.weight": torch.zeros(1000, 2048)
    }  # torchvision's file has more
    torch.save(state, tmp_path / "inception_v3.pth")
    encoder.load_backbone(tmp_path / "inception_v3.pth")
    assert all(
        torch.equal(a, b)
        for a, b in zip(encoder.backbone.parameters(), trained.backbone.parameters(), strict=True)
    )
    torch.save({k: v for k, v in state.items() if not k.startswith("Mixed_7c")}, tmp_path / "shorter.pth")
    with pytest.raises(UserError, match=r"shorter.pth lacks Mixed_7c\."):
        encoder.load_backbone(tmp_path / "shorter.pth")
    with pytest.raises(UserError, match="cannot read the weights .*none.pth"):
        encoder.load_backbone(tmp_path / "none.pth")
