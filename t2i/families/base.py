"""The contract of families: what a file of `t2i/families/` offers, so that nobody who trains or samples asks its name.

A family is one file with the configuration of its architecture, which is saved with the model; the configuration of its
losses, which is not; its networks; and one `Family` that names them together with

- `networks`, each built from the architecture alone: "generator", which is averaged, saved and sampled, and whatever
  else learns beside it, such as "discriminators";
- `phases`, which are one training step of a batch: in each of them one network learns from its loss;
- `sample`, which makes images of text features and seeds.

`t2i.families.registry.register` makes it known; examples/family_denoiser.py is a whole family without discriminators.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from core.fields import check
from t2i.encoders.base import ConditionEncoder, TextFeatures

Networks = Mapping[str, nn.Module]
Logs = dict[str, Tensor]


class GeneratorOutput(NamedTuple):
    """images: (B, 3, s, s) in [-1, 1] of every stage; attention: (B, L, s, s) of every attending stage;
    mean, log_var: (B, C) of conditioning augmentation, without width where a family has none; spread: (B,), how far
    apart two images of each caption are, as `t2i.losses.spread` says, without rows where a training does not ask.
    """

    images: tuple[Tensor, ...]
    attention: tuple[Tensor, ...] = ()
    mean: Tensor = torch.zeros(0, 0)
    log_var: Tensor = torch.zeros(0, 0)
    spread: Tensor = torch.zeros(0)


class MicroBatch(NamedTuple):
    """What one pass learns from; `accumulate` of them make a step.

    images: real ones, (B, 3, s, s) in [-1, 1] at every side of the family's `resolutions`; text: their captions, B of
    them; text_with_negatives: the same, and after them hard negatives, which describe none of the images; class_ids:
    (B,); seed: of its random numbers; damsm: the text encoder's model, where it sees images; cache: what one phase
    leaves to the next, empty again where there is no memory for it.
    """

    images: tuple[Tensor, ...]
    text: TextFeatures
    text_with_negatives: TextFeatures
    class_ids: Tensor
    seed: int
    damsm: ConditionEncoder | None
    cache: dict[str, Any]

    def random(self) -> torch.Generator:
        """Random numbers on the images' device, the same ones at every call."""
        return torch.Generator(self.images[-1].device).manual_seed(self.seed)


class Phase(NamedTuple):
    """One network learns: `loss(networks, batch, loss config, step)` -> a scalar and what is logged.

    Networks of earlier phases take no gradients from it.
    """

    network: str
    loss: Callable[[Networks, MicroBatch, Any, int], tuple[Tensor, Logs]]


@dataclass(frozen=True)
class Needs:
    """What a training must provide, for the trainer to check before anything is built."""

    smallest_batch: int = 1
    images_a_process: int = (
        1  # of which each process's share of a batch is a multiple, where there are several
    )
    image_encoder: str = (
        ""  # the setting that asks for a text encoder with an image encoder, such as damsm_weight=5
    )
    backbone: str = ""  # pretrained network whose weights file must be named
    # the setting that the first stage alone learns from, such as mode_seeking_weight=1
    first_stage: str = ""


@dataclass(frozen=True)
class Family:
    """config, loss: dataclasses; config has `embedding`, the width E of the text features, which the trainer sets.

    resolutions(config): sides of the images of a GeneratorOutput, px; needs(config, loss): what a training needs,
    raising UserError where the two do not go together.
    """

    name: str
    title: str  # one sentence for a model card
    config: type
    loss: type
    networks: Mapping[str, Callable[[Any], nn.Module]]
    phases: tuple[Phase, ...]
    sample: Callable[[nn.Module, TextFeatures, Sequence[int]], GeneratorOutput]
    resolutions: Callable[[Any], list[int]]
    needs: Callable[[Any, Any], Needs]
    settings: type = field(
        init=False
    )  # of both configurations together: the keys of `gan.` on the command line

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", _settings(self))

    def build(self, config: Any) -> dict[str, nn.Module]:
        """All networks, untrained."""
        return {name: make(config) for name, make in self.networks.items()}

    def split(self, settings: Any) -> tuple[Any, Any]:
        """The settings of a training -> the architecture's and the losses' configuration. Raises UserError."""
        config, loss = (
            kind(**{f.name: getattr(settings, f.name) for f in dataclasses.fields(kind)})
            for kind in (self.config, self.loss)
        )
        return config, loss


def _settings(family: Family) -> type:
    """A dataclass with the fields of both configurations, checked as they are."""
    members: list[Any] = []
    for f in (*dataclasses.fields(family.config), *dataclasses.fields(family.loss)):
        default = (
            {"default_factory": f.default_factory}
            if f.default is dataclasses.MISSING
            else {"default": f.default}
        )
        members.append((f.name, f.type, dataclasses.field(metadata=f.metadata, **default)))

    def check_both(settings: Any) -> None:
        check(settings, prefix="gan.")
        family.needs(*family.split(settings))

    name = family.config.__name__.removesuffix("Config") + "Settings"
    # joined_of: where --help finds the comments
    namespace = {"__post_init__": check_both, "joined_of": (family.config, family.loss)}
    return dataclasses.make_dataclass(name, members, namespace=namespace)
