"""Train a text and an image encoder that match captions and pictures: DAMSM, or char-CNN-RNN."""

import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from omegaconf import MISSING
from torch import nn

from core.errors import UserError
from core.precision import autocast
from core.runtime import choose_device, seed_step
from data.captioned_images import VALIDATION
from data.sampling import hard_negatives, image_batch
from data.sets import ImageData, open_images, terms_of
from evaluation.validation import real_r_precision
from t2i.encoders.char_cnn_rnn import CharEncoder
from t2i.encoders.damsm import Damsm
from t2i.encoders.image import InceptionImageEncoder, PretrainedImageEncoder, load_inception
from t2i.encoders.registry import ENCODER_CONFIGS, build_encoder
from training.config import RunConfig
from training.distributed import refuse_several
from training.front import run_trainer
from training.run import Run
from training.schedule import every_epoch, set_rate, warmup_cosine


@dataclass
class TrainEncoder:
    data: ImageData = field(default_factory=ImageData)
    run: RunConfig = field(default_factory=RunConfig)
    variants: ClassVar = {"encoder": ENCODER_CONFIGS}
    encoder: Any = MISSING  # the configuration of an encoder: encoder=damsm or char_cnn_rnn
    trunk: str = ""  # file of ImageNet weights for encoder.image=inception, mobilenet_v2 or squeezenet1_1
    trunk_rate: float = (
        0.0  # the rate of what that file gave, as a share of lr; 0 leaves its weights as they are
    )
    start: str = ""  # trained encoder to go on from, whose pictures may have been of another side
    batch: int = 48
    each: int = 1  # captions of every picture in a step, all but the first for the sentence loss alone
    hard_negatives: int = 0  # captions with a wrong colour, for each right one, to be told from it
    lr: float = 2e-3  # of the optimiser and the schedule in METHODS
    clip: float = 0.25  # most norm of the text encoder's gradient, 0 for any
    defaults_with: ClassVar = {"char_cnn_rnn": {"batch": 40, "lr": 7e-4, "clip": 0.0}}  # its authors'


class Method(NamedTuple):
    """How an encoder is trained, but for its loss, which is its own."""

    optimizer: Callable[..., torch.optim.Optimizer]
    rate: Callable[[int, int, int], float]  # factor of lr at a step, of so many, with so many classes
    distinct: bool  # no two pictures of a batch are of one class
    title: str  # the rest is for the card
    about: str
    limits: str


METHODS = {
    Damsm: Method(
        optimizer=partial(torch.optim.Adam, betas=(0.5, 0.999), fused=True),
        rate=lambda step, steps, classes: warmup_cosine(step, steps, warmup=50),
        distinct=False,
        title="DAMSM text and image encoder",
        about="A bidirectional {rnn} over words and {image}, trained together from nothing "
        "with the deep attentional multimodal similarity loss of AttnGAN (section 3.2)",
        limits="knows the words of its vocabulary only.",
    ),
    CharEncoder: Method(
        optimizer=torch.optim.RMSprop,
        # an epoch of theirs is as many batches as there are classes
        rate=lambda step, steps, classes: every_epoch(step, classes, factor=0.98),
        distinct=True,
        title="char-CNN-RNN text encoder, and an image encoder",
        about="Convolutions and a recurrent layer over characters and {image}, trained "
        "together from nothing with the structured joint embedding loss of Reed et al. (CVPR 2016, section 3)",
        limits="reads the first 201 characters of a text; of words that it was not trained on it makes what it can.",
    ),
}


def main() -> None:
    run_trainer("train_encoder", TrainEncoder, train, __doc__ or "")


def train(config: TrainEncoder) -> None:
    """Train as configured and write the run's folder. Raises UserError for what a user can mend."""
    if config.each < 1:
        raise UserError(f"each={config.each} captions of a picture; give 1 or more")
    refuse_several("train_encoder.py")
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
    model = build_encoder(config.encoder, every_caption)
    trunk = start_trunk(model, config, bool(state))
    if config.start and not state:
        start_from(config.start, model)
    model.to(device)
    method = METHODS[type(model)]
    others = [p for p in model.parameters() if not any(p is t for t in trunk)]
    groups = [{"params": others}, *([{"params": trunk, "scale": config.trunk_rate}] if trunk else [])]
    optimizer = method.optimizer(groups, lr=config.lr)
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])

    for step in run.steps(state):
        model.train()
        seed_step(config.run.seed, step)
        batch = image_batch(
            train_set, step, config.batch, config.run.seed, method.distinct, captions_per_image=config.each
        )
        captions, again = batch.captions[: config.batch], batch.captions[config.batch :]
        set_rate(optimizer, config.lr * method.rate(step, run.horizon, classes))
        negatives = hard_negatives(captions, config.hard_negatives, step, config.run.seed)
        with autocast(device, config.run.precision):
            loss, parts = model.loss(
                batch.images.to(device), captions + negatives, batch.class_ids.to(device), again
            )
        optimizer.zero_grad()
        loss.backward()
        if config.clip:
            torch.nn.utils.clip_grad_norm_(model.text_encoder.parameters(), config.clip)
        optimizer.step()
        run.log(step, loss=loss, **parts)
        if run.due(step, config.run.sample_every):
            run.record(step, r_precision=real_r_precision(model, validation_set))
        if run.save_due(step):
            run.save(step, model=model.state_dict(), optimizer=optimizer.state_dict())

    precision = real_r_precision(model, test_set)
    training = {"data": config.data.root, "steps": config.run.steps, "batch": config.batch, "each": config.each,
                "seed": config.run.seed, "test_r_precision": precision}  # fmt: skip
    model.save(run.model_folder, card(config, method, precision), training)
    print(f"{run.model_folder}: R-precision of the test split's own pictures {100 * precision:.1f} %")


def start_trunk(model: Damsm | CharEncoder, config: TrainEncoder, goes_on: bool) -> list[nn.Parameter]:
    """Load the weights of a trunk, and return what learns at a rate of its own; says so where there are none."""
    if config.trunk_rate < 0:
        raise UserError(f"trunk_rate={config.trunk_rate} must be 0 or more")
    encoder = model.image_encoder
    if not isinstance(encoder, InceptionImageEncoder | PretrainedImageEncoder):
        if config.trunk:
            raise UserError(
                f"trunk={config.trunk} is for encoder.image=inception, mobilenet_v2 or squeezenet1_1; "
                "the other image encoders have no trunk"
            )
        return []
    if not config.trunk:
        if isinstance(
            encoder, PretrainedImageEncoder
        ):  # its BatchNorm follows no pictures, so it would not learn
            raise UserError(
                f"encoder.image={config.encoder.image} starts from ImageNet's weights: name their file, trunk=FILE"
            )
        if not goes_on:
            print(
                "no trunk was named: Inception-v3 learns from random weights; trunk=FILE gives it ImageNet's"
            )
        return []
    if isinstance(encoder, InceptionImageEncoder):
        load_inception(encoder, config.trunk)
    else:
        encoder.trunk.load(config.trunk)
    if config.trunk_rate > 0:
        return list(encoder.trunk.parameters())
    encoder.trunk.requires_grad_(False)
    return []


def start_from(folder: str, model: Damsm | CharEncoder) -> None:
    """Give the model a trained one's weights. Raises UserError where that has other sizes or knows other words."""
    trained = type(model).load(folder)
    theirs, ours = (asdict(one.config) | {"image_size": 0} for one in (trained, model))
    if changed := [key for key in ours if theirs[key] != ours[key]]:
        key = changed[0]
        raise UserError(f"{folder} has {key}={theirs[key]}, not {ours[key]}; set encoder.{key}={theirs[key]}")
    if isinstance(model, Damsm) and trained.vocabulary.words != model.vocabulary.words:
        raise UserError(f"{folder} knows other words than those of this set; an encoder goes on with its own")
    model.load_state_dict(trained.state_dict())
    print(f"{folder}: started from its weights")


def card(config: TrainEncoder, method: Method, precision: float) -> str:
    rnn, image = getattr(config.encoder, "rnn", ""), getattr(config.encoder, "image", "light")
    images = {"light": "a light convolutional image encoder", "inception": "Inception-v3",
              "mobilenet_v2": "MobileNetV2", "squeezenet1_1": "SqueezeNet 1.1"}  # fmt: skip
    about = method.about.format(rnn=rnn.upper(), image=images[image])
    if config.trunk:
        fate = f"learnt at {config.trunk_rate:g} of the rate" if config.trunk_rate else "stayed"
        about = about.replace(
            "from nothing", f"from ImageNet's weights of the pictures' trunk, which {fate},"
        )
    pairs = f"pictures with {config.each} captions each" if config.each > 1 else "pairs"
    made = f"{about} on `{config.data.root}`: {config.run.steps} steps of {config.batch} {pairs}, "
    made += f"seed {config.run.seed}{f', going on from `{config.start}`' if config.start else ''}."
    return f"""# {method.title}

{textwrap.fill(made, 100)}{terms_of(config.data)}

R-precision of the test split's own pictures (unseen species, 1 true and 99 captions of other classes):
{100 * precision:.1f} %, chance 1 %.

Limits: {method.limits}
"""
