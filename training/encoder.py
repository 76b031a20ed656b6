"""Train a text and an image encoder that match captions and images: DAMSM, or char-CNN-RNN."""

import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from omegaconf import MISSING
from torch import nn

from core.errors import UserError
from core.fields import bounded, check
from core.precision import autocast
from core.runtime import choose_device, seed_step
from data.captioned_images import VALIDATION, CaptionedImages
from data.sampling import hard_negatives, image_batch
from data.sets import ImageData, open_images, terms_of
from evaluation.validation import caption_candidates, real_scores
from t2i.encoders.base import ConditionEncoder, Recipe
from t2i.encoders.registry import encoder_of, trainable_encoders
from training.captions import readable_captions
from training.config import RunConfig
from training.distributed import refuse_several
from training.encoder_board import show_attention
from training.front import run_trainer
from training.run import Run
from training.schedule import every_epoch, set_rate, warmup_cosine


@dataclass
class TrainEncoder:
    data: ImageData = field(default_factory=ImageData)
    run: RunConfig = field(default_factory=RunConfig)
    variants: ClassVar = {"encoder": {name: e.config_class for name, e in trainable_encoders().items()}}
    encoder: Any = MISSING  # the configuration of an encoder: encoder=damsm or char_cnn_rnn
    # file of ImageNet weights for encoder.image=inception, mobilenet_v2 or squeezenet1_1
    backbone_weights: str = ""
    # the rate of what that file gave, as a share of lr; 0 leaves its weights as they are
    backbone_rate: float = bounded(0.0, 0, 1000)
    start: str = ""  # trained encoder to go on from, whose images may have been of another side
    batch: int = bounded(48, 1, 65536)
    # of every image in a step, all but the first for the sentence loss alone
    captions_per_image: int = bounded(1, 1, 100)
    # captions with a wrong colour, for each right one, to be told from it
    hard_negatives: int = bounded(0, 0, 1000)
    lr: float = bounded(2e-3, 0, 100)  # of the optimiser and the schedule of the encoder's recipe
    clip: float = bounded(0.25, 0, 1e9)  # most norm of the text encoder's gradient, 0 for any
    defaults_with: ClassVar = {
        name: e.recipe.settings for name, e in trainable_encoders().items() if e.recipe
    }


# Factor of lr at a step, of so many, with so many classes in the set
SCHEDULES: dict[str, Callable[[int, int, int], float]] = {
    "warmup_cosine": lambda step, steps, classes: warmup_cosine(step, steps, warmup=50),
    # an epoch of char-CNN-RNN's authors is as many batches as there are classes
    "every_epoch": lambda step, steps, classes: every_epoch(step, classes, factor=0.98),
}


def main() -> None:
    run_trainer("train_encoder", TrainEncoder, train, __doc__ or "")


def train(config: TrainEncoder) -> None:
    """Train as configured and write the run's folder. Raises UserError for what a user can mend."""
    check(config)
    refuse_several("train_encoder.py")
    kind = encoder_of(config.encoder)
    assert kind.recipe is not None
    recipe = kind.recipe
    if config.batch < recipe.smallest_batch:
        raise UserError(
            f"batch={config.batch}: the loss tells the pairs of a batch from each other; choose "
            f"{recipe.smallest_batch} or more"
        )
    device = choose_device(config.run.device)
    run = Run(config, config.run, device)
    state = run.restore()
    if run.is_complete(state):
        return
    train_set, validation_set, test_set = (
        open_images(config.data, split, config.encoder.image_size) for split in ("train", VALIDATION, "test")
    )
    classes = len(np.unique(train_set.class_ids))

    torch.manual_seed(config.run.seed)
    # The vocabulary holds the words of both splits, as AttnGAN's does: a test caption keeps all its words.
    read = (train_set, *([validation_set] if config.data.hold_out else []), test_set)
    every_caption = (c for images in read for cs in images.captions for c in cs)
    model = kind.from_captions(config.encoder, every_caption)
    for images in (train_set, validation_set, test_set):
        readable_captions(images, model)
    backbone = start_backbone(model, config, bool(state))
    if config.start and not state:
        start_from(config.start, model)
    model.to(device)
    others = [p for p in model.parameters() if not any(p is t for t in backbone)]
    groups = [
        {"params": others},
        *([{"params": backbone, "scale": config.backbone_rate}] if backbone else []),
    ]
    optimizer = recipe.optimizer(groups, lr=config.lr)
    text_parameters = [p for name, p in model.named_parameters() if not name.startswith("image_encoder.")]
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])

    for step in run.steps(state):
        model.train()
        seed_step(config.run.seed, step)
        batch = image_batch(
            train_set,
            step,
            config.batch,
            config.run.seed,
            recipe.distinct_classes,
            captions_per_image=config.captions_per_image,
        )
        captions, extra_captions = batch.captions[: config.batch], batch.captions[config.batch :]
        set_rate(optimizer, config.lr * SCHEDULES[recipe.schedule](step, run.horizon, classes))
        negatives = hard_negatives(captions, config.hard_negatives, step, config.run.seed)
        with autocast(device, config.run.precision):
            loss, parts = model.loss(
                batch.images.to(device), captions + negatives, batch.class_ids.to(device), extra_captions
            )
        optimizer.zero_grad()
        loss.backward()
        if config.clip:
            torch.nn.utils.clip_grad_norm_(text_parameters, config.clip)
        optimizer.step()
        run.log(step, loss=loss, **parts)
        rates = [group["lr"] for group in optimizer.param_groups]
        run.rates(step, **dict(zip(("encoder", "backbone"), rates, strict=False)))
        if run.due(step, config.run.sample_every):
            run.record(step, **real_scores(model, validation_set))
            show_attention(run, step, model, validation_set)
        if run.save_due(step):
            run.save(step, model=model.state_dict(), optimizer=optimizer.state_dict())

    scores = real_scores(model, test_set)
    run.record(config.run.steps - 1, **{f"test_{key}": value for key, value in scores.items()})
    precision = scores["r_precision"]
    candidates = caption_candidates(test_set.class_ids)
    training = {"data": config.data.root, "steps": config.run.steps, "batch": config.batch,
                "captions_per_image": config.captions_per_image, "seed": config.run.seed,
                "test_r_precision": precision, "candidates": candidates}  # fmt: skip
    model.save(run.model_folder, card(config, model, recipe, test_set, precision), training)
    print(f"{run.model_folder}: {measured(precision, candidates)}")


def start_backbone(model: ConditionEncoder, config: TrainEncoder, goes_on: bool) -> list[nn.Parameter]:
    """Load the weights of a backbone, and return what learns at a rate of its own; says so where there are none."""
    encoder: Any = model.image_encoder
    if not config.backbone_weights:
        if encoder.needs_backbone_weights:
            raise UserError(
                f"encoder.image={config.encoder.image} starts from ImageNet's weights: name their file, "
                "backbone_weights=FILE"
            )
        if encoder.backbone is not None and not goes_on:
            print(
                f"no backbone_weights were named: {encoder.title} learns from random weights; backbone_weights=FILE "
                "gives it ImageNet's"
            )
        return []
    encoder.load_backbone(Path(config.backbone_weights))
    if config.backbone_rate > 0:
        return list(encoder.backbone.parameters())
    encoder.backbone.requires_grad_(False)
    return []


def start_from(folder: str, model: ConditionEncoder) -> None:
    """Give the model a trained one's weights. Raises UserError where that has other sizes or knows other words."""
    trained = type(model).load(folder)
    theirs, ours = (asdict(one.config) | {"image_size": 0} for one in (trained, model))
    if changed := [key for key in ours if theirs[key] != ours[key]]:
        key = changed[0]
        raise UserError(f"{folder} has {key}={theirs[key]}, not {ours[key]}; set encoder.{key}={theirs[key]}")
    if trained.vocabulary_json != model.vocabulary_json:
        raise UserError(f"{folder} knows other words than those of this set; an encoder goes on with its own")
    model.load_state_dict(trained.state_dict())
    print(f"{folder}: started from its weights")


def measured(precision: float, candidates: int) -> str:
    """R-precision of the test split in words, with the number of captions that each image had to choose from."""
    if candidates < 2:
        return "R-precision was not measured, since the test split has captions of one class only"
    return (
        f"R-precision of the test split's own images (1 true caption and {candidates - 1} of other classes): "
        f"{100 * precision:.1f} %, chance {100 / candidates:.3g} %"
    )


def card(
    config: TrainEncoder, model: ConditionEncoder, recipe: Recipe, test_set: CaptionedImages, precision: float
) -> str:
    image: Any = model.image_encoder
    origin = "from nothing"
    if config.backbone_weights:
        fate = f"learnt at {config.backbone_rate:g} of the rate" if config.backbone_rate else "stayed"
        origin = f"from ImageNet's weights of the image backbone, which {fate},"
    rnn = getattr(config.encoder, "rnn", "").upper()
    about = recipe.about.format(rnn=rnn, image=image.title, origin=origin)
    per_image = config.captions_per_image
    pairs = f"images with {per_image} captions each" if per_image > 1 else "pairs"
    made = f"{about} on `{config.data.root}`: {config.run.steps} steps of {config.batch} {pairs}, "
    made += f"seed {config.run.seed}{f', going on from `{config.start}`' if config.start else ''}."
    result = f"{measured(precision, caption_candidates(test_set.class_ids))}."
    return f"""# {recipe.title}

{textwrap.fill(made, 100)}{terms_of(config.data)}

{textwrap.fill(result, 100)}

Limits: {type(model).limits}.
"""
