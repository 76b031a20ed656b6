"""A whole family in one file: flow matching (Lipman et al., ICLR 2023) of small images, without a discriminator.

A network learns the velocity that leads from noise to an image; samples follow it in a few steps. Once this file is
imported, `training.gan.train(TrainGan(gan=SETTINGS["denoiser"](), ...))` trains it and `Painter.load` reads its models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.fields import bounded, check, one_of
from t2i.encoders.lstm import TextFeatures
from t2i.families.base import Family, GeneratorOutput, Logs, MicroBatch, Needs, Networks, Phase
from t2i.families.registry import register


@dataclass
class DenoiserConfig:
    size: int = one_of(16, (16, 32, 64))  # side of the image, px
    width: int = bounded(32, 1, 1024)
    embedding: int = bounded(256, 1, 8192)  # E, set by the text encoder
    sampling_steps: int = bounded(8, 1, 1000)

    def __post_init__(self) -> None:
        check(self)


@dataclass
class DenoiserLoss:
    without_text: float = bounded(0.1, 0, 1)  # share of images that are learnt without their caption

    def __post_init__(self) -> None:
        check(self)


class Velocity(nn.Module):
    """At a place between noise and image, and with what caption, which way the image lies."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.config = config
        self.condition = nn.Linear(config.embedding + 1, 2 * config.width)
        self.into = nn.Conv2d(3, config.width, 3, padding=1)
        self.middle = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.out = nn.Conv2d(config.width, 3, 3, padding=1)

    def forward(self, images: Tensor, time: Tensor, sentence: Tensor) -> Tensor:
        """images (B, 3, s, s) at time (B,) from 0, noise, to 1; sentence (B, E) -> velocity (B, 3, s, s)."""
        scale, shift = self.condition(torch.cat([sentence, time[:, None]], 1)).chunk(2, 1)  # (B, width) each
        hidden = F.silu(self.into(images)) * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
        return self.out(F.silu(self.middle(hidden)) + hidden)


def flow_matching(
    networks: Networks, batch: MicroBatch, config: DenoiserLoss, step: int
) -> tuple[Tensor, Logs]:
    """Squared error of the velocity at a random place on the way from noise to the image."""
    (images,), random = batch.images, batch.random()
    B, device = len(images), images.device
    noise = torch.randn(images.shape, generator=random, device=device)
    time, dropped = torch.rand(2, B, generator=random, device=device)
    sentence = batch.text.sentence * (dropped >= config.without_text)[:, None]
    place = torch.lerp(noise, images, time[:, None, None, None])
    loss = F.mse_loss(networks["generator"](place, time, sentence).float(), images - noise)
    return loss, {"flow": loss}


def sample(generator: nn.Module, text: TextFeatures, seeds: Sequence[int]) -> GeneratorOutput:
    """B texts and B seeds -> images; each is a function of its own text and seed."""
    config, device = generator.config, text.sentence.device
    noise = [
        torch.randn(3, config.size, config.size, generator=torch.Generator().manual_seed(s)) for s in seeds
    ]
    images = torch.stack(noise).to(device)
    for i in range(config.sampling_steps):
        time = torch.full((len(seeds),), i / config.sampling_steps, device=device)
        images = images + generator(images, time, text.sentence).float() / config.sampling_steps
    return GeneratorOutput((images.clamp(-1, 1),))


FAMILY = Family(
    name="denoiser",
    title="Flow matching of small images (examples/family_denoiser.py).",
    config=DenoiserConfig,
    loss=DenoiserLoss,
    networks={"generator": Velocity},
    phases=(Phase("generator", flow_matching),),
    sample=sample,
    resolutions=lambda config: [config.size],
    needs=lambda config, loss: Needs(smallest_batch=1),
)

register([FAMILY])
