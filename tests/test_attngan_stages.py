"""AttnGAN's further stages: seeds that differ, stages that agree, and growing from a painter with fewer of them."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import UserError
from core.model_folder import save_discriminators
from pipeline import load_painter
from t2i.encoders.base import TextFeatures
from t2i.encoders.registry import load_encoder
from t2i.families.adversarial import draw_noise, noise_width
from t2i.families.attngan import (
    AttnGanConfig,
    AttnGanLoss,
    Generator,
    build_discriminators,
    discriminator_loss,
    generator_loss,
    inputs,
    needs,
)
from t2i.families.base import GeneratorOutput
from t2i.losses import consistency_loss, mode_seeking_loss, spread
from t2i.onnx import PainterGraph
from t2i.painter import Painter, painter_of
from training import gan as train_gan
from training.config import CONFIGS, load_config
from training.distributed import SharedBatchNorm
from training.warm_start import start_from


def tiny(**changes) -> AttnGanConfig:
    sizes = dict(
        stages=2, width=4, discriminator_width=4, embedding=16, condition=6, noise=5, residual_blocks=1
    )
    return AttnGanConfig(**(sizes | changes))


def generator(seed: int = 0, **changes) -> Generator:
    torch.manual_seed(seed)
    return Generator(tiny(**changes))


def texts(count: int = 2) -> TextFeatures:
    random = torch.Generator().manual_seed(1)
    words, sentence = (torch.randn(shape, generator=random) for shape in ((count, 3, 16), (count, 16)))
    return TextFeatures(words, torch.zeros(count, 3, dtype=torch.bool), sentence)


def noises(config: AttnGanConfig, count: int = 2, first: int = 0) -> tuple[Tensor, Tensor]:
    return draw_noise(range(first, first + count), config)


# ---- as before ----


def test_the_released_painter_paints_as_it_was_released(root: Path):
    """Written out as that release computed it; with later settings that it does not have, nothing is to be compared."""
    painter = Painter.load(root / "weights" / "painted-attngan")
    G, config = painter.generator, painter.config
    if config.stage_noise or config.plain_stages or config.first_attention != 64:
        pytest.skip("the released painter has stages of another kind")
    captions, seeds = ["a red bird with black wings", "a small blue bird"], [3, 4]
    text = painter.encode(captions)
    rows = [
        torch.randn(config.noise + config.condition, generator=torch.Generator().manual_seed(s))
        for s in seeds
    ]
    noise, epsilon = torch.stack(rows).split([config.noise, config.condition], dim=1)
    with torch.inference_mode():
        code, _, _ = G.augment(text.sentence, epsilon)
        pyramid = [G.first(code, noise)]
        for stage in G.next:
            context, _ = stage.attend(pyramid[-1], text.words, text.is_pad)
            pyramid.append(stage.up(stage.residual(torch.cat([pyramid[-1], context], dim=1))))
        expected = [torch.tanh(head(hidden)) for head, hidden in zip(G.to_image, pyramid, strict=True)]
    for image, wanted in zip(painter.paint(captions, seeds).images, expected, strict=True):
        assert torch.equal(image, wanted)


def test_settings_that_are_off_add_no_weight_and_no_noise():
    config = AttnGanConfig()
    assert noise_width(config) == config.noise == noises(config)[0].shape[1]
    assert not [key for key in Generator(tiny()).state_dict() if "noise" in key or "mix" in key]
    given = (*noises(tiny()), texts())
    assert inputs(given, AttnGanLoss()) is given


# ---- seeds that differ ----


def test_mode_seeking_by_hand():
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 2, 2)
    others = torch.tensor([0.5, 0.0]).view(2, 1, 1, 1).expand(2, 3, 2, 2)
    noise, other_noise = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [4.0, 0.0]])
    found = spread(images, others, noise, other_noise)
    torch.testing.assert_close(found, torch.tensor([0.5 / 1, 1.0 / 2]))
    torch.testing.assert_close(mode_seeking_loss(found), torch.tensor(1 / (0.5 + 1e-5)))
    assert mode_seeking_loss(torch.zeros(2)) == pytest.approx(1e5)  # collapsed, and finite


@pytest.mark.parametrize("first_attention", [16, 64])
def test_a_caption_is_painted_again_up_to_its_first_image(first_attention: int):
    G = generator(stage_noise=3, first_attention=first_attention).eval()
    for stage in G.next:
        torch.nn.init.normal_(stage.noise.to_map.weight)
    (noise, epsilon), (other, _), text = noises(G.config), noises(G.config, first=7), texts()
    plain, both = G(noise, epsilon, text), G(noise, epsilon, text, other)
    assert all(torch.equal(a, b) for a, b in zip(plain.images, both.images, strict=True))
    assert plain.spread.shape == (0,)
    again = G(other, epsilon, text).images[0]
    read = 5 + 3 * G.before  # what comes later has no say in the first image
    torch.testing.assert_close(both.spread, spread(plain.images[0], again, noise[:, :read], other[:, :read]))


def test_mode_seeking_teaches_the_first_stage_alone():
    G, Ds, text = generator(), build_discriminators(tiny()).requires_grad_(False), texts()
    for weight in (0.0, 2.0):
        config = AttnGanLoss(damsm_weight=0.0, mode_seeking_weight=weight)
        output = G(*inputs((*noises(G.config), text), config))
        loss, logs = generator_loss(Ds, output, text, torch.arange(2), None, config)
        rest = logs["g"] + config.kl_weight * logs["kl"]
        assert ("mode_seeking" in logs) == (weight > 0)
        torch.testing.assert_close(loss, rest + weight * logs.get("mode_seeking", torch.tensor(0.0)))
    logs["mode_seeking"].backward()
    assert G.first.project.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in G.next.parameters())


def test_noise_of_a_stage_begins_without_effect_and_then_makes_seeds_differ():
    without, G = generator(), generator(stage_noise=3)
    G.load_state_dict(without.state_dict(), strict=False)
    without.eval(), G.eval()
    text = texts()
    noise, epsilon = noises(G.config)
    before, after = without(noise[:, :5], epsilon, text), G(noise, epsilon, text)
    assert all(torch.equal(a, b) for a, b in zip(before.images, after.images, strict=True))

    torch.nn.init.normal_(G.next[0].noise.to_map.weight)
    other = torch.cat([noise[:, :5], noises(G.config, first=9)[0][:, 5:]], dim=1)  # of the later stage only
    one, two = G(noise, epsilon, text), G(other, epsilon, text)
    assert torch.equal(one.images[0], two.images[0]) and torch.equal(one.attention[0], two.attention[0])
    assert (one.images[1] - two.images[1]).abs().mean() > 1e-3


def test_a_seed_keeps_its_noise_when_stages_are_added():
    (two, epsilon), (three, same) = (noises(tiny(stages=n, stage_noise=3)) for n in (2, 3))
    plain, also = noises(tiny())
    assert two.shape == (2, 5 + 3) and three.shape == (2, 5 + 3 + 3)
    assert torch.equal(three[:, :8], two) and torch.equal(two[:, :5], plain)
    assert torch.equal(epsilon, same) and torch.equal(epsilon, also)
    assert not torch.equal(three[:, 5:8], three[:, 8:])


def test_what_is_exported_is_given_the_noise_of_all_stages(tiny_world: Path):
    painter = painter_of(generator(stage_noise=3), load_encoder(tiny_world / "damsm"))
    torch.nn.init.normal_(painter.generator.next[0].noise.to_map.weight)
    known = painter.encoder.vocabulary_words
    words = torch.tensor([[known.index(word) for word in ("red", "bird")]])
    with torch.no_grad():
        found = PainterGraph(painter)(words, torch.cat(noises(painter.config), dim=1))
    expected = painter.paint(["red bird"] * 2, [0, 1])
    for ours, theirs in zip(found, (*expected.images, *expected.attention), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


# ---- stages that agree ----


def test_stages_agree_where_the_next_one_is_the_former_enlarged():
    image = torch.rand(2, 3, 4, 4)
    larger = F.interpolate(image, scale_factor=2)
    assert consistency_loss((image, larger, F.interpolate(larger, scale_factor=2))) == 0
    sharper = larger + torch.tensor([[0.5, -0.5], [0.5, -0.5]]).repeat(
        4, 4
    )  # more than the smaller could show
    torch.testing.assert_close(consistency_loss((image, sharper)), torch.tensor(0.0))


def test_consistency_by_hand_and_who_learns_from_it():
    image = torch.zeros(1, 3, 1, 1, requires_grad=True)
    larger = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(1, 1, 2, 2).repeat(1, 3, 1, 1).requires_grad_()
    largest = torch.zeros(1, 3, 4, 4)
    loss = consistency_loss((image, larger, largest))
    torch.testing.assert_close(loss, torch.tensor(3.0**2 + (1 + 4 + 9 + 36) / 4))
    loss.backward()
    assert image.grad is None
    torch.testing.assert_close(larger.grad, torch.full((1, 3, 2, 2), 2 * 3 / 3 / 4))  # of its own pair alone


def test_consistency_is_weighed():
    text, Ds = texts(), build_discriminators(tiny())
    images = (torch.zeros(2, 3, 64, 64), torch.full((2, 3, 128, 128), 0.5))
    output = GeneratorOutput(images, mean=torch.zeros(2, 6), log_var=torch.zeros(2, 6))
    found = [
        generator_loss(Ds.eval(), output, text, torch.arange(2), None, AttnGanLoss(consistency_weight=w))[0]
        for w in (0.0, 8.0)
    ]
    torch.testing.assert_close(found[1] - found[0], torch.tensor(8.0 * 0.25), rtol=1e-4, atol=1e-4)


def test_what_needs_every_stage_s_image_is_refused_without():
    for loss in (AttnGanLoss(mode_seeking_weight=1.0), AttnGanLoss(consistency_weight=2.0)):
        with pytest.raises(UserError, match="=[12] is for generators whose stages all give an image"):
            needs(tiny(outputs="last"), loss)
        needs(tiny(), loss)


# ---- narrow and plain stages ----


def test_late_stages_and_their_discriminators_are_narrow():
    config = tiny(stages=4, width=8, discriminator_width=8, narrow_above=128)
    with torch.device("meta"):
        G, Ds = Generator(config), build_discriminators(config)
        wide = Generator(tiny(stages=2, width=8)).state_dict()
    assert [head.in_channels for head in G.to_image] == [8, 8, 4, 4]
    assert [D.backbone[0].out_channels for D in Ds] == [8, 8, 4, 4]
    assert G.next[2].attend.to_key.out_features == 4
    own = G.state_dict()  # what a painter of fewer stages has fits
    assert all(own[key].shape == value.shape for key, value in wide.items())
    with pytest.raises(UserError, match="narrow_above=64 halves width=5 .* which must be even"):
        tiny(width=5, narrow_above=64)


def test_a_plain_stage_attends_to_nothing_and_paints():
    G = generator(stages=3, plain_stages=1).eval()
    output = G(*noises(G.config), texts())
    assert [image.shape[-1] for image in output.images] == [64, 128, 256]
    assert [attention.shape[-1] for attention in output.attention] == [64]
    said, unsaid = texts(), texts()
    unsaid.words.zero_()
    hidden = torch.randn(2, 4, 8, 8)
    assert torch.equal(G.next[1](hidden, said, None)[0], G.next[1](hidden, unsaid, None)[0])
    assert not torch.equal(G.next[0](hidden, said, None)[0], G.next[0](hidden, unsaid, None)[0])
    with pytest.raises(UserError, match="plain_stages=2: there are 1 refining stages"):
        tiny(plain_stages=2)


# ---- growing ----


def painter_with(folder: Path, world: Path, **changes) -> tuple[Path, Painter]:
    """A painter as a training leaves it, with its discriminators."""
    encoder = load_encoder(world / "damsm")
    painter = painter_of(generator(seed=3, **changes), encoder)
    with torch.no_grad():  # as after some steps
        for name, buffer in painter.generator.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
    painter.save(folder, "# card", {"encoder": encoder.checksum, "steps": 2, "batch": 4}, half=False)
    save_discriminators(folder, build_discriminators(tiny(**changes)).state_dict())
    return folder, painter


def test_a_generator_starts_from_one_with_fewer_stages(tiny_world: Path, tmp_path: Path, capsys):
    folder, small = painter_with(tmp_path / "small", tiny_world, stage_noise=3)
    torch.manual_seed(5)
    config = tiny(stages=4, stage_noise=3, narrow_above=128)
    networks = {"generator": Generator(config), "discriminators": build_discriminators(config)}
    start = start_from(str(folder), networks, small.encoder.checksum)
    assert "; its discriminators go on, and 2 more begin anew" in capsys.readouterr().out
    assert set(start.earlier["generator"]) == small.generator.state_dict().keys()
    assert {name[0] for name in start.earlier["discriminators"]} == {"0", "1"}
    grown = painter_of(networks["generator"], small.encoder)
    first, second = (p.paint(["a red bird", "a bird"], [1, 2]).images for p in (small, grown))
    assert [image.shape[-1] for image in second] == [64, 128, 256, 512]
    assert all(torch.equal(a, b) for a, b in zip(first, second[:2], strict=True))


def go(world: Path, runs: Path, name: str, *words: str) -> dict:
    """Train a little AttnGAN; its checkpoint."""
    given = [
        "gan=attngan", "gan.width=4", "gan.discriminator_width=4", "gan.condition=6", "gan.noise=5",
        "gan.residual_blocks=1", f"encoder={world / 'damsm'}", "batch=4", "run.steps=1", "run.sample_every=0",
        "run.log_every=1", f"data.root={world / 'painted_birds'}", f"data.cache={world / 'painted_birds' / 'cache'}",
        f"run.root={runs}", f"run.name={name}", "run.threads=1", "run.device=cpu", "run.precision=fp32", *words,
    ]  # fmt: skip
    train_gan.train(load_config("train_gan", train_gan.TrainGan, given))
    return torch.load(runs / name / "checkpoint.pt", weights_only=True)


def test_frozen_stages_stay_as_they_are_bit_for_bit(tiny_world: Path, tmp_path: Path):
    folder, small = painter_with(tmp_path / "small", tiny_world, stages=1)
    checkpoint = go(
        tiny_world, tmp_path, "run", "gan.stages=2", f"start={folder}", "earlier_rate=0", "run.steps=2",
        "gan.consistency_weight=1",
    )  # fmt: skip
    given = small.generator.state_dict()
    average = {key.removeprefix("module."): value for key, value in checkpoint["average"].items()}
    for state in (checkpoint["generator"], average):
        assert all(torch.equal(state[key], tensor) for key, tensor in given.items())
    assert not torch.equal(average["next.0.up.0.weight"], checkpoint["generator"]["next.0.up.0.weight"])
    assert checkpoint["generator"]["next.0.up.1.num_batches_tracked"] == 2
    assert set(checkpoint["earlier"]["generator"]) == given.keys()
    learns = {group["scale"] for group in checkpoint["generator optimizer"]["param_groups"]}
    assert learns == {1.0}
    logged = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert '"d_128"' in logged and '"d_64"' not in logged  # nobody learns from that one
    painted = [
        p.paint(["a red bird"], [1]).images[0] for p in (small, load_painter(tmp_path / "run" / "model"))
    ]
    torch.testing.assert_close(*painted, rtol=0, atol=2e-2)  # stored as float16


def test_earlier_stages_learn_at_their_own_rate(tiny_world: Path, tmp_path: Path):
    """Adam's first step is the learning rate wherever the gradient is not nearly 0."""
    folder, _ = painter_with(tmp_path / "small", tiny_world, stages=1)
    start = [f"start={folder}", "gan.stages=2", "earlier_rate=0.25"]
    begun, moved = (
        go(tiny_world, tmp_path, name, *start, f"lr_generator={rate}", f"lr_discriminator={2 * rate}")
        for name, rate in (("begun", 0.0), ("moved", 1e-3))
    )
    for network, rate, earlier, new in (
        ("generator", 1e-3, "first.project.weight", "next.0.up.0.weight"),
        ("discriminators", 2e-3, "0.joint.0.weight", "1.joint.0.weight"),
    ):
        for key, expected in ((earlier, 0.25 * rate), (new, rate)):
            step = (moved[network][key] - begun[network][key]).abs().max()
            assert step.item() == pytest.approx(expected, rel=1e-2), key


def test_frozen_images_are_not_judged():
    text, config = texts(), AttnGanLoss(damsm_weight=0.0)
    frozen, learnt = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 128, 128, requires_grad=True)
    output = GeneratorOutput((frozen, learnt), mean=torch.zeros(2, 6), log_var=torch.zeros(2, 6))
    Ds = build_discriminators(tiny())
    real = (torch.rand(2, 3, 64, 64), torch.rand(2, 3, 128, 128))
    loss, logs = discriminator_loss(Ds, real, output, text, config, 1)
    loss.backward()
    assert logs.keys() == {"d_128"} and all(p.grad is None for p in Ds[0].parameters())
    assert all(p.grad is not None for p in Ds[1].parameters())


def test_a_frozen_norm_stays_frozen_among_several_processes():
    norm = torch.nn.BatchNorm2d(3).eval()
    norm.running_mean.normal_()
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(SharedBatchNorm(norm)(x), norm(x))
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ["earlier_rate=0.1"],
            "earlier_rate=0.1 is for what a training starts from; name a painter: start=...",
        ),
        (
            ["earlier_rate=0", "start=x", "gan.mode_seeking_weight=1"],
            "gan.mode_seeking_weight=1 teaches the first stage, which earlier_rate=0 keeps as it is",
        ),
    ],
)
def test_paces_that_cannot_be_are_one_line(words: list[str], message: str, tiny_world: Path, tmp_path: Path):
    with pytest.raises(UserError, match=message):
        go(tiny_world, tmp_path, "run", *words)


def test_something_must_be_left_to_learn(tiny_world: Path, tmp_path: Path):
    folder, _ = painter_with(tmp_path / "small", tiny_world, stages=1)
    with pytest.raises(UserError, match="earlier_rate=0: .*small gave everything of the discriminators"):
        go(tiny_world, tmp_path, "run", "gan.stages=1", f"start={folder}", "earlier_rate=0")


# ---- experiments ----

PAINTED = {"two": [64, 128], "three": [64, 128, 256], "four": [64, 128, 256, 512]}


@pytest.mark.parametrize("size", ["", "_quick"])
def test_experiments_of_painted_birds_grow_one_from_the_other(size: str):
    former = None
    for stages, sides in PAINTED.items():
        name = f"attngan_painted_{stages}{size}"
        assert (CONFIGS / "experiment" / "train_gan" / f"{name}.yaml").is_file()
        config = load_config("train_gan", train_gan.TrainGan, [f"experiment={name}"])
        family = train_gan.family_of(config.gan)
        architecture, _ = family.split(config.gan)
        assert config.run.name == name and family.resolutions(architecture) == sides
        assert config.start == (f"runs/{former.run.name}/model" if former else "")
        with torch.device("meta"):
            networks = family.build(architecture)
        if former:
            before = family.build(family.split(former.gan)[0])
            for part, network in networks.items():
                own = network.state_dict()
                assert all(own[k].shape == v.shape for k, v in before[part].state_dict().items()), part
        former = config
