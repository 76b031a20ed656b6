"""A training iteration of the full-size AttnGAN, ours against the textbook's: `python -m benchmarks.attngan_iteration`.

Both update three discriminators (64, 128, 256 px) and the generator once, with the DAMSM loss of a light image encoder
and the generator's average; texts are features already. The textbook's form is float32 with the C library's own setting
of the allocator, upsampling before the convolution, one discriminator after the other, their gradients kept in the
generator's step, DAMSM caption by caption, plain Adam. Each form has a process of its own, for the allocator's setting
cannot be undone. Before the timing both must come to the same losses and weights to 1e-8 after two iterations of a tiny
model in float64, and the timed ones to the same first losses to a twentieth.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from benchmarks.common import Form, in_turn, parser, plain, report, workers
from benchmarks.damsm import loop_damsm_loss
from core.precision import autocast
from core.runtime import keep_freed_memory
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
from t2i.losses import adversarial_loss, kl_divergence
from t2i.vocabulary import Vocabulary
from training.ema import averaged

FORMS = ("textbook", "ours", "ours, compiled")
Sizes = dict[str, dict[str, int]]
FULL: Sizes = {"gan": {}, "damsm": {}}  # the configurations as they are
TINY: Sizes = {
    "gan": {
        "width": 4,
        "discriminator_width": 4,
        "embedding": 16,
        "condition": 6,
        "noise": 5,
        "residual_blocks": 1,
    },
    "damsm": {"embedding": 16, "word_width": 8, "image_width": 4, "image_size": 64},
}
ADAM: dict[str, Any] = {"lr": 2e-4, "betas": (0.5, 0.999)}
DECAY = 0.999  # of the generator's average
LATE = 10_000  # a step by which our average has reached that decay
WORDS = 18
CPU = torch.device("cpu")


class Nets(NamedTuple):
    generator: Generator
    discriminators: nn.ModuleList
    average: AveragedModel
    damsm: Damsm


class Batch(NamedTuple):
    """real: (B, 3, s, s) of every stage; noise (B, Z), epsilon (B, C); two pictures are of one class."""

    real: tuple[Tensor, ...]
    text: TextFeatures
    class_ids: Tensor
    noise: Tensor
    epsilon: Tensor


def build(sizes: Sizes, batch: int, dtype: torch.dtype = torch.float32) -> tuple[Nets, Batch]:
    """The same untrained networks and the same batch whenever it is called."""
    torch.manual_seed(0)
    config = AttnGanConfig(**sizes["gan"])
    generator, discriminators = Generator(config).to(dtype), build_discriminators(config).to(dtype)
    damsm = Damsm(DamsmConfig(**sizes["damsm"]), Vocabulary.build(["a bird"])).to(dtype)
    average = averaged(generator, DECAY)
    average.n_averaged.fill_(LATE)
    text = TextFeatures(
        torch.randn(batch, WORDS, config.embedding, dtype=dtype),
        torch.arange(WORDS) >= torch.linspace(WORDS, WORDS // 2, batch)[:, None],
        torch.randn(batch, config.embedding, dtype=dtype),
    )
    real = tuple(2 * torch.rand(batch, 3, s, s, dtype=dtype) - 1 for s in resolutions(config))
    noise, epsilon = (torch.randn(batch, n, dtype=dtype) for n in (config.noise, config.condition))
    nets = Nets(generator, discriminators, average, damsm.eval().requires_grad_(False))
    return nets, Batch(real, text, torch.arange(batch).clamp(min=1), noise, epsilon)


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


# ---- ours ----


def our_iteration(nets: Nets, batch: Batch, precision: str, compiled: bool = False) -> Form:
    """What train_gan.py does in a step, (discriminators' loss, generator's loss) being returned."""
    G, Ds, average, damsm = nets
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), **ADAM, fused=True) for net in (G, Ds))
    paint = torch.compile(G) if compiled else G
    for D in Ds if compiled else ():
        D.features = torch.compile(D.features)

    def iterate() -> list[float]:
        with autocast(CPU, precision):
            painting = paint(batch.noise, batch.epsilon, batch.text)
            d_loss, _ = discriminator_loss(Ds, batch.real, painting, batch.text, AttnGanLoss(), 0)
        update(opt_d, d_loss)
        Ds.requires_grad_(False)
        with autocast(CPU, precision):
            g_loss, _ = generator_loss(Ds, painting, batch.text, batch.class_ids, damsm, AttnGanLoss())
        update(opt_g, g_loss)
        Ds.requires_grad_(True)
        average.update_parameters(G)
        return [d_loss.item(), g_loss.item()]

    return iterate


# ---- the textbook's ----


def textbook_discriminator_loss(
    D: ConvolutionalDiscriminator, real: Tensor, fake: Tensor, sentence: Tensor
) -> Tensor:
    """Eq. (5) of one stage, with its own passes for real, painted and mismatched pairs."""
    of_real, of_fake = D.features(real), D.features(fake)
    is_real = adversarial_loss(D.unconditional_logits(of_real), True) + adversarial_loss(
        D.conditional_logits(of_real, sentence), True
    )
    is_fake = adversarial_loss(D.unconditional_logits(of_fake), False) + adversarial_loss(
        D.conditional_logits(of_fake, sentence), False
    )
    mismatched = adversarial_loss(D.conditional_logits(of_real[:-1], sentence[1:]), False)
    return is_real / 2 + (is_fake + mismatched) / 3


def textbook_generator_loss(nets: Nets, painting: GeneratorOutput, batch: Batch) -> Tensor:
    """Eq. (4) and (6): every stage's adversarial loss, KL, and DAMSM caption by caption on the last picture."""
    config, sentence = AttnGanLoss(), batch.text.sentence
    total = config.kl_weight * kl_divergence(painting.mean, painting.log_var)
    for D, images in zip(nets.discriminators, painting.images, strict=True):
        features = D.features(images)
        total = (
            total
            + adversarial_loss(D.unconditional_logits(features), True)
            + adversarial_loss(D.conditional_logits(features, sentence), True)
        )
    regions, image = nets.damsm.image_encoder(painting.images[-1])
    matching = loop_damsm_loss(regions, image, batch.text, batch.class_ids, nets.damsm.config)
    return total + config.damsm_weight * sum(matching)


def textbook_iteration(nets: Nets, batch: Batch) -> Form:
    """The order of the authors' trainer, (discriminators' loss, generator's loss) being returned."""
    G, Ds = plain(nets.generator), plain(nets.discriminators)
    opt_g = torch.optim.Adam(G.parameters(), **ADAM, foreach=False, fused=False)
    opts = [torch.optim.Adam(D.parameters(), **ADAM, foreach=False, fused=False) for D in Ds]

    def iterate() -> list[float]:
        painting, judged = G(batch.noise, batch.epsilon, batch.text), 0.0
        stages = zip(Ds, opts, batch.real, painting.images, strict=True)
        for D, opt, real, fake in stages:
            d_loss = textbook_discriminator_loss(D, real, fake.detach(), batch.text.sentence)
            update(opt, d_loss)
            judged += d_loss.item()
        g_loss = textbook_generator_loss(nets, painting, batch)  # leaves gradients in the discriminators too
        update(opt_g, g_loss)
        with torch.no_grad():
            for mine, theirs in zip(nets.average.parameters(), G.parameters(), strict=True):
                mine.mul_(DECAY).add_(theirs, alpha=1 - DECAY)
        return [judged, g_loss.item()]

    return iterate


# ---- both ----


def prepare(form: str, sizes: Sizes, batch: int) -> Form:
    if form != "textbook":
        keep_freed_memory()
    nets, data = build(sizes, batch)
    if form == "textbook":
        return textbook_iteration(nets, data)
    return our_iteration(nets, data, "bf16", compiled=form == "ours, compiled")


def check(sizes: Sizes, batch: int = 3) -> None:
    """After two iterations in float64 losses and all weights agree to 1e-8."""
    (ours, data), (theirs, same) = (build(sizes, batch, torch.float64) for _ in range(2))
    mine, textbook = our_iteration(ours, data, "fp32"), textbook_iteration(theirs, same)
    for _ in range(2):
        torch.testing.assert_close(mine(), textbook(), rtol=1e-8, atol=1e-8)
    for net, other in zip(ours[:3], theirs[:3], strict=True):
        weights, others = list(net.parameters()), list(other.parameters())
        torch.testing.assert_close(weights, others, rtol=1e-8, atol=1e-8)


def main() -> None:
    options = parser(__doc__, rounds=7)
    options.add_argument("--batch", type=int, default=4, help="pictures a step; 4 unless told")
    args = options.parse_args()
    check(TINY)
    with workers(prepare, FORMS, TINY if args.tiny else FULL, args.batch) as (losses, timers):
        for form in FORMS[1:]:
            torch.testing.assert_close(losses[form], losses["textbook"], rtol=0.05, atol=0.05)
        times = in_turn(timers, args.rounds)
    protocol = {"batch": args.batch, "pixels": [64, 128, 256], "words": WORDS, "rounds": args.rounds}
    report("attngan_iteration", protocol, {"64, 128, 256 px": times}, write=not args.tiny)


if __name__ == "__main__":
    main()
