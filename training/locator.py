"""Train the part locator on photographs with annotated parts: it counts heads and finds where colours are read."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from core.errors import UserError
from core.fields import bounded, check, one_of
from core.files import sha256
from core.model_folder import save_model
from core.precision import autocast
from core.runtime import choose_device, seed_step
from data.captioned_images import VALIDATION, CaptionedImages
from data.cub_parts import PartLocations, located_in, part_locations
from data.sampling import indices_at, to_unit
from data.sets import ImageData, open_images, terms_of
from evaluation.part_locator import PartLocator, PartLocatorConfig
from training.config import RunConfig
from training.distributed import refuse_several
from training.front import run_trainer
from training.located import Located, cut_together, locator_loss, moved, relit
from training.locator_judgement import Accuracy, calibrated, measured
from training.run import Run
from training.schedule import set_rate, warmup_cosine
from vision.backbones import TAPS

VALIDATED = 512  # pictures of the validation split that are read while training


@dataclass
class TrainLocator:
    data: ImageData = field(default_factory=ImageData)
    run: RunConfig = field(default_factory=RunConfig)
    backbone: str = one_of(
        "light", ("light", *TAPS)
    )  # light learns from nothing, the others from ImageNet's weights
    backbone_weights: str = ""  # file of these
    # the rate of what that file gave, as a share of lr; 0 leaves its weights as they are
    backbone_rate: float = bounded(0.1, 0, 1000)
    size: int = bounded(128, 32, 1024)  # side at which pictures are read, px; a multiple of 32
    width: int = bounded(64, 8, 512)  # channels in which the backbone's maps meet; a multiple of 8
    batch: int = bounded(32, 1, 4096)
    lr: float = bounded(1e-3, 0, 1, above=True)  # AdamW, one cycle
    spread: float = bounded(1.0, 0, 16, above=True)  # standard deviation of a part in its heatmap, cells
    visible_weight: float = bounded(
        0.2, 0, 100
    )  # of the loss of "is it visible", beside that of the heatmaps
    # augmentation, beside the random crop and mirror image that the painter's training pictures are
    together: float = bounded(0.3, 0, 1)  # share of pictures put together from two: with two heads, or none
    zoom: float = bounded(0.2, 0, 0.9)  # larger or smaller by up to this share
    turn: float = bounded(15.0, 0, 180)  # degrees, either way
    light: float = bounded(0.2, 0, 0.9)  # of brightness and contrast, either way
    examples: int = bounded(2000, 1, 100_000)  # about so many layouts of training photographs are kept


def main() -> None:
    run_trainer("train_locator", TrainLocator, train, __doc__ or "")


def train(config: TrainLocator) -> None:
    """Train as configured and write the run's folder. Raises UserError for what a user can mend."""
    check(config)
    refuse_several("train_locator.py")
    check_weights(config)
    device = choose_device(config.run.device)
    run = Run(config, config.run, device)
    state = run.restore()
    if run.is_complete(state):
        return
    train_set, validation_set, test_set = (
        open_images(config.data, split, config.size) for split in ("train", VALIDATION, "test")
    )
    parts, validation_parts, test_parts = (
        part_locations(config.data.root, images) for images in (train_set, validation_set, test_set)
    )

    torch.manual_seed(config.run.seed)
    model = PartLocator(PartLocatorConfig(config.backbone, config.width, config.size))
    if config.backbone_weights and not state:
        model.backbone.load(config.backbone_weights)  # type: ignore[operator]
    model.to(device)
    optimizer = torch.optim.AdamW(parameter_groups(model, config), lr=config.lr, weight_decay=1e-2)
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])

    for step in run.steps(state):
        model.train()
        seed_step(config.run.seed, step)
        batch = located_batch(train_set, parts, step, config)
        set_rate(optimizer, config.lr * warmup_cosine(step, run.horizon, warmup=50))
        with autocast(device, config.run.precision):
            heat, visible = model(batch.images.to(device))
        loss, terms = locator_loss(
            heat,
            visible,
            batch.places.to(device),
            batch.visible.to(device),
            config.spread,
            config.visible_weight,
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(step, loss=loss, **terms)
        rates = [group["lr"] for group in optimizer.param_groups]
        run.rates(step, **dict(zip(("locator", "backbone"), rates, strict=False)))
        if run.due(step, config.run.sample_every):
            run.record(step, **measured(model, validation_set, validation_parts, VALIDATED).scores())
        if run.save_due(step):
            run.save(step, model=model.state_dict(), optimizer=optimizer.state_dict())

    model = calibrated(model, train_set, parts, config.examples)
    found = measured(model, test_set, test_parts)
    run.record(config.run.steps - 1, **{f"test_{key}": value for key, value in found.scores().items()})
    training = {"data": config.data.root, "steps": config.run.steps, "batch": config.batch, "seed": config.run.seed,
                "backbone_weights": sha256(Path(config.backbone_weights)) if config.backbone_weights else None,
                "test": found.scores(), "test_within_a_tenth": found.within}  # fmt: skip
    save_model(run.model_folder, model.kind, model.state_dict(), asdict(model.config),
               card(config, found, len(test_set)), None, training)  # fmt: skip
    print(f"{run.model_folder}: {found.told()}")


def check_weights(config: TrainLocator) -> None:
    """Raises UserError where a backbone lacks the weights that it starts from, or has none to take."""
    if config.backbone == "light" and config.backbone_weights:
        raise UserError(
            f"backbone_weights={config.backbone_weights} is for backbone={' or '.join(TAPS)}; light learns from nothing"
        )
    if config.backbone != "light" and not config.backbone_weights:
        raise UserError(
            f"backbone={config.backbone} starts from ImageNet's weights: name their file, backbone_weights=FILE, or "
            "take backbone=light, which learns from nothing"
        )


def parameter_groups(model: PartLocator, config: TrainLocator) -> list[dict]:
    """All parameters at one rate, or those of a pretrained backbone at a rate of their own, or not at all."""
    if config.backbone == "light":
        return [{"params": list(model.parameters())}]
    others = [p for name, p in model.named_parameters() if not name.startswith("backbone.")]
    if config.backbone_rate == 0:
        model.backbone.requires_grad_(False)
        return [{"params": others}]
    return [{"params": others}, {"params": list(model.backbone.parameters()), "scale": config.backbone_rate}]


def located_batch(birds: CaptionedImages, parts: PartLocations, step: int, config: TrainLocator) -> Located:
    """The pictures of a step and where their parts are: cropped and mirrored by (seed, step), then augmented with
    torch's random numbers, which `seed_step` has set."""
    indices = indices_at(step, config.batch, len(birds), config.run.seed)
    cuts = birds.cuts(indices, np.random.default_rng([config.run.seed, step, 1]))
    inside = located_in(parts, indices, cuts, birds.size)
    batch = Located(
        to_unit(birds.cut(indices, cuts)),
        torch.from_numpy(inside.places / birds.size).float()[:, None],
        torch.from_numpy(inside.visible)[:, None],
    )
    B = len(indices)
    if config.zoom or config.turn:
        zoom = 1 + config.zoom * (2 * torch.rand(B) - 1)
        batch = moved(batch, torch.deg2rad(config.turn * (2 * torch.rand(B) - 1)), zoom)
    if config.together:
        chosen, axis, at = (
            torch.rand(B) < config.together,
            torch.randint(0, 2, (B,)),
            0.35 + 0.3 * torch.rand(B),
        )
        batch = cut_together(batch, chosen, axis, at)
    return batch._replace(images=relit(batch.images, config.light)) if config.light else batch


def card(config: TrainLocator, found: Accuracy, count: int) -> str:
    origin = "from nothing"
    if config.backbone_weights:
        origin = f"from ImageNet's weights of {config.backbone}"
    return f"""# Part locator of real birds

Finds the fifteen annotated parts of CUB-200-2011 in a picture of a bird, a heatmap each, trained {origin}
on `{config.data.root}`: {config.run.steps} steps of {config.batch} photographs, seed {config.run.seed}. It counts the
heads of generated pictures (`evaluate.py --metric whole_birds`), finds where a part's colour is to be read
(`--metric real_part_colours`), and takes no part in training a generator.{terms_of(config.data)}

{count} test photographs, of species that it was not trained on: {found.told()}.

Limits: pictures cut about one bird, as those of its training are; second heads were shown to it as two photographs with
a seam between them, which a generator's have not.
"""
