"""GAN-INT-CLS: sizes, the three kinds of pairs, interpolated sentences, and who takes gradients."""

import copy
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import UserError
from t2i.encoders.base import TextFeatures
from t2i.families.adversarial import draw_noise
from t2i.families.base import GeneratorOutput
from t2i.families.gan_int_cls import (
    GanIntClsConfig,
    GanIntClsLoss,
    Generator,
    build_discriminators,
    discriminator_loss,
    generator_loss,
    interpolated,
    resolutions,
    with_means,
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def tiny(**changes) -> GanIntClsConfig:
    return GanIntClsConfig(
        **(dict(width=4, discriminator_width=4, embedding=16, text_width=6, noise=5) | changes)
    )


def sentences(count: int, seed: int = 0) -> TextFeatures:
    sentence = torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))
    return TextFeatures(sentence[:, None], torch.zeros(count, 1, dtype=torch.bool), sentence)


def pictures(count: int, seed: int = 0) -> tuple[Tensor]:
    return (torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1,)


def lively_discriminators() -> torch.nn.ModuleList:
    """In eval mode, where BatchNorm does not join the pairs of a batch, and with an opinion on each pair: the first
    weights of so narrow a network answer nearly the same to all."""
    Ds = build_discriminators(tiny()).eval()
    for parameter in Ds.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return Ds


def logit(D, image: Tensor, sentence: Tensor) -> Tensor:
    """Of one pair by itself: (3, 64, 64), (E,) -> (1,)."""
    return D.conditional_logits(D.features(image[None]), sentence[None])


def test_the_networks_have_the_published_size():
    """The authors' counts less the convolutions' biases, 4227 and 2241 numbers that are always zero."""
    with torch.device("meta"):
        G, Ds = Generator(GanIntClsConfig()), build_discriminators(GanIntClsConfig())
    assert sum(p.numel() for p in G.parameters()) == 18_909_699 - 4227
    assert sum(p.numel() for p in Ds.parameters()) == 4_032_321 - 2241


class Plain:
    """The layers of the authors' script one by one, with the numbers of a module in the order in which it has them."""

    def __init__(self, module: torch.nn.Module):
        self.left = [value for value in module.state_dict().values() if value.is_floating_point()]

    def take(self, count: int) -> list[Tensor]:
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def norm(self, x: Tensor) -> Tensor:
        weight, bias, mean, variance = (t.view(1, -1, *[1] * (x.ndim - 2)) for t in self.take(4))
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def linear(self, x: Tensor) -> Tensor:
        weight, bias = self.take(2)
        return x @ weight.T + bias

    def conv(self, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, *self.take(1), None, stride, padding)

    def double(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, *self.take(1), None, 2, 1)

    def bottleneck(self, x: Tensor, slope: float) -> Tensor:
        hidden = F.leaky_relu(self.norm(self.conv(x)), slope)
        hidden = F.leaky_relu(self.norm(self.conv(hidden, padding=1)), slope)
        return F.leaky_relu(x + self.norm(self.conv(hidden, padding=1)), slope)


def test_both_networks_are_the_layers_of_the_authors_script():
    """In eval mode and float64, with random statistics."""
    networks = [Generator(tiny()), build_discriminators(tiny())[0]]
    for value in (v for net in networks for v in net.double().eval().state_dict().values()):
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5 if value.ndim == 1 else torch.randn_like(value) * 0.2)
    text, noise = sentences(3), torch.randn(3, 5).double()
    text = TextFeatures(text.words.double(), text.is_pad, text.sentence.double())
    plain = Plain(networks[0])
    code = F.leaky_relu(plain.linear(text.sentence), 0.2)
    x = torch.cat([noise, code], 1)[:, :, None, None]
    x = plain.bottleneck(plain.norm(F.conv_transpose2d(x, *plain.take(1))), 0.0)
    x = plain.bottleneck(plain.norm(plain.double(x)), 0.0)
    for _ in range(2):
        x = F.relu(plain.norm(plain.double(x)))
    expected = plain.double(x).tanh()
    assert not plain.left and 0.1 < expected.std() < 0.99
    torch.testing.assert_close(networks[0](noise, noise[:, :0], text).images[0], expected, rtol=0, atol=1e-9)

    plain, images = Plain(networks[1]), pictures(3)[0].double()
    x = F.leaky_relu(plain.conv(images, 2, 1), 0.2)
    for _ in range(2):
        x = F.leaky_relu(plain.norm(plain.conv(x, 2, 1)), 0.2)
    features = plain.bottleneck(plain.norm(plain.conv(x, 2, 1)), 0.2)
    torch.testing.assert_close(networks[1].features(images), features, rtol=1e-9, atol=1e-9)
    code = F.leaky_relu(plain.norm(plain.linear(text.sentence)), 0.2)
    x = torch.cat([features, code[:, :, None, None].expand(-1, -1, 4, 4)], 1)
    logits = plain.conv(F.leaky_relu(plain.norm(plain.conv(x)), 0.2)).flatten()
    assert not plain.left and logits.std() > 0.1
    torch.testing.assert_close(
        networks[1].conditional_logits(features, text.sentence), logits, rtol=1e-9, atol=1e-9
    )


def test_shapes_and_the_contract_of_a_family():
    config = tiny()
    assert resolutions(config) == [64]
    noise, epsilon = draw_noise([1, 2, 3], config)
    assert noise.shape == (3, 5) and epsilon.shape == (3, 0)
    painting = Generator(config).eval()(noise, epsilon, sentences(3))
    [images] = painting.images
    assert images.shape == (3, 3, 64, 64) and images.abs().max() <= 1
    assert painting.attention == () and painting.mean.shape == painting.log_var.shape == (3, 0)
    [D] = build_discriminators(config)
    features = D.features(images)
    assert features.shape == (3, 32, 4, 4) and D.conditional_logits(
        features, sentences(3).sentence
    ).shape == (3,)
    assert GanIntClsConfig(**asdict(config)) == config and "condition" not in asdict(config)


def test_means_are_of_the_two_halves():
    rows = torch.tensor([[0.0], [1.0], [4.0], [8.0], [100.0]])
    assert with_means(rows).flatten().tolist() == [0, 1, 4, 8, 100, 2, 4.5]
    assert with_means(rows[:1]).tolist() == [[0.0]]


def test_a_picture_depends_on_its_own_sentence_and_noise_alone():
    G, text = Generator(tiny()), sentences(4)
    for module in G.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = (
                None  # one batch settles the statistics; the first ones would mute so narrow a network
            )
    G(torch.randn(32, 5), torch.empty(32, 0), sentences(32, seed=2))
    G.eval()
    noise, epsilon = draw_noise(range(4), tiny())
    [together] = G(noise, epsilon, text).images
    for i in range(4):
        [alone] = G(noise[i : i + 1], epsilon[i : i + 1], text.rows(i, i + 1)).images
        torch.testing.assert_close(together[i], alone[0], rtol=0, atol=1e-6)
    [other_text] = G(noise, epsilon, sentences(4, seed=1)).images
    [other_noise] = G(noise.flip(0), epsilon, text).images
    for other in (other_text, other_noise):
        assert ((other - together).flatten(1).abs().max(1).values > 1e-2).all()


def test_training_adds_the_means_after_the_sentences():
    noise, epsilon = draw_noise(range(5), tiny())
    more_noise, more_epsilon, text = interpolated((noise, epsilon, sentences(5)), GanIntClsLoss())
    assert torch.equal(text.sentence, with_means(sentences(5).sentence)) and len(more_epsilon) == 7
    assert torch.equal(more_noise, torch.cat([noise, noise[:2]]))
    assert Generator(tiny())(more_noise, more_epsilon, text).images[0].shape == (7, 3, 64, 64)
    given = noise, epsilon, sentences(5)
    assert interpolated(given, GanIntClsLoss(interpolation_weight=0.0)) is given


def generated(G: Generator, noise: Tensor, text: TextFeatures, losses: GanIntClsLoss) -> GeneratorOutput:
    """As the generator is run in training."""
    return G(*interpolated((noise, torch.empty(len(noise), 0), text), losses))


@pytest.mark.parametrize("mismatched", [0.0, 0.5, 0.75])
def test_discriminator_loss_is_the_loop_over_three_kinds_of_pairs(mismatched):
    losses = GanIntClsLoss(mismatched_share=mismatched)
    Ds = lively_discriminators()
    real, fake, text = pictures(4), pictures(6, seed=1), sentences(4).sentence
    expected = torch.zeros(1)
    for i in range(4):
        right = torch.log(torch.sigmoid(logit(Ds[0], real[0][i], text[i])))
        wrong = torch.log(1 - torch.sigmoid(logit(Ds[0], real[0][i], text[(i + 1) % 4])))
        painted = torch.log(1 - torch.sigmoid(logit(Ds[0], fake[0][i], text[i])))
        expected -= (right + mismatched * wrong + (1 - mismatched) * painted) / 4
    loss, logs = discriminator_loss(Ds, real, GeneratorOutput(fake), sentences(4), losses, step=0)
    torch.testing.assert_close(loss, expected[0])
    assert logs.keys() == {"d_64"}


def test_generator_loss_is_the_loop_over_sentences_and_means():
    losses = GanIntClsLoss(interpolation_weight=0.5)
    Ds = lively_discriminators()
    G, text = Generator(tiny()).train(), sentences(7)  # four of pictures, three more that describe none
    painting = generated(G, torch.randn(4, 5), text.rows(0, 4), losses)
    [images], sentence = painting.images, text.sentence
    expected = torch.zeros(1)
    for i in range(4):
        expected -= torch.log(torch.sigmoid(logit(Ds[0], images[i], sentence[i]))) / 6
    for i in range(2):
        mean = (sentence[i] + sentence[i + 2]) / 2
        expected -= 0.5 * torch.log(torch.sigmoid(logit(Ds[0], images[4 + i], mean))) / 6
    loss, logs = generator_loss(Ds, painting, text, torch.arange(4), None, losses)
    torch.testing.assert_close(loss, expected[0])
    torch.testing.assert_close(loss, (4 * logs["g"] + 2 * 0.5 * logs["g_means"]) / 6)


def test_a_generator_in_eval_mode_is_judged_by_its_sentences():
    config, text = tiny(), sentences(4)
    Ds, G = build_discriminators(config).eval(), Generator(config).eval()
    painting = G(torch.randn(4, 5), torch.empty(4, 0), text)
    loss, logs = generator_loss(Ds, painting, text, torch.arange(4), None, GanIntClsLoss())
    logits = Ds[0].conditional_logits(Ds[0].features(painting.images[0]), text.sentence)
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits, torch.ones(4)))
    assert logs.keys() == {"g"}


def test_interpolated_sentences_reach_the_generators_gradient():
    """The pictures of means have a gradient of their own, and the generator's own gradient heeds their weight."""
    text, noise, Ds = sentences(4), torch.randn(4, 5), build_discriminators(tiny()).eval()
    first, gradients = Generator(tiny()), []
    for weight in (1.0, 2.0):
        G = copy.deepcopy(first)
        losses = GanIntClsLoss(interpolation_weight=weight)
        painting = generated(G, noise, text, losses)
        painting.images[0].retain_grad()
        loss, _ = generator_loss(Ds, painting, text, torch.arange(4), None, losses)
        loss.backward()
        gradients.append((painting.images[0].grad, G.read[0].weight.grad))
    (of_images, of_weights), (of_images_2, of_weights_2) = gradients
    torch.testing.assert_close(of_images_2[:4], of_images[:4])
    torch.testing.assert_close(of_images_2[4:], 2 * of_images[4:])
    assert of_images[4:].abs().amax((1, 2, 3)).min() > 0
    assert (of_weights_2 - of_weights).abs().max() > 1e-3 * of_weights.abs().max()


def test_each_step_moves_its_own_network():
    losses, text = GanIntClsLoss(), sentences(4)
    G, Ds = Generator(tiny()), build_discriminators(tiny())
    painting = generated(G, torch.randn(4, 5), text, losses)
    loss, _ = discriminator_loss(Ds, pictures(4), painting, text, losses, step=0)
    loss.backward()
    assert all(p.grad is None for p in G.parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in Ds.parameters())

    Ds.zero_grad()
    Ds.requires_grad_(False)
    loss, _ = generator_loss(Ds, painting, text, torch.arange(4), None, losses)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in G.parameters())
    assert all(p.grad is None for p in Ds.parameters())


def test_a_forward_pass_draws_nothing():
    G, text, noise = Generator(tiny()), sentences(4), torch.randn(4, 5)
    before = torch.get_rng_state()
    [first] = G(noise, torch.empty(4, 0), text).images
    [again] = G(noise, torch.empty(4, 0), text).images
    assert torch.equal(first, again) and torch.equal(before, torch.get_rng_state())


def test_losses_under_bfloat16_are_float32_and_near():
    config, text = GanIntClsLoss(), sentences(4)
    G, Ds = Generator(tiny()), build_discriminators(tiny())
    noise, losses = torch.randn(4, 5), []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            painting = generated(G, noise, text, config)
            d_loss, _ = discriminator_loss(Ds, pictures(4), painting, text, config, 0)
            g_loss, _ = generator_loss(Ds, painting, text, torch.arange(4), None, config)
        losses.append(torch.stack([d_loss, g_loss]))
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(losses[1], losses[0], rtol=0.1, atol=0.1)


def test_a_config_passes_through_omegaconf():
    from omegaconf import OmegaConf

    structured = OmegaConf.structured(tiny())
    assert OmegaConf.to_object(structured) == tiny() and "condition" not in OmegaConf.to_container(structured)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: tiny(width=0), "width=0: a whole number from 1 to 1024 was expected"),
        (
            lambda: GanIntClsLoss(interpolation_weight=-0.5),
            "interpolation_weight=-0.5: a number from 0 to 1000000 was expected",
        ),
        (
            lambda: GanIntClsLoss(mismatched_share=1.0),
            "mismatched_share=1.0: a number from 0 to 0.99 was expected",
        ),
    ],
)
def test_impossible_settings_are_named(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == message
