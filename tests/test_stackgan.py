"""StackGAN and StackGAN-v2: the originals' values, sizes and names; who learns in which step, and from what."""

import pytest
import torch
from golden import DTYPES, Golden, probe
from torch import Tensor, nn

from core.errors import UserError
from t2i.encoders.base import TextFeatures
from t2i.families import stackgan, stackgan_v2
from t2i.families.base import GeneratorOutput
from t2i.families.stackgan import StackGanConfig, StackGanLoss
from t2i.families.stackgan_v2 import StackGanV2Config, StackGanV2Loss
from t2i.interop import names_of

TINY = dict(width=4, discriminator_width=2, embedding=16, condition=6, noise=5, residual_blocks=1)
FAMILIES = {
    "stage 1": (stackgan, StackGanConfig(stage=1, **TINY), StackGanLoss()),
    "stage 2": (stackgan, StackGanConfig(stage=2, **TINY), StackGanLoss()),
    "v2": (stackgan_v2, StackGanV2Config(**TINY), StackGanV2Loss(colour_weight=50.0)),
}


def some_text(count: int, dtype: torch.dtype = torch.float32, sentence: Tensor | None = None) -> TextFeatures:
    """`count` captions of three words; these families read their sentences only."""
    sentence = torch.randn(count, 16, dtype=dtype) if sentence is None else sentence
    return TextFeatures(torch.zeros(count, 3, 16), torch.zeros(count, 3, dtype=torch.bool), sentence)


def some_real(config, count: int) -> tuple[Tensor, ...]:
    module = stackgan if isinstance(config, StackGanConfig) else stackgan_v2
    return tuple(torch.rand(count, 3, side, side) * 2 - 1 for side in module.resolutions(config))


# ---- what the authors' code computes ----


def sizes(golden: Golden, kind: type, **changes):
    """The configuration that a file was made with."""
    names = {"width": "GF_DIM", "discriminator_width": "DF_DIM", "embedding": "TEXT_DIMENSION"}
    names |= {"noise": "Z_DIM", "residual_blocks": "R_NUM"}
    condition = golden.sizes.get("CONDITION_DIM", golden.sizes.get("EMBEDDING_DIM"))
    values = {ours: golden.sizes[theirs] for ours, theirs in names.items()}
    return kind(condition=condition, **(values | changes))


@DTYPES
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    "name, network",
    [("stackgan_stage1_g", "STAGE1_G"), ("stackgan_stage2_g", "STAGE2_G"), ("stackganv2_g_net", "netG")],
)
def test_generators_are_the_originals(name: str, network: str, mode: str, dtype: torch.dtype):
    golden = Golden(name, dtype)
    if network == "netG":
        module, config = stackgan_v2, sizes(golden, StackGanV2Config)
        images, noise, draws = ("fake1", "fake2", "fake3"), golden.input("z_code"), ["eps"]
    else:
        stage = int(network[5])
        module, config = stackgan, sizes(golden, StackGanConfig, stage=stage)
        images = ("fake_img",) if stage == 1 else ("stage1_img", "fake_img")
        noise, draws = golden.input("noise"), ["eps"] if stage == 1 else ["eps_stage1", "eps_stage2"]
    model = nn.ModuleDict({"generator": module.Generator(config)}).train(mode == "train")
    golden.load(model, names_of(config), network)
    sentence = golden.input("text_embedding")
    epsilon = torch.cat([golden.input(draw) for draw in draws], dim=1)
    painting = model["generator"](noise, epsilon, some_text(3, sentence=sentence))
    outputs = dict(
        zip((*images, "mu", "logvar"), (*painting.images, painting.mean, painting.log_var), strict=True)
    )
    scalar = probe(list(outputs.values()))
    scalar.backward()
    # the second stage's has a value so near the kink of a ReLU that on some processors float32 carries it over: 8e-3
    golden.compare(
        f"{mode}/",
        {f"out/{name}": value for name, value in outputs.items()}
        | {"gradin/text_embedding": sentence.grad, "gradin/noise": noise.grad, "gradin/z_code": noise.grad}
        | {"loss/scalar": scalar},
        float32={"grad": 2e-2} if network == "STAGE2_G" else None,
    )


@DTYPES
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    "name, side",
    [
        ("stackgan_stage1_d", 64),
        ("stackgan_stage2_d", 256),
        ("stackganv2_d_net64", 64),
        ("stackganv2_d_net128", 128),
        ("stackganv2_d_net256", 256),
    ],
)
def test_discriminators_are_the_originals(name: str, side: int, mode: str, dtype: torch.dtype):
    golden = Golden(name, dtype)
    if "v2" in name:
        module, config, i = stackgan_v2, sizes(golden, StackGanV2Config), side // 128
    else:
        module, config, i = stackgan, sizes(golden, StackGanConfig, stage=1 if side == 64 else 2), 0
    model = nn.ModuleDict({"discriminators": module.build_discriminators(config)}).train(mode == "train")
    golden.load(model, names_of(config), f"netD{i}" if "v2" in name else "netD")
    D = model["discriminators"][i]
    x, code = golden.image("x", side).requires_grad_(), golden.input("c_code")
    features = D.features(x)
    outputs = {"features": features, "cond": D.conditional_logits(features, code).sigmoid()}
    if D.unconditional is not None:
        outputs["uncond"] = D.unconditional_logits(features).sigmoid()
    scalar = probe([value for key, value in outputs.items() if f"{mode}/out/{key}" in golden.tensors])
    scalar.backward()
    golden.compare(
        f"{mode}/",
        {f"out/{key}": value for key, value in outputs.items()}
        | {"gradin/x": x.grad, "gradin/c_code": code.grad, "loss/scalar": scalar},
    )


@DTYPES
@pytest.mark.parametrize("stage", [1, 2])
def test_stackgan_losses_are_the_originals(stage: int, dtype: torch.dtype):
    golden = Golden(f"stackgan_losses_stage{stage}", dtype)
    config = sizes(golden, StackGanConfig, stage=stage)
    model = nn.ModuleDict({"discriminators": stackgan.build_discriminators(config)})
    golden.load(model, names_of(config), "netD")
    sides = stackgan.resolutions(config)
    real, fake = (tuple(golden.image(name, s).requires_grad_() for s in sides) for name in ("real", "fake"))
    mean, log_var = golden.input("mu"), golden.input("logvar")
    text = some_text(3, dtype)

    loss, _ = stackgan.discriminator_loss(
        model["discriminators"], real, GeneratorOutput(fake, (), mean, log_var), text, StackGanLoss(), 0
    )
    loss.backward()
    assert mean.grad is None and fake[-1].grad is None
    parts = ("loss/errD_real", "loss/errD_wrong", "loss/errD_fake")  # errD is made of them
    golden.compare("D/", {"loss/errD": loss}, without=parts)

    golden.load(model, names_of(config), "netD")
    painting = GeneratorOutput(fake, (), mean, log_var)
    ids = torch.arange(3)
    loss, logs = stackgan.generator_loss(model["discriminators"], painting, text, ids, None, StackGanLoss())
    loss.backward()
    values = {"loss/total": loss, "loss/errG": logs["g"], "loss/kl": logs["kl"]}
    values |= {"gradin/fake": fake[-1].grad, "gradin/mu": mean.grad, "gradin/logvar": log_var.grad}
    golden.compare("G/", values)


@DTYPES
def test_stackgan_v2_losses_are_the_originals(dtype: torch.dtype):
    golden = Golden("stackganv2_losses", dtype)
    config = sizes(golden, StackGanV2Config)
    sides = stackgan_v2.resolutions(config)
    Ds = stackgan_v2.build_discriminators(config)
    model = nn.ModuleDict({"discriminators": Ds})
    mean, log_var = golden.input("mu"), golden.input("logvar")

    def load(i: int) -> None:
        golden.load(model, names_of(config), f"netD{i}", stored=f"param/D{i}.")

    for i, side in enumerate(sides):
        load(i)
        features = [Ds[i].features(golden.image(f"{kind}{i}", side)) for kind in ("real", "wrong", "fake")]
        loss = stackgan_v2.stage_loss(Ds[i], *features, mean.detach(), StackGanV2Loss())
        loss.backward()
        golden.compare(f"D{i}/", {"loss/errD": loss})

    for weight in (0.0, 50.0):
        for i in range(len(sides)):
            load(i)
        losses = StackGanV2Loss(colour_weight=weight)
        fakes = tuple(golden.image(f"fake{i}", side).requires_grad_() for i, side in enumerate(sides))
        painting = GeneratorOutput(fakes, (), mean, log_var)
        mean.grad = log_var.grad = None
        loss, logs = stackgan_v2.generator_loss(Ds, painting, some_text(3), torch.arange(3), None, losses)
        loss.backward()
        values = {"loss/errG_total": loss, "loss/kl_times_2": 2 * logs["kl"]}
        values |= {"gradin/mu": mean.grad, "gradin/logvar": log_var.grad}
        values |= {f"gradin/fake{i}": fake.grad for i, fake in enumerate(fakes)}
        golden.compare(f"G_color{weight:.0f}/", values)


@DTYPES
def test_colour_statistics_are_the_originals(dtype: torch.dtype):
    golden = Golden("stackganv2_mean_covariance", dtype)
    golden.model = nn.ModuleDict()
    images = golden.input("img")
    mean, covariance = stackgan_v2.mean_covariance(images)
    scalar = probe([mean, covariance])
    scalar.backward()
    values = {"out/mu": mean, "out/cov": covariance, "loss/scalar": scalar, "gradin/img": images.grad}
    golden.compare("", values)


# ---- sizes and names ----


def full_size(module, config, discriminators: bool) -> nn.ModuleDict:
    with torch.device("meta"):
        if discriminators:
            return nn.ModuleDict({"discriminators": module.build_discriminators(config)})
        return nn.ModuleDict({"generator": module.Generator(config)})


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "stage, of_generator, trained, of_discriminator",
    [(1, 10_301_248, 10_301_248, 5_715_713), (2, 36_591_328, 26_290_080, 71_269_122)],
)
def test_stackgan_has_the_published_size(stage, of_generator, trained, of_discriminator):
    G = full_size(stackgan, StackGanConfig(stage=stage), False)
    assert parameters(G) == of_generator
    assert sum(p.numel() for p in G.parameters() if p.requires_grad) == trained
    assert parameters(full_size(stackgan, StackGanConfig(stage=stage), True)) == of_discriminator


def test_stackgan_v2_has_the_published_size():
    assert parameters(full_size(stackgan_v2, StackGanV2Config(), False)) == 21_239_696
    Ds = full_size(stackgan_v2, StackGanV2Config(), True)["discriminators"]
    assert [parameters(D) for D in Ds] == [5_723_906, 18_834_178, 71_269_122]


# ---- what the contract promises ----


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_depends_on_its_own_sentence_and_noise_alone(family):
    torch.manual_seed(0)
    module, config, losses = FAMILIES[family]
    G = module.Generator(config).eval()
    noise, epsilon, text = torch.randn(3, 5), torch.randn(3, 6), some_text(3)
    with torch.no_grad():
        together = G(noise, epsilon, text)
        alone = G(noise[1:2], epsilon[1:2], text.rows(1, 2))
        other = G(noise[1:2], epsilon[1:2], text.rows(2, 3))
    assert [image.shape for image in together.images] == [(3, 3, s, s) for s in module.resolutions(config)]
    assert together.attention == () and together.mean.shape == together.log_var.shape == (3, 6)
    for batch, single, another in zip(together.images, alone.images, other.images, strict=True):
        size = batch.abs().max()  # untrained weights paint faintly
        assert (batch[1] - single[0]).abs().max() < 1e-4 * size
        assert (another - single).abs().max() > 1e-4 * size


@pytest.mark.parametrize("family", FAMILIES)
def test_each_step_moves_its_own_networks(family):
    module, config, losses = FAMILIES[family]
    G, Ds = module.Generator(config), module.build_discriminators(config)
    text = some_text(3)
    painting = G(torch.randn(3, 5), torch.randn(3, 6), text)
    real = some_real(config, 3)

    loss, logs = module.discriminator_loss(Ds, real, painting, text, losses, 0)
    judged = module.resolutions(config)[-len(Ds) :]
    assert logs.keys() == {f"d_{side}" for side in judged}
    loss.backward()
    assert all(p.grad is None for p in G.parameters())
    assert all(p.grad is not None for p in Ds.parameters())

    Ds.zero_grad()
    Ds.requires_grad_(False)
    loss, logs = module.generator_loss(Ds, painting, text, torch.arange(3), None, losses)
    assert {"g", "kl"} <= logs.keys()
    loss.backward()
    learning = [p for p in G.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learning)
    assert all(p.grad is None for p in Ds.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_pictures_stay_float32_under_bfloat16(family):
    module, config, losses = FAMILIES[family]
    G, Ds, text = module.Generator(config), module.build_discriminators(config), some_text(3)
    real = some_real(config, 3)
    with torch.autocast("cpu", torch.bfloat16):
        painting = G(torch.randn(3, 5), torch.randn(3, 6), text)
        d_loss, _ = module.discriminator_loss(Ds, real, painting, text, losses, 0)
        g_loss, logs = module.generator_loss(Ds, painting, text, torch.arange(3), None, losses)
    for value in (*painting.images, painting.mean, painting.log_var, d_loss, g_loss, *logs.values()):
        assert value.dtype == torch.float32 and value.isfinite().all()


def test_stage_1_is_frozen_within_stage_2():
    G = stackgan.Generator(FAMILIES["stage 2"][1])
    before = {name: p.clone() for name, p in G.named_parameters()}
    optimizer = torch.optim.Adam(G.parameters(), lr=0.1)
    painting = G(torch.randn(3, 5), torch.randn(3, 6), some_text(3))
    assert not painting.images[0].requires_grad
    (painting.images[-1].mean() + painting.mean.sum() + painting.log_var.sum()).backward()
    optimizer.step()
    for name, p in G.named_parameters():
        assert torch.equal(p, before[name]) == name.startswith("first."), name
        assert (p.grad is None) == name.startswith("first."), name


def test_stage_2_takes_a_trained_stage_1_as_it_is():
    torch.manual_seed(0)
    first, second = (stackgan.Generator(FAMILIES[f"stage {stage}"][1]).eval() for stage in (1, 2))
    missing, unexpected = second.load_state_dict(first.state_dict(), strict=False)
    assert not unexpected and all(key.startswith("second.") for key in missing)
    noise, epsilon, text = torch.randn(2, 5), torch.randn(2, 6), some_text(2)
    assert torch.equal(second(noise, epsilon, text).images[0], first(noise, epsilon, text).images[0])


def test_the_stages_share_their_draw_unless_two_are_given():
    torch.manual_seed(0)
    G = stackgan.Generator(FAMILIES["stage 2"][1]).eval()
    noise, epsilon, text = torch.randn(2, 5), torch.randn(2, 6), some_text(2)
    once, twice, other = (
        G(noise, draw, text).images
        for draw in (epsilon, epsilon.repeat(1, 2), torch.cat([epsilon, -epsilon], 1))
    )
    assert torch.equal(once[1], twice[1])
    assert torch.equal(once[0], other[0]) and not torch.equal(once[1], other[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_captions_without_a_picture_change_nothing(family):
    module, config, losses = FAMILIES[family]
    G, Ds = module.Generator(config), module.build_discriminators(config).eval()
    text = some_text(5)
    painting = G(torch.randn(3, 5), torch.randn(3, 6), text.rows(0, 3))
    alone, beside = (
        module.generator_loss(Ds, painting, t, torch.arange(3), None, losses)[0]
        for t in (text.rows(0, 3), text)
    )
    assert torch.equal(alone, beside)


@pytest.mark.parametrize("family, answers", [("stage 1", 2), ("stage 2", 2), ("v2", 3 * 6)])
def test_discriminator_losses_by_hand(family, answers):
    """With logits that are all zero every answer costs log 2: stage 1 counts 1 + (1 + 1) / 2 of them, stage 2
    (1 + 1) / 2 + (1 + 1 + 1) / 3, and v2 six a stage."""
    module, config, losses = FAMILIES[family]
    Ds = module.build_discriminators(config)
    for D in Ds:
        for head in (D.conditional, D.unconditional):
            if head is not None:
                nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    images = some_real(config, 3)
    condition = torch.randn(3, 6)
    loss, _ = module.discriminator_loss(
        Ds, images, GeneratorOutput(images, (), condition), some_text(3), losses, 0
    )
    torch.testing.assert_close(loss, answers * torch.tensor(2.0).log())


def test_v2_can_do_without_unconditional_heads():
    config = StackGanV2Config(stages=1, unconditional=False, **TINY)
    Ds = stackgan_v2.build_discriminators(config)
    assert all(D.unconditional is None for D in Ds)
    nn.init.zeros_(Ds[0].conditional.weight), nn.init.zeros_(Ds[0].conditional.bias)
    images = some_real(config, 3)
    condition = torch.randn(3, 6)
    loss, _ = stackgan_v2.discriminator_loss(
        Ds, images, GeneratorOutput(images, (), condition), some_text(3), StackGanV2Loss(), 0
    )
    torch.testing.assert_close(loss, 2 * torch.tensor(2.0).log())  # 1 + (1 + 1) / 2


def test_colours_are_compared_with_the_smaller_picture():
    grey = torch.zeros(2, 3, 4, 4, requires_grad=True)
    lighter = torch.full((2, 3, 8, 8), 0.5, requires_grad=True)
    loss = stackgan_v2.colour_loss((grey, lighter))
    torch.testing.assert_close(loss, torch.tensor(0.25))
    loss.backward()
    assert lighter.grad.abs().max() > 0 and (grey.grad is None or not grey.grad.any())
    checked = torch.ones(2, 3, 8, 8)
    checked[..., ::2] = -1  # mean 0, all covariances 1
    torch.testing.assert_close(stackgan_v2.colour_loss((grey, checked)), torch.tensor(5.0))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: StackGanConfig(stage=3), "stage=3: one of 1, 2 was expected"),
        (lambda: StackGanConfig(width=6), "width=6 must be a multiple of 4: Stage II ends with a quarter of it"),
        (lambda: StackGanConfig(condition=0), "condition=0: a whole number from 1 to 8192 was expected"),
        (lambda: StackGanV2Config(stages=0), "stages=0: a whole number from 1 to 5 was expected"),
        (lambda: StackGanV2Config(width=6), "width=6 must be a multiple of 4: every stage after the first halves it"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_told_in_one_line(make, message):
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value) == message
