"""DF-GAN: the authors' tensors, sizes and names, one's own sentence, who takes gradients."""

from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from golden import DTYPES, Golden, probe
from torch import Tensor, nn

from core.errors import UserError
from t2i.encoders.base import TextFeatures
from t2i.encoders.damsm import Damsm, DamsmConfig
from t2i.encoders.lstm import TextEncoder, pad_captions
from t2i.families.adversarial import draw_noise
from t2i.families.base import GeneratorOutput
from t2i.families.dfgan import (
    DfGanConfig,
    DfGanLoss,
    DownBlock,
    Fusion,
    Generator,
    UpBlock,
    build_discriminators,
    discriminator_loss,
    generator_loss,
    resolutions,
)
from t2i.interop import names_of, renamed
from t2i.vocabulary import Vocabulary

NAMES = names_of(DfGanConfig())
SIZES = {"netG": 9_744_131, "netD": 6_619_206, "netC": 295_936}  # parameters of the authors' bird model


def tiny(**changes) -> DfGanConfig:
    sizes = {"size": 64, "width": 2, "discriminator_width": 2, "embedding": 16, "noise": 6}
    return DfGanConfig(**(sizes | changes))


def heard(sentence: Tensor) -> TextFeatures:
    """The sentences (B, E) with two words each, which DF-GAN does not hear."""
    B, E = sentence.shape
    return TextFeatures(torch.randn(B, 2, E), torch.zeros(B, 2, dtype=torch.bool), sentence)


def both_networks(config: DfGanConfig) -> nn.ModuleDict:
    return nn.ModuleDict({"generator": Generator(config), "discriminators": build_discriminators(config)})


def lively(networks: nn.Module) -> nn.Module:
    """Random weights where the initial ones are 0, so that every path is open."""
    torch.manual_seed(0)
    for p in networks.parameters():
        if not p.any():
            nn.init.normal_(p, 0.0, 0.5)
    return networks


def random_batch(config: DfGanConfig, B: int = 3) -> tuple[Tensor, Tensor, TextFeatures]:
    """Noise (B, Z), pictures (B, 3, s, s) and text."""
    images = torch.rand(B, 3, config.size, config.size) * 2 - 1
    return torch.randn(B, config.noise), images, heard(torch.randn(B, config.embedding))


# ---- the authors' tensors ----

# bounds of float32, whose rounding the generator's weights in these files magnify
MAGNIFIED = {"out/fake_s": 2e-3, "loss": 2e-3, "grad": 2e-3}
MODES = pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])


def read(name: str, network: str, dtype: torch.dtype) -> tuple[Golden, nn.ModuleDict]:
    """A file, and tiny networks with its weights; `network` is the authors' name of the one in it."""
    golden, networks = Golden(f"dfgan_{name}", dtype), both_networks(tiny())
    golden.load(networks, NAMES, network)
    return golden, networks


@DTYPES
@MODES
def test_the_generator_is_the_originals(dtype: torch.dtype, training: bool):
    golden, networks = read("net_g", "netG", dtype)
    noise, sentence = golden.input("noise"), golden.input("sent")
    (image,) = networks["generator"].train(training)(noise, noise[:, :0], heard(sentence)).images
    scalar = probe([image])
    scalar.backward()
    values = {"out/fake": image, "loss/scalar": scalar}
    golden.compare("", values | {"gradin/noise": noise.grad, "gradin/sent": sentence.grad}, float32=MAGNIFIED)


@DTYPES
@MODES
def test_the_backbone_is_the_originals(dtype: torch.dtype, training: bool):
    golden, networks = read("net_d", "netD", dtype)
    x = golden.image("x", 64).requires_grad_()
    features = networks["discriminators"].train(training)[0].features(x)
    scalar = probe([features])
    scalar.backward()
    values = {"out/features": features, "loss/scalar": scalar, "gradin/x": x.grad}
    golden.compare("", values)


@DTYPES
@MODES
def test_the_head_is_the_originals(dtype: torch.dtype, training: bool):
    golden, networks = read("net_c", "netC", dtype)
    features, sentence = golden.input("features"), golden.input("sent")
    logits = networks["discriminators"].train(training)[0].conditional_logits(features, sentence)
    scalar = probe([logits])
    scalar.backward()
    values = {"out/out": logits.view(-1, 1, 1, 1), "loss/scalar": scalar}
    values |= {"gradin/features": features.grad, "gradin/sent": sentence.grad}
    golden.compare("", values)


@DTYPES
def test_the_discriminators_loss_is_the_originals(dtype: torch.dtype):
    """Hinge of real, painted and mismatched pairs, with the penalty, alone and without it."""
    golden, networks = read("losses", "", dtype)
    G, Ds = networks["generator"], networks["discriminators"]
    x, noise, text = golden.image("x", 64), golden.input("noise"), heard(golden.input("sent"))
    painting = G(noise, noise[:, :0], text)
    of_real, of_fake = Ds[0].features(x), Ds[0].features(painting.images[0])
    seen = {"real": of_real, "fake": of_fake, "mis": of_real.roll(-1, 0)}
    values = {
        f"out/pred_{name}": Ds[0].conditional_logits(features, text.sentence).view(-1, 1, 1, 1)
        for name, features in seen.items()
    }

    loss, logs = discriminator_loss(Ds, (x,), painting, text, DfGanLoss(), step=0)
    penalty = logs["penalty_64"]
    golden.close("D/out/grad_l2norm", penalty, golden.tensors["D/out/grad_l2norm"].pow(6).mean())
    (2 * penalty).backward(retain_graph=True)
    golden.compare("MAGP/", {})
    networks.zero_grad()
    loss.backward()
    parts = tuple(f"loss/errD_{name}" for name in seen)  # errD is made of them
    values |= {"loss/errD": loss, "loss/errD_MAGP": 2 * penalty}
    golden.compare("D/", values, without=(*parts, "out/grad_l2norm"))
    assert all(p.grad is None for p in G.parameters())

    loss, _ = discriminator_loss(Ds, (x,), painting, text, DfGanLoss(penalty_every=2), step=1)
    real, fake, mis = (golden.tensors[f"D/{name}"] for name in parts)
    golden.close("without the penalty", loss, real + (fake + mis) / 2)


@DTYPES
def test_the_generators_loss_is_the_originals(dtype: torch.dtype):
    golden, networks = read("losses", "", dtype)
    noise, sentence = golden.input("noise"), golden.input("sent")
    networks["discriminators"].requires_grad_(False)
    painting = networks["generator"](noise, noise[:, :0], heard(sentence))
    loss, _ = generator_loss(
        networks["discriminators"], painting, heard(sentence), torch.arange(3), None, DfGanLoss()
    )
    loss.backward()
    values = {"out/fake": painting.images[0], "loss/errG": loss, "gradin/sent": sentence.grad}
    golden.compare("G/", values, float32=MAGNIFIED)


# ---- sizes and names ----


def test_the_networks_have_the_published_sizes():
    with torch.device("meta"):
        state = both_networks(DfGanConfig()).state_dict()
    sizes = dict.fromkeys(SIZES, 0)
    for key, value in state.items():
        sizes[renamed(key, NAMES, back=True).split(".")[0]] += value.numel()
    assert sizes == SIZES


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512])
def test_pictures_of_every_size(size):
    config = tiny(size=size)
    with torch.device("meta"):
        noise, images, text = random_batch(config, 2)
        painting = Generator(config)(noise, noise[:, :0], text)
        (D,) = build_discriminators(config)
        features = D.features(images)
        logits = D.conditional_logits(features, text.sentence)
    assert [image.shape[-1] for image in painting.images] == resolutions(config) == [size]
    assert painting.attention == () and painting.mean.shape == painting.log_var.shape == (2, 0)
    assert features.shape == (2, 16, 4, 4) and logits.shape == (2,)


# ---- what a picture depends on ----


def test_a_picture_is_the_same_alone_in_a_batch_and_padded():
    captions = [[1, 2, 3, 4, 5, 6, 7], [3, 1], [9, 8, 7, 6]]
    encoder = TextEncoder(12, embedding=16, word_width=10).eval()
    G = lively(Generator(tiny())).eval()
    noise, epsilon = draw_noise([4, 5, 6], G.config)
    together = G(noise, epsilon, encoder(*pad_captions(captions))).images[0]
    padded = G(noise, epsilon, encoder(*pad_captions(captions, length=15))).images[0]
    torch.testing.assert_close(padded, together, rtol=0, atol=1e-6)
    for i, caption in enumerate(captions):
        alone = G(noise[i : i + 1], epsilon[i : i + 1], encoder(*pad_captions([caption]))).images[0]
        torch.testing.assert_close(together[i], alone[0], rtol=0, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_the_words_are_not_heard_but_the_sentence_is():
    config = tiny()
    G = lively(Generator(config)).eval()
    noise, _, text = random_batch(config)
    first = G(noise, noise[:, :0], text).images[0]
    assert torch.equal(first, G(noise, noise[:, :0], heard(text.sentence)).images[0])
    assert (first - G(noise, noise[:, :0], heard(-text.sentence)).images[0]).abs().max() > 1e-3


def test_an_untrained_fusion_and_an_untrained_residual_change_nothing():
    x = torch.rand(2, 4, 8, 8)
    torch.testing.assert_close(Fusion(5, 4)(x, torch.randn(2, 5)), x)  # leaky only below 0
    torch.testing.assert_close(DownBlock(4, 4)(x), F.avg_pool2d(x, 2))


def test_fusing_before_enlarging_and_pooling_before_the_shortcut_are_the_same():
    """The textbook order of both blocks, at full work."""
    x, condition = torch.randn(2, 4, 8, 8).double(), torch.randn(2, 5).double()
    up = lively(UpBlock(5, 4, 6)).double()
    large = F.interpolate(x, scale_factor=2)
    hidden = F.conv2d(up.fuse1(large, condition), up.up.weight, up.up.bias, padding=1)
    expected = up.shortcut(large) + up.convolve(up.fuse2(hidden, condition))
    torch.testing.assert_close(up(x, condition), expected, rtol=0, atol=1e-12)
    down = lively(DownBlock(4, 6)).double()
    expected = F.avg_pool2d(down.shortcut(x), 2) + down.scale * down.residual(x)
    torch.testing.assert_close(down(x), expected, rtol=0, atol=1e-12)


def test_single_precision_paints_the_same_picture():
    G = lively(Generator(tiny(width=8)))
    noise, _, text = random_batch(tiny())
    single = G(noise, noise[:, :0], text).images[0]
    double = G.double()(noise.double(), noise[:, :0], heard(text.sentence.double())).images[0].detach()
    assert double.std() > 0.05
    torch.testing.assert_close(single, double.float(), rtol=0, atol=2e-4 * float(double.abs().max()))


# ---- losses ----


def test_the_loss_by_hand():
    """With logits that are all zero every hinge is 1; the generator's loss is 0."""
    config, losses = tiny(), DfGanLoss(penalty_weight=0.0)
    Ds = build_discriminators(config)
    nn.init.zeros_(Ds[0].conditional.weight)
    noise, images, text = random_batch(config)
    painting = Generator(config)(noise, noise[:, :0], text)
    loss, logs = discriminator_loss(Ds, (images,), painting, text, losses, 0)
    torch.testing.assert_close(loss, torch.tensor(2.0))  # 1 + (1 + 1) / 2
    assert logs.keys() == {"d_64"}
    assert generator_loss(Ds, painting, text, torch.arange(3), None, losses)[0] == 0


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_each_step_moves_its_own_network(precision):
    config, losses = tiny(), DfGanLoss(translation=0.1)
    networks = lively(both_networks(config))
    G, Ds = networks["generator"], networks["discriminators"]
    noise, images, text = random_batch(config)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        painting = G(noise, noise[:, :0], text)
        loss, logs = discriminator_loss(Ds, (images,), painting, text, losses, step=0)
    assert loss.dtype == painting.images[0].dtype == torch.float32
    assert logs.keys() == {"d_64", "penalty_64"}
    loss.backward()
    assert all(p.grad is None for p in G.parameters())
    idle = {key for key, p in Ds.named_parameters() if p.grad is None}
    assert idle == {"0.blocks.3.shortcut.weight", "0.blocks.3.shortcut.bias"}

    Ds.zero_grad()
    Ds.requires_grad_(False)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        loss, logs = generator_loss(Ds, painting, text, torch.arange(3), None, losses)
    assert logs.keys() == {"g"}
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in G.parameters())
    assert all(p.grad is None for p in Ds.parameters())


def test_the_penalty_reaches_every_weight_that_shapes_the_answer():
    config, losses = tiny(), DfGanLoss(penalty_every=3)
    (D,) = Ds = lively(build_discriminators(config))
    _, images, text = random_batch(config)
    _, logs = discriminator_loss(Ds, (images,), GeneratorOutput((images,)), text, losses, step=3)
    logs["penalty_64"].backward()
    for p in (D.from_image.weight, D.joint.weight, D.conditional.weight, D.blocks[0].scale):
        assert p.grad.any() and p.grad.isfinite().all()
    _, logs = discriminator_loss(Ds, (images,), GeneratorOutput((images,)), text, losses, step=4)
    assert logs.keys() == {"d_64"}


def test_the_penaltys_power_can_be_chosen():
    (D,) = Ds = lively(build_discriminators(tiny()))
    _, images, text = random_batch(tiny(), 2)
    images, sentence = images.requires_grad_(), text.sentence.requires_grad_()
    gradients = torch.autograd.grad(
        D.conditional_logits(D.features(images), sentence).sum(), (images, sentence)
    )
    norm = sum(g.flatten(1).square().sum(1) for g in gradients).sqrt()
    for power in (2.0, 3.0, 6.0):
        losses = DfGanLoss(penalty_power=power)
        _, logs = discriminator_loss(Ds, (images,), GeneratorOutput((images,)), text, losses, 0)
        torch.testing.assert_close(logs["penalty_64"], norm.pow(power).mean())


def test_damsm_can_be_added_and_hears_captions_without_a_picture():
    torch.manual_seed(0)
    texts = ["a red bird", "this bird has black wings", "a small blue bird"]
    config, losses = tiny(), DfGanLoss(damsm_weight=2.0)
    damsm_config = DamsmConfig(embedding=16, word_width=8, image_width=8, image_size=32)
    damsm = Damsm(damsm_config, Vocabulary.build(texts)).eval().requires_grad_(False)
    Ds, G = build_discriminators(config), Generator(config)
    all_text = damsm.encode([*texts, "a black bird"])
    text = all_text.rows(0, 3)
    noise = torch.randn(3, 6)
    painting = G(noise, noise[:, :0], text)
    _, alone = generator_loss(Ds, painting, text, torch.arange(3), damsm, losses)
    loss, beside = generator_loss(Ds, painting, all_text, torch.arange(3), damsm, losses)
    assert torch.equal(alone["g"], beside["g"]) and beside["damsm_words"] > alone["damsm_words"]
    torch.testing.assert_close(loss, beside["g"] + 2 * (beside["damsm_words"] + beside["damsm_sentence"]))


# ---- configuration ----


def test_a_configuration_survives_its_dictionary_and_the_command_line():
    from omegaconf import OmegaConf

    config = tiny(max_multiplier=4)
    assert DfGanConfig(**asdict(config)) == config
    merged = OmegaConf.merge(OmegaConf.structured(DfGanConfig), {"size": 64, "width": 2})
    assert OmegaConf.to_object(merged) == DfGanConfig(size=64, width=2)
    assert draw_noise([1, 2], config)[1].shape == (2, config.condition) == (2, 0)


def test_a_larger_picture_may_take_the_widths_of_a_smaller_one_and_one_block_more():
    small, large = (
        {key: value.shape for key, value in Generator(tiny(**sizes)).state_dict().items()}
        for sizes in ({"size": 64, "width": 4}, {"size": 128, "width": 2, "max_multiplier": 16})
    )
    shared = {key: shape for key, shape in small.items() if not key.startswith("to_image")}
    assert shared.items() <= large.items()
    assert {key.split(".")[1] for key in large.keys() - small.keys()} == {"4"}


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: tiny(size=100), "size=100: one of 32, 64, 128, 256, 512 was expected"),
        (lambda: tiny(width=0), "width=0: a whole number from 1 to 1024 was expected"),
        (
            lambda: DfGanLoss(penalty_every=0),
            "penalty_every=0: a whole number from 1 to 1000000 was expected",
        ),
        (lambda: DfGanLoss(penalty_power=1.0), "penalty_power=1.0: a number from 2 to 20 was expected"),
        (lambda: DfGanLoss(damsm_weight=-1.0), "damsm_weight=-1.0: a number from 0 to 1000000 was expected"),
    ],
)
def test_a_setting_that_cannot_be_is_named_in_one_line(make, message):
    with pytest.raises(UserError) as raised:
        make()
    assert str(raised.value) == message
