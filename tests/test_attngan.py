"""AttnGAN: the published sizes, padding, one's own seed and sentence, and who takes gradients."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.errors import UserError
from t2i import layers as blocks
from t2i.augmentation import random_translation
from t2i.discriminators.convolutional import ConvolutionalDiscriminator
from t2i.encoders.base import TextFeatures
from t2i.encoders.damsm import Damsm, DamsmConfig
from t2i.families.attngan import (
    AttnGanConfig,
    AttnGanLoss,
    Generator,
    build_discriminators,
    discriminator_loss,
    generator_loss,
    resolutions,
)
from t2i.families.base import GeneratorOutput
from t2i.layers import UnfoldedConv, UpConv
from t2i.losses import matching_aware_penalty
from t2i.painter import Painter, painter_of
from t2i.vocabulary import Vocabulary

TEXTS = [
    "a red bird",
    "this bird has black wings and a short yellow bill",
    "a small blue bird with a white belly",
]


def tiny(**changes) -> AttnGanConfig:
    sizes = dict(
        stages=2, width=4, discriminator_width=4, embedding=16, condition=6, noise=5, residual_blocks=1
    )
    return AttnGanConfig(**(sizes | changes))


def tiny_painter(seed: int = 0, **changes) -> tuple[Painter, Damsm]:
    torch.manual_seed(seed)
    damsm = Damsm(
        DamsmConfig(embedding=16, word_width=8, image_width=8, image_size=32), Vocabulary.build(TEXTS)
    )
    return painter_of(Generator(tiny(**changes)), damsm.eval()), damsm


@pytest.mark.parametrize("many", [1, blocks.MANY_WEIGHTS])  # whatever way is taken
def test_upsampling_and_convolution_are_one_layer(many: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blocks, "MANY_WEIGHTS", many)
    up = UpConv(5, 6).double()
    x = torch.randn(2, 5, 8, 6, dtype=torch.float64)
    expected = F.conv2d(F.interpolate(x, scale_factor=2), up.weight, padding=1)
    torch.testing.assert_close(up(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (3, 1)])
def test_a_discriminator_s_wide_convolution_is_a_convolution(
    kernel: int, stride: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(blocks, "MANY_WEIGHTS", 1)
    wide = UnfoldedConv(3, 5, kernel, stride, 1).double()
    plain = nn.Conv2d(3, 5, kernel, stride, 1).double()
    plain.load_state_dict(wide.state_dict())
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64, requires_grad=True)

    def value_and_gradients(layer: nn.Module) -> list[torch.Tensor]:
        value = layer(x)
        (slope,) = torch.autograd.grad(
            value.square().sum(), x, create_graph=True
        )  # as a gradient penalty needs it
        return [value, slope, *torch.autograd.grad(slope.square().sum(), (x, layer.weight))]

    torch.testing.assert_close(value_and_gradients(wide), value_and_gradients(plain), rtol=0, atol=1e-9)


def test_the_first_stage_can_be_wider_than_the_others():
    plain, wide = Generator(tiny()), Generator(tiny(first_width=8))
    assert wide.first.project.out_features == 2 * plain.first.project.out_features
    text = TextFeatures(torch.randn(2, 3, 16), torch.zeros(2, 3, dtype=torch.bool), torch.randn(2, 16))
    assert wide(torch.randn(2, 5), torch.randn(2, 6), text).images[-1].shape == (2, 3, 128, 128)


def test_words_can_be_attended_to_before_the_first_picture():
    generator = Generator(tiny(first_attention=16))
    text = TextFeatures(torch.randn(2, 3, 16), torch.zeros(2, 3, dtype=torch.bool), torch.randn(2, 16))
    painting = generator(torch.randn(2, 5), torch.randn(2, 6), text)
    assert [image.shape[-1] for image in painting.images] == [64, 128]
    assert [attention.shape[-1] for attention in painting.attention] == [16, 32, 64]
    with pytest.raises(UserError, match="first_attention=48: one of 8, 16, 32, 64 was expected"):
        tiny(first_attention=48)


def test_shifted_pictures_are_moved_and_keep_their_size():
    torch.manual_seed(0)
    images = torch.arange(16.0).expand(4, 3, 16, 16)
    moved = random_translation(images, 0.25)
    assert moved.shape == images.shape and random_translation(images, 0.0) is images
    steps = moved[:, 0, 8, 8] - images[:, 0, 8, 8]
    assert len(set(steps.tolist())) > 1 and steps.abs().max() <= 4


def test_the_generator_is_told_which_captions_are_wrong():
    """Captions without a picture raise DAMSM's loss and leave the adversarial one as it is."""
    painter, damsm = tiny_painter()
    loss_config, Ds = AttnGanLoss(), build_discriminators(tiny())
    all_text = damsm.encode(TEXTS + ["a black bird", "a yellow bird"])
    painting = painter.generator(torch.randn(3, 5), torch.randn(3, 6), all_text.rows(0, 3))
    _, alone = generator_loss(Ds, painting, all_text.rows(0, 3), torch.arange(3), damsm, loss_config)
    _, beside = generator_loss(Ds, painting, all_text, torch.arange(3), damsm, loss_config)
    assert beside["damsm_sentence"] > alone["damsm_sentence"] and beside["damsm_words"] > alone["damsm_words"]
    torch.testing.assert_close(beside["g"], alone["g"])


@pytest.mark.parametrize("stages, parameters", [(3, 7_084_592), (4, 7_352_592)])
def test_generator_has_the_published_size(stages, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in Generator(AttnGanConfig(stages=stages)).parameters()) == parameters


@pytest.mark.parametrize(
    "resolution, parameters", [(64, 6_313_730), (128, 19_424_002), (256, 71_858_946), (512, 281_586_434)]
)
def test_discriminators_have_the_published_size(resolution, parameters):
    with torch.device("meta"):
        D = ConvolutionalDiscriminator(64, 256, resolution)
    assert sum(p.numel() for p in D.parameters()) == parameters


def test_a_cap_keeps_the_largest_discriminator_small():
    with torch.device("meta"):
        (D,) = build_discriminators(AttnGanConfig(stages=4, outputs="last", discriminator_max_channels=512))
        features = D.features(torch.empty(2, 3, 512, 512))
    assert features.shape == (2, 512, 4, 4)
    assert sum(p.numel() for p in D.parameters()) < 30_000_000


def test_a_picture_is_the_same_alone_in_a_batch_and_padded():
    painter, _ = tiny_painter()
    together = painter.paint(TEXTS, [4, 5, 6])
    for i, text in enumerate(TEXTS):
        alone = painter.paint([text], [4 + i])
        words = len(alone.tokens[0])
        for batch, single in zip(together.images, alone.images, strict=True):
            torch.testing.assert_close(batch[i], single[0], rtol=0, atol=1e-5)
        for batch, single in zip(together.attention, alone.attention, strict=True):
            torch.testing.assert_close(batch[i, :words], single[0], rtol=0, atol=1e-5)
            assert not batch[i, words:].any()


def test_same_seed_same_picture_other_seed_another():
    painter, _ = tiny_painter()
    first, again, other = (painter.paint([TEXTS[0]], [seed]).images[-1] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 1e-3


def test_stages_double_and_attention_sums_to_one():
    config = tiny(stages=3)
    text = TextFeatures(torch.randn(2, 7, 16), torch.zeros(2, 7, dtype=torch.bool), torch.randn(2, 16))
    painting = Generator(config)(torch.randn(2, 5), torch.randn(2, 6), text)
    assert [image.shape[-1] for image in painting.images] == resolutions(config) == [64, 128, 256]
    assert [map_.shape for map_ in painting.attention] == [(2, 7, 64, 64), (2, 7, 128, 128)]
    for map_ in painting.attention:
        torch.testing.assert_close(map_.sum(1), torch.ones_like(map_[:, 0]))


@pytest.mark.parametrize("adversarial", ["bce", "hinge"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_each_step_moves_its_own_networks(adversarial, norm):
    config = tiny(discriminator_norm=norm)
    losses = AttnGanLoss(adversarial=adversarial, penalty_weight=2.0)
    painter, damsm = tiny_painter()
    damsm.requires_grad_(False)
    G, Ds = Generator(config), build_discriminators(config)
    text = damsm.encode(TEXTS)
    real = tuple(torch.rand(3, 3, s, s) * 2 - 1 for s in resolutions(config))
    painting = G(torch.randn(3, 5), torch.randn(3, 6), text)

    loss, logs = discriminator_loss(Ds, real, painting, text, losses, step=0)
    assert {"d_64", "d_128", "penalty_64", "penalty_128"} == logs.keys()
    loss.backward()
    assert all(p.grad is None for p in G.parameters())
    assert all(p.grad is not None for p in Ds.parameters())

    Ds.zero_grad()
    Ds.requires_grad_(False)
    loss, _ = generator_loss(Ds, painting, text, torch.arange(3), damsm, losses)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in G.parameters())
    assert all(p.grad is None for p in Ds.parameters())


def test_discriminator_loss_by_hand():
    """With logits that are all zero, cross entropy is log 2 and hinge is 1, whatever the picture."""
    text = TextFeatures(torch.randn(3, 4, 16), torch.zeros(3, 4, dtype=torch.bool), torch.randn(3, 16))
    for adversarial, expected in (("bce", torch.tensor(2.0).log()), ("hinge", torch.tensor(1.0))):
        config = tiny(stages=1)
        losses = AttnGanLoss(adversarial=adversarial)
        Ds = build_discriminators(config)
        for head in (Ds[0].unconditional, Ds[0].conditional):
            torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
        images = (torch.rand(3, 3, 64, 64),)
        loss, _ = discriminator_loss(Ds, images, GeneratorOutput(images), text, losses, 1)
        torch.testing.assert_close(loss, 2 * expected)  # (1 + 1) / 2 + (1 + 1 + 1) / 3


def test_penalty_is_the_sixth_power_of_the_gradient():
    class Linear(torch.nn.Module):
        """Logit 3 * image[0] + 4 * sentence[0]: the gradient's norm is 5."""

        def features(self, images):
            return images

        def conditional_logits(self, features, sentence):
            return 3 * features[:, 0, 0, 0] + 4 * sentence[:, 0]

    penalty = matching_aware_penalty(Linear(), torch.rand(2, 3, 4, 4), torch.rand(2, 5))  # type: ignore[arg-type]
    torch.testing.assert_close(penalty, torch.tensor(5.0**6))


def test_a_saved_painter_paints_as_before(tmp_path: Path):
    painter, _ = tiny_painter()
    painter.save(tmp_path, "# card", {"encoder": "abc"})
    loaded = Painter.load(tmp_path)
    for a, b in zip(
        loaded.paint(TEXTS, [0, 1, 2]).images, painter.paint(TEXTS, [0, 1, 2]).images, strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-2)  # stored as float16
    assert loaded.training_info == {"encoder": "abc"}


def test_a_painter_of_another_size_is_named(tmp_path: Path):
    painter, _ = tiny_painter()
    painter.save(tmp_path, "# card", {})
    header = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(header.replace('"width": 4', '"width": 8', 1))
    with pytest.raises(UserError, match=r"generator\..* has shape .* was expected"):
        Painter.load(tmp_path)


def test_an_unknown_option_is_named():
    with pytest.raises(UserError, match='adversarial="wasserstein": one of bce, hinge was expected'):
        AttnGanLoss(adversarial="wasserstein")
