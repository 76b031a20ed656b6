"""What families of GANs share: their two phases of a training step, their noise and how they sample."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from t2i.encoders.base import TextFeatures
from t2i.families.base import Family, GeneratorOutput, Logs, MicroBatch, Needs, Networks, Phase

Inputs = tuple[Tensor, Tensor, TextFeatures]


def noise_of(batch: MicroBatch, config: Any) -> tuple[Tensor, Tensor]:
    """noise (B, Z), epsilon (B, C), both from N(0, 1) and the same at every call."""
    random, B, device = batch.random(), len(batch.class_ids), batch.class_ids.device
    noise, epsilon = (
        torch.randn(B, width, generator=random, device=device) for width in (config.noise, config.condition)
    )
    return noise, epsilon


def adversarial_phases(
    discriminator_loss: Callable[..., tuple[Tensor, Logs]],
    generator_loss: Callable[..., tuple[Tensor, Logs]],
    inputs: Callable[[Inputs, Any], Inputs] = lambda inputs, loss: inputs,
) -> tuple[Phase, Phase]:
    """The discriminators learn, then the generator; both from the same generated images.

    inputs: what the generator is given in training, from the batch's own noise, epsilon and text.
    """

    def generated(networks: Networks, batch: MicroBatch, loss: Any) -> GeneratorOutput:
        if "generated" not in batch.cache:
            G = networks["generator"]
            given = inputs((*noise_of(batch, G.config), batch.text), loss)
            batch.cache["generated"] = G(*given)
        return batch.cache["generated"]

    def discriminators_learn(
        networks: Networks, batch: MicroBatch, loss: Any, step: int
    ) -> tuple[Tensor, Logs]:
        output = generated(networks, batch, loss)
        return discriminator_loss(networks["discriminators"], batch.images, output, batch.text, loss, step)

    def generator_learns(networks: Networks, batch: MicroBatch, loss: Any, step: int) -> tuple[Tensor, Logs]:
        output = generated(networks, batch, loss)
        return generator_loss(
            networks["discriminators"], output, batch.text_with_negatives, batch.class_ids, batch.damsm, loss
        )

    return Phase("discriminators", discriminators_learn), Phase("generator", generator_learns)


def draw_noise(seeds: Sequence[int], config: Any) -> tuple[Tensor, Tensor]:
    """B seeds -> noise (B, Z), epsilon (B, C), each row a function of its seed alone."""
    rows = [
        torch.randn(config.noise + config.condition, generator=torch.Generator().manual_seed(int(seed)))
        for seed in seeds
    ]
    noise, epsilon = torch.stack(rows).split([config.noise, config.condition], dim=1)
    return noise, epsilon


def sample(generator: nn.Module, text: TextFeatures, seeds: Sequence[int]) -> GeneratorOutput:
    """B texts and B seeds -> images; the same seed gives the same noise to every text."""
    noise, epsilon = (part.to(text.sentence.device) for part in draw_noise(seeds, generator.config))
    return generator(noise, epsilon, text)


def adversarial_family(
    name: str,
    doc: str | None,
    config: type,
    loss: type,
    resolutions: Callable[[Any], list[int]],
    needs: Callable[[Any, Any], Needs],
    generator: Callable[[Any], nn.Module],
    discriminators: Callable[[Any], nn.ModuleList],
    discriminator_loss: Callable[..., tuple[Tensor, Logs]],
    generator_loss: Callable[..., tuple[Tensor, Logs]],
    inputs: Callable[[Inputs, Any], Inputs] = lambda inputs, loss: inputs,
) -> Family:
    """A family of GANs. doc: its file's, whose first line is the title; inputs: as of `adversarial_phases`."""
    return Family(
        name=name,
        title=(doc or "").partition("\n")[0],
        config=config,
        loss=loss,
        networks={"generator": generator, "discriminators": discriminators},
        phases=adversarial_phases(discriminator_loss, generator_loss, inputs),
        sample=sample,
        resolutions=resolutions,
        needs=needs,
    )
