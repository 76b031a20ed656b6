"""DF-GAN's generator before projected discriminators (Sauer et al., NeurIPS 2021), for text.

Where images are few a discriminator soon knows them by heart. Here it never sees pixels, but what a network trained on
ImageNet makes of them (t2i/discriminators/projected.py), and learns from DF-GAN's three kinds of pairs. All images,
real and generated, are translated and cut as differentiable augmentation does; colours stay, since captions name them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from core.fields import bounded, check, one_of
from t2i.augmentation import random_cutout, random_translation
from t2i.discriminators.projected import ProjectedDiscriminator
from t2i.encoders.base import ConditionEncoder, TextFeatures
from t2i.families.adversarial import adversarial_family
from t2i.families.base import GeneratorOutput, Needs
from t2i.families.dfgan import SIDES, Generator, pair_generator_loss, require_smaller
from t2i.losses import hinge_pair_losses
from vision.backbones import TAPS


@dataclass
class ProjectedConfig:
    size: int = one_of(64, SIDES)  # side of the image, px
    width: int = bounded(
        32, 1, 1024
    )  # channels of DF-GAN's generator at the full side, doubled at every halving
    max_multiplier: int = bounded(8, 1, 1024)  # up to so many times
    # side of the smaller generator whose layers it starts from, px; 0 for none. They fit where `width` is halved and
    # `max_multiplier` doubled for every doubling of the side; one that has grown does not grow again
    grown_from: int = one_of(0, (0, *SIDES))
    discriminator_width: int = bounded(64, 1, 1024)  # channels of every discriminator
    embedding: int = bounded(256, 1, 8192)  # E, set by the text encoder
    noise: int = bounded(100, 1, 8192)  # Z
    backbone: str = one_of("mobilenet_v2", tuple(TAPS))  # ImageNet network before the discriminators
    backbone_size: int = bounded(128, 32, 1024)  # side of its input, px
    mixing_width: int = bounded(
        64, 1, 1024
    )  # channels of the finest mixed map, twice as many at every further one
    text_width: int = bounded(64, 1, 8192)  # to which a discriminator reduces the sentence

    condition: ClassVar[int] = 0  # C: there is no conditioning augmentation, so nothing is drawn for it

    def __post_init__(self) -> None:
        check(self)
        require_smaller(self.grown_from, self.size)


@dataclass
class ProjectedLoss:
    damsm_weight: float = bounded(0.0, 0, 1e6)  # on the word and the sentence loss alike
    translation: float = bounded(0.125, 0, 0.5)  # most of all images that are judged, as a share of the side
    cutout: float = bounded(0.5, 0, 0.95)  # side of the square that is cut out of each, likewise

    def __post_init__(self) -> None:
        check(self)


def needs(config: ProjectedConfig, loss: ProjectedLoss) -> Needs:
    guide = f"damsm_weight={loss.damsm_weight:g}" if loss.damsm_weight > 0 else ""
    return Needs(smallest_batch=2, image_encoder=guide, backbone=config.backbone)


def resolutions(config: ProjectedConfig) -> list[int]:
    """The side of every stage's image, px: there is one stage."""
    return [config.size]


def build_discriminators(config: ProjectedConfig) -> nn.ModuleList:
    """The one discriminator, in a list as of every family."""
    return nn.ModuleList(
        [
            ProjectedDiscriminator(
                config.backbone, config.discriminator_width, config.embedding, config.mixing_width,
                config.text_width, config.backbone_size,
            )
        ]
    )  # fmt: skip


def augmented(images: Tensor, config: ProjectedLoss) -> Tensor:
    """Every image (B, 3, s, s) translated, and a square of it greyed."""
    return random_cutout(random_translation(images, config.translation), config.cutout)


# ---- losses ----


def discriminator_loss(
    discriminators: Iterable[ProjectedDiscriminator],
    real: tuple[Tensor, ...],
    output: GeneratorOutput,
    text: TextFeatures,
    config: ProjectedLoss,
    step: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Hinge loss of real, generated and mismatched pairs, the mean over the scales.

    real: one (B, 3, s, s), with B > 1.
    """
    (D,), (real_images,), (fake_images,) = discriminators, real, output.images
    sentence = text.sentence[: len(real_images)]
    of_real = D.features(augmented(real_images, config))
    of_fake = D.features(augmented(fake_images.detach(), config))
    is_real, is_fake, mismatched = hinge_pair_losses(D, of_real, of_fake, sentence)
    loss = is_real + (is_fake + mismatched) / 2
    return loss, {
        f"d_{real_images.shape[-1]}": loss,
        "d_real": is_real,
        "d_fake": is_fake,
        "d_wrong": mismatched,
    }


def generator_loss(
    discriminators: Iterable[ProjectedDiscriminator],
    output: GeneratorOutput,
    text: TextFeatures,
    class_ids: Tensor,
    damsm: ConditionEncoder | None,
    config: ProjectedLoss,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Hinge loss of the generated pairs at all scales, and DAMSM where it has a weight.

    text: the B captions of the images, and any number more that describe none of the images, for DAMSM to tell apart.
    """
    (images,) = output.images
    return pair_generator_loss(
        discriminators, images, augmented(images, config), text, class_ids, damsm, config
    )


FAMILY = adversarial_family(
    "projected", __doc__, ProjectedConfig, ProjectedLoss, resolutions, needs, Generator, build_discriminators,
    discriminator_loss, generator_loss,
)  # fmt: skip
