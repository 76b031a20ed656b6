"""What families of GANs share: their two phases of a training step, their noise and how they sample."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from t2i.encoders.base import TextFeatures
from t2i.families.base import Family, GeneratorOutput, Logs, MicroBatch, Needs, Networks, Phase

Inputs = tuple[Tensor, Tensor, TextFeatures]


def later_noise(config: Any) -> tuple[int, ...]:
    """Numbers of noise that enter each stage after the first, of the few families that have such."""
    return getattr(config, "later_noise", ())


def noise_width(config: Any) -> int:
    """How many numbers of noise an image has in all, beside conditioning augmentation's."""
    return config.noise + sum(later_noise(config))


def noise_of(batch: MicroBatch, config: Any) -> tuple[Tensor, Tensor]:
    """noise (B, Z), epsilon (B, C), both from N(0, 1) and the same at every call; Z with that of later stages."""
    random, B, device = batch.random(), len(batch.class_ids), batch.class_ids.device
    widths = (config.noise, config.condition, *later_noise(config))
    noise, epsilon, *later = (torch.randn(B, n, generator=random, device=device) for n in widths)
    return torch.cat([noise, *later], dim=1), epsilon


def adversarial_phases(
    discriminator_loss: Callable[..., tuple[Tensor, Logs]],
    generator_loss: Callable[..., tuple[Tensor, Logs]],
    inputs: Callable[[Inputs, Any], tuple[Any, ...]] = lambda inputs, loss: inputs,
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
    """B seeds -> noise (B, Z), epsilon (B, C), each row a function of its seed alone; Z with that of later stages.

    Theirs is drawn last, stage by stage: a generator that has grown gives a seed the first images that it had.
    """
    rows = []
    for seed in seeds:
        random = torch.Generator().manual_seed(int(seed))
        widths = (config.noise + config.condition, *later_noise(config))
        rows.append(torch.cat([torch.randn(n, generator=random) for n in widths]))
    width = noise_width(config) - config.noise
    noise, epsilon, later = torch.stack(rows).split([config.noise, config.condition, width], dim=1)
    return torch.cat([noise, later], dim=1), epsilon


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
    inputs: Callable[[Inputs, Any], tuple[Any, ...]] = lambda inputs, loss: inputs,
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
