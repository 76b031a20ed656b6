"""Train a generator of pictures from captions, with a trained DAMSM as its reader."""

import copy
import sys
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from omegaconf import MISSING
from torch import Tensor

from data.cub import Birds
from data.sampling import bird_batch, wrong_captions
from data.sets import BirdData, open_birds
from storage.errors import run_cli
from t2i.damsm import Damsm
from t2i.encoders import load_encoder
from t2i.families import FAMILIES, family_name, family_of
from t2i.painter import Painter, painter_of
from training.config import RunConfig, load_config
from training.ema import update_ema
from training.run import Run
from training.runtime import autocast, seed_step, set_up
from training.schedule import linear_end, set_rate


@dataclass
class TrainGan:
    data: BirdData = field(default_factory=BirdData)
    run: RunConfig = field(default_factory=RunConfig)
    variants: ClassVar = {"gan": FAMILIES}
    gan: Any = MISSING  # the configuration of a family: gan=attngan, dfgan, ...
    encoder: str = "weights/painted-damsm"  # model folder of a DAMSM or a char-CNN-RNN
    batch: int = 20
    wrong_captions: int = 0  # captions with a wrong colour, for each right one, that DAMSM must tell from it
    lr_generator: float = 2e-4
    lr_discriminator: float = 2e-4
    decay: float = 0.0  # share of the steps, at the end, over which both rates fall to 0
    beta1: float = 0.5  # Adam
    beta2: float = 0.999
    ema: float = 0.999


def main() -> None:
    config = load_config("train_gan", TrainGan, sys.argv[1:], __doc__ or "")
    device = set_up(config.run.threads, config.run.device)
    encoder = load_encoder(config.encoder).to(device)
    damsm = encoder if isinstance(encoder, Damsm) else None
    config.gan.embedding = encoder.config.embedding
    family = family_of(config.gan)
    run = Run(config, config.run)
    state = run.restore()
    if run.is_complete(state):
        return
    sizes = family.resolutions(config.gan)
    train_set, test_set = (open_birds(config.data, split, sizes[-1]) for split in ("train", "test"))

    torch.manual_seed(config.run.seed)
    G = family.Generator(config.gan).to(device)
    Ds = family.build_discriminators(config.gan).to(device)
    average = copy.deepcopy(G).requires_grad_(False)
    reader = painter_of(average, encoder)
    betas = (config.beta1, config.beta2)
    opt_g = torch.optim.Adam(G.parameters(), lr=config.lr_generator, betas=betas, fused=True)
    opt_d = torch.optim.Adam(Ds.parameters(), lr=config.lr_discriminator, betas=betas, fused=True)
    kept = {"generator": G, "discriminators": Ds, "average": average, "opt_g": opt_g, "opt_d": opt_d}
    if state:
        for name, part in kept.items():
            part.load_state_dict(state[name])

    for step in run.steps(state):
        seed_step(config.run.seed, step)
        rate = linear_end(step, config.run.steps, config.decay)
        set_rate(opt_g, config.lr_generator * rate)
        set_rate(opt_d, config.lr_discriminator * rate)
        batch = bird_batch(train_set, step, config.batch, config.run.seed)
        class_ids = batch.class_ids.to(device)
        real = pyramid(batch.images.to(device), sizes)
        wrong = wrong_captions(batch.captions, config.wrong_captions, step, config.run.seed)
        all_text = reader.encode(batch.captions + wrong)
        text = all_text.rows(0, config.batch)
        noise = torch.randn(config.batch, config.gan.noise, device=device)
        epsilon = torch.randn(config.batch, config.gan.condition, device=device)

        with autocast(device, config.run.precision):
            painting = G(noise, epsilon, text)
            d_loss, d_logs = family.discriminator_loss(Ds, real, painting, text, config.gan, step)
        update(opt_d, d_loss)

        Ds.requires_grad_(False)  # a third of the step's work, and nobody would use those gradients
        with autocast(device, config.run.precision):
            g_loss, g_logs = family.generator_loss(Ds, painting, all_text, class_ids, damsm, config.gan)
        update(opt_g, g_loss)
        Ds.requires_grad_(True)

        update_ema(average, G, step, config.ema)
        run.log(step, **g_logs, **d_logs)
        if run.due(step, config.run.sample_every):
            run.image(step, "grid", sample_grid(reader, test_set))
        if run.save_due(step):
            run.save(step, **{name: part.state_dict() for name, part in kept.items()})

    training = {
        "data": config.data.root, "steps": config.run.steps, "batch": config.batch, "seed": config.run.seed,
        "encoder": encoder.checksum, "hours": round(run.elapsed / 3600, 2),
    }  # fmt: skip
    reader.save(run.model_folder, card(config, sizes, training), training)
    print(f"{run.model_folder}: a painter of {sizes[-1]} px pictures")


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def pyramid(images: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """images (B, 3, S, S) -> the same at every side of `sizes`, the last of which is S."""
    smaller = [F.interpolate(images, (s, s), mode="bilinear", antialias=True) for s in sizes[:-1]]
    return (*smaller, images)


def sample_grid(painter: Painter, birds: Birds, count: int = 16) -> Tensor:
    """The painter's pictures of fixed test captions and seeds, a uint8 grid (3, H, W)."""
    from torchvision.utils import make_grid

    captions = [birds.captions[i][0] for i in range(0, len(birds), max(len(birds) // count, 1))][:count]
    painting = painter.paint(captions, range(len(captions)))
    grid = make_grid(painting.images[-1], nrow=8, normalize=True, value_range=(-1, 1))
    return (grid * 255).round().to(torch.uint8)


def card(config: TrainGan, sizes: list[int], training: dict) -> str:
    family = family_of(config.gan)
    return f"""# {family_name(config.gan)} painter, {" and ".join(map(str, sizes))} px

Paints a picture from a caption: a generator (EMA weights) and the text encoder that it was trained with (SHA-256
{training["encoder"][:16]}). {(family.__doc__ or "").splitlines()[0]}

Trained from nothing on `{config.data.root}`: {config.run.steps} steps of {config.batch} pictures, seed
{config.run.seed}, {training["hours"]} hours.

Limits: knows the words of its vocabulary only and paints what its data shows; its figures stand in the project's
README.
"""


if __name__ == "__main__":
    run_cli(main)
