"""Train a generator of images from captions, with a trained text encoder, or given features.

With `torchrun --nproc-per-node 2 train_gan.py ...` several processes share every batch and compute what one would.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import MISSING
from torch import Tensor, nn

from core.errors import UserError
from core.fields import bounded
from core.fields import check as check_fields
from core.model_folder import save_discriminators
from core.model_registry import DAMSM
from core.precision import autocast
from core.runtime import choose_device, seed_step
from data.captioned_images import VALIDATION, CaptionedImages
from data.sampling import hard_negatives, image_batch
from data.sets import ImageData, open_images
from evaluation.validation import painted_scores
from pipeline import load_condition_encoder
from t2i.encoders.base import ConditionEncoder
from t2i.families.base import Family, MicroBatch
from t2i.families.registry import SETTINGS, family_of
from t2i.painter import Painter, painter_of
from training import distributed as parallel
from training.captions import readable_captions
from training.cards import save_snapshot
from training.config import RunConfig
from training.ema import averaged
from training.front import run_trainer
from training.gan_board import show_samples
from training.run import Run
from training.schedule import every_epoch, linear_end, set_rate
from training.warm_start import freeze, paced, start_from
from vision.backbones import Backbone

MANY = 10**9


@dataclass
class TrainGan:
    data: ImageData = field(default_factory=ImageData)
    run: RunConfig = field(default_factory=RunConfig)
    variants: ClassVar = {"gan": SETTINGS}
    gan: Any = MISSING  # the settings of a family: gan=attngan, dfgan, ...
    # model folder of a DAMSM, a char-CNN-RNN or a painter, whose text encoder then reads, or a data root with
    # char-CNN-RNN-embeddings.pickle in train/ and test/
    encoder: str = str(DAMSM)
    backbone_weights: str = (
        ""  # file of the ImageNet weights of gan.backbone, through which discriminators see
    )
    # painter to start from: Stage I for Stage II, one with fewer stages, a smaller one, or one of the same sizes
    start: str = ""
    # rate of what was started from, as a share of the rate of what began anew; 0: it stays as it is
    earlier_rate: float = bounded(1.0, 0, 1)
    batch: int = bounded(20, 1, 65536)
    accumulate: int = bounded(1, 1, 65536)  # batches whose gradients make one step
    # steps at the beginning in which the discriminators alone learn, for a start without its own
    discriminators_first: int = bounded(0, 0, MANY)
    random_crop: bool = True  # False: the centre of every image, where the bird is whole and in the middle
    hard_negatives: int = bounded(
        0, 0, 64
    )  # captions with a wrong colour, for each right one, for DAMSM to tell apart
    lr_generator: float = bounded(2e-4, 0, 1)
    lr_discriminator: float = bounded(2e-4, 0, 1)
    halve_every: int = bounded(0, 0, MANY)  # steps after which both rates are halved, 0 for never
    decay: float = bounded(0.0, 0, 1)  # share of the steps, at the end, over which both rates fall to 0
    beta1: float = bounded(0.5, 0, 0.99999)  # Adam
    beta2: float = bounded(0.999, 0, 0.99999)
    ema: float = bounded(0.999, 0, 0.9999999)  # decay of the generator's average, which is what is saved
    channels_last: bool = False  # memory layout: slower on CPUs, faster on GPUs
    compile: bool = False  # torch.compile the generator and the discriminators' backbones
    measure_every: int = bounded(
        0, 0, MANY
    )  # steps between measures of validation captions' images, 0 for none
    measure_pictures: int = bounded(500, 2, 1_000_000)
    snapshot_every: int = bounded(
        0, 0, MANY
    )  # steps between painters that stay in the run's folder, 0 for none


def main() -> None:
    run_trainer("train_gan", TrainGan, train, __doc__ or "")


def train(config: TrainGan) -> None:
    """Train as configured and write the run's folder. Raises UserError for what a user can mend."""
    check_fields(config)
    device = parallel.join(choose_device(config.run.device))
    encoder = load_condition_encoder(config.encoder).to(device)
    config.gan.embedding = encoder.config.embedding
    family = family_of(config.gan)
    architecture, losses = family.split(config.gan)
    check(config, encoder)
    run = Run(config, config.run, device)
    state = run.restore()
    if run.is_complete(state):
        return
    sides = family.resolutions(architecture)
    with parallel.main_process_first():  # which draws and packs the images where that is still to be done
        train_set, validation_set = (
            open_images(config.data, split, sides[-1]) for split in ("train", VALIDATION)
        )

    torch.manual_seed(config.run.seed)
    networks = family.build(architecture)
    before: dict[str, Any] = state.get("before", {}) if state else {}
    earlier: dict[str, list[str]] = state.get("earlier", {}) if state else {}
    if config.start and not state:
        before, earlier = start_from(config.start, networks, encoder.checksum)
    for network in networks.values():
        load_backbones(
            network, config.backbone_weights
        )  # last: discriminators to start from hold another copy
        network.to(device)
    average = averaged(networks["generator"], config.ema)
    reader = painter_of(average.module, encoder)
    reader.training_info = {"encoder": encoder.checksum}
    optimizers = build_optimizers(config, family, networks, earlier)
    kept: dict[str, nn.Module | torch.optim.Optimizer] = {"average": average, **networks}
    kept |= {f"{name} optimizer": o for name, o in optimizers.items()}
    if state:
        for name, part in kept.items():
            part.load_state_dict(state[name])
    prepare(config, networks, encoder, sides)
    for images in (train_set, validation_set):
        readable_captions(images, encoder)

    for step in run.steps(state):
        seed_step(config.run.seed, step)
        # more steps than the run was started with are taken at the last rate, which would otherwise rise again
        rate = linear_end(min(step, run.horizon - 1), run.horizon, config.decay)
        rate *= every_epoch(step, config.halve_every, 0.5)
        for name, optimizer in optimizers.items():
            set_rate(optimizer, rate * base_rate(config, name))
        numbers = range(step * config.accumulate, (step + 1) * config.accumulate)
        batches = [draw(config, train_set, reader, encoder, number, sides) for number in numbers]
        logs = train_step(config, family, networks, optimizers, batches, losses, step)
        average.update_parameters(networks["generator"])

        run.log(step, **logs)
        run.rates(step, **{name: optimizer.param_groups[0]["lr"] for name, optimizer in optimizers.items()})
        if parallel.is_first() and run.due(step, config.run.sample_every):
            show_samples(run, step, reader, validation_set)
        if parallel.is_first() and run.due(step, config.measure_every):
            run.record(step, **painted_scores(reader, encoder, validation_set, config.measure_pictures))
        if parallel.is_first() and run.due(step, config.snapshot_every):
            folder = run.folder / "snapshots" / f"{step + 1:06d}"
            save_snapshot(reader, folder, config, step + 1, run.elapsed, before)
        if run.save_due(step):
            states = {name: part.state_dict() for name, part in kept.items()}
            run.save(step, before=before, earlier=earlier, **states)

    if parallel.is_first():
        if "discriminators" in networks:  # for a training that starts from this one
            save_discriminators(run.model_folder, networks["discriminators"].state_dict())
        save_snapshot(reader, run.model_folder, config, config.run.steps, run.elapsed, before)
        print(f"{run.model_folder}: a painter of {sides[-1]} px images")
    parallel.leave()


def train_step(
    config: TrainGan,
    family: Family,
    networks: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    batches: Sequence[MicroBatch],
    losses: Any,
    step: int,
) -> dict[str, Tensor]:
    """The phases of the family, one after the other, each over all batches; returns what is logged."""
    logs: dict[str, Tensor] = {}
    device = batches[0].class_ids.device
    for name, loss_of in family.phases:
        if name == "generator" and step < config.discriminators_first:
            continue
        for batch in batches:
            with autocast(device, config.run.precision):
                loss, found = loss_of(networks, batch, losses, step)
            (loss / len(batches)).backward()
            if len(batches) > 1:  # the graphs of all of them would not fit into memory together
                batch.cache.clear()
        update(optimizers[name])
        logs = found | logs
        # a third of the step's work, and nobody would use these gradients
        set_requires_grad(optimizers[name], False)
    for optimizer in optimizers.values():
        set_requires_grad(optimizer, True)
    return logs


def build_optimizers(
    config: TrainGan,
    family: Family,
    networks: Mapping[str, nn.Module],
    earlier: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> dict[str, torch.optim.Optimizer]:
    """Adam for what learns of every network that has a phase; what is frozen from the start stays as it is.

    earlier: the tensors of each network that `start` gave, which learn at `earlier_rate`; discriminators too, for these
    would soon know every image of a stage that hardly moves. Raises UserError where nothing would learn.
    """
    optimizers: dict[str, torch.optim.Optimizer] = {}
    for name in (phase.network for phase in family.phases):
        names = earlier.get(name, ())
        if config.earlier_rate == 0:
            freeze(networks[name], names)
        groups = paced(networks[name], names, config.earlier_rate)
        if not groups:
            raise UserError(
                f"earlier_rate=0: {config.start} gave everything of the {name}, of which nothing is left to learn; "
                "choose more gan.stages, or a rate above 0"
            )
        optimizers[name] = torch.optim.Adam(
            groups, lr=base_rate(config, name), betas=(config.beta1, config.beta2), fused=True
        )
    return optimizers


def base_rate(config: TrainGan, network: str) -> float:
    return config.lr_generator if network == "generator" else config.lr_discriminator


def parameters_of(optimizer: torch.optim.Optimizer) -> Iterable[nn.Parameter]:
    return (p for group in optimizer.param_groups for p in group["params"])


def set_requires_grad(optimizer: torch.optim.Optimizer, requires_grad: bool) -> None:
    for p in parameters_of(optimizer):
        p.requires_grad_(requires_grad)


def update(optimizer: torch.optim.Optimizer) -> None:
    """One step down the gradients that were collected."""
    parallel.combine_gradients(parameters_of(optimizer))
    optimizer.step()
    optimizer.zero_grad()


def load_backbones(network: nn.Module, path: str) -> None:
    """Give the pretrained networks within a network the weights of a file, where one is named."""
    for part in network.modules() if path else ():
        if isinstance(part, Backbone):
            part.load(path)


# ---- what would only fail later ----


def check(config: TrainGan, encoder: nn.Module) -> None:
    """Raises UserError where the family's needs are not met, or the processes cannot share its batches."""
    family = family_of(config.gan)
    needs = family.needs(*family.split(config.gan))
    if config.backbone_weights and not needs.backbone:
        raise UserError(
            f"backbone_weights={config.backbone_weights} is for discriminators that see through an ImageNet network, "
            f"as gan=projected or gan=attngan gan.backbone=mobilenet_v2; gan={family.name} has none"
        )
    if needs.backbone and not config.backbone_weights:
        raise UserError(
            f"gan={family.name} sees through an ImageNet network: name its file, "
            f"backbone_weights={needs.backbone}.safetensors"
        )
    if config.earlier_rate != 1 and not config.start:
        raise UserError(
            f"earlier_rate={config.earlier_rate:g} is for what a training starts from; name a painter: start=..."
        )
    if config.earlier_rate == 0 and needs.first_stage:
        raise UserError(
            f"gan.{needs.first_stage} teaches the first stage, which earlier_rate=0 keeps as it is; set it to 0, or "
            "earlier_rate above 0"
        )
    blind = f"needs an encoder that sees images, and {config.encoder} has no image encoder; set it to 0, or encoder"
    if config.measure_every and not encoder.sees_images:
        raise UserError(f"measure_every {blind} to the folder of a whole encoder")
    if needs.image_encoder and not (encoder.sees_images and encoder.can_guide):
        raise UserError(f"gan.{needs.image_encoder} {blind} to a DAMSM")
    if config.batch < needs.smallest_batch:
        raise UserError(
            f"batch={config.batch}: gan={family.name} compares the images and captions of a batch with each other; "
            f"choose {needs.smallest_batch} or more"
        )
    if config.discriminators_first and "discriminators" not in family.networks:
        raise UserError(
            f"discriminators_first={config.discriminators_first}: gan={family.name} has none; set it to 0"
        )
    processes = parallel.processes()
    if processes > 1 and config.batch % (multiple := processes * needs.images_a_process):
        raise UserError(
            f"batch={config.batch} cannot be shared by {processes} processes; choose a multiple of {multiple}"
        )


# ---- batches ----


def draw(
    config: TrainGan,
    birds: CaptionedImages,
    reader: Painter,
    encoder: ConditionEncoder,
    number: int,
    sides: list[int],
) -> MicroBatch:
    """The batch of this number: a function of it and the seed."""
    device = next(reader.generator.parameters()).device
    batch = image_batch(birds, number, config.batch, config.run.seed, random_crop=config.random_crop)
    images = batch.images.to(device)
    if config.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    negatives = hard_negatives(batch.captions, config.hard_negatives, number, config.run.seed)
    text = reader.encode(batch.captions + negatives)
    seed = int(np.random.SeedSequence([config.run.seed, number, 5]).generate_state(1, np.uint64)[0] >> 1)
    damsm = encoder if encoder.sees_images and encoder.can_guide else None
    return MicroBatch(
        pyramid(images, sides), text.rows(0, config.batch), text, batch.class_ids.to(device), seed, damsm, {}
    )


def pyramid(images: Tensor, sides: list[int]) -> tuple[Tensor, ...]:
    """images (B, 3, S, S) -> the same at every side of `sides`, the last of which is S."""
    smaller = [F.interpolate(images, (s, s), mode="bilinear", antialias=True) for s in sides[:-1]]
    return (*smaller, images)


def prepare(
    config: TrainGan, networks: Mapping[str, nn.Module], encoder: ConditionEncoder, sides: list[int]
) -> None:
    """Lay out, share between processes and compile the networks as configured.

    A network that is a list is one of discriminators, of which `features` sees every image by itself and the heads see
    the whole batch; any other sees its inputs one by one as a whole.
    """
    for network in networks.values():
        if config.channels_last:
            network.to(memory_format=torch.channels_last)
        if isinstance(network, nn.ModuleList):
            D: Any  # of a class that the family alone knows
            for D, side in zip(network, sides[-len(network) :], strict=True):
                if parallel.processes() > 1:
                    parallel.share_discriminator(D, side)
                if config.compile:
                    D.features = torch.compile(D.features)
            continue
        if parallel.processes() > 1:
            parallel.share_generator(network)
        if config.compile:
            network.compile()
    if parallel.processes() > 1 and encoder.image_encoder is not None:
        parallel.share(encoder.image_encoder, "forward", [])
