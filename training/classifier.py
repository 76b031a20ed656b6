"""Train the part-colour classifier on rendered painted birds: the judge that reads colours back from pictures."""

from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F

from core.fields import bounded, check
from core.model_folder import save_model
from core.precision import autocast
from core.runtime import choose_device, seed_step
from data.captioned_images import CaptionedImages
from data.painted_birds.grammar import COLOURS, PARTS
from data.sampling import image_batch, to_unit
from data.sets import ImageData, open_images, read_parts
from evaluation.part_classifier import PartClassifier, PartClassifierConfig
from training.config import RunConfig
from training.distributed import refuse_several
from training.front import run_trainer
from training.run import Run
from training.schedule import set_rate, warmup_cosine


@dataclass
class TrainClassifier:
    data: ImageData = field(default_factory=ImageData)
    run: RunConfig = field(default_factory=RunConfig)
    size: int = bounded(64, 16, 1024)  # side at which pictures are read, px; a multiple of 16
    width: int = bounded(32, 1, 512)
    batch: int = bounded(64, 1, 4096)
    lr: float = bounded(4e-3, 0, 1, above=True)  # AdamW, one cycle


def main() -> None:
    run_trainer("train_classifier", TrainClassifier, train, __doc__ or "")


def train(config: TrainClassifier) -> None:
    """Train as configured and write the run's folder. Raises UserError for what a user can mend."""
    check(config)
    model_config = PartClassifierConfig(list(PARTS), list(COLOURS), config.width, config.size)
    refuse_several("train_classifier.py")
    device = choose_device(config.run.device)
    run = Run(config, config.run, device)
    state = run.restore()
    if run.is_complete(state):
        return
    train_set, test_set = (open_images(config.data, split, config.size) for split in ("train", "test"))
    truth = read_parts(config.data.root)  # colours by part of every picture's name

    torch.manual_seed(config.run.seed)
    model = PartClassifier(model_config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=1e-2)
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])

    labels = model.colour_ids([truth[name] for name in train_set.names])  # (N, P)
    for step in run.steps(state):
        seed_step(config.run.seed, step)
        batch = image_batch(train_set, step, config.batch, config.run.seed)
        set_rate(optimizer, config.lr * warmup_cosine(step, run.horizon, warmup=20))
        with autocast(device, config.run.precision):
            logits = model(batch.images.to(device))  # (B, P, K)
        loss = F.cross_entropy(logits.flatten(0, 1), labels[batch.indices].flatten().to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(step, loss=loss)
        run.rates(step, classifier=optimizer.param_groups[0]["lr"])
        if run.save_due(step):
            run.save(step, model=model.state_dict(), optimizer=optimizer.state_dict())

    by_part = rendered_accuracy(model, test_set, truth)
    accuracy = sum(by_part.values()) / len(by_part)
    run.record(config.run.steps - 1, test_accuracy=accuracy)
    training = {"steps": config.run.steps, "seed": config.run.seed, "rendered_test_accuracy": by_part}
    save_model(
        run.model_folder, model.kind, model.state_dict(), asdict(model_config), card(accuracy), None, training
    )
    print(f"{run.model_folder}: {100 * accuracy:.2f} % of the parts of rendered test birds read right")


@torch.inference_mode()
def rendered_accuracy(
    model: PartClassifier, birds: CaptionedImages, truth: dict[str, dict[str, str]]
) -> dict[str, float]:
    """Fraction of pictures whose colour is read right, by part."""
    model.eval()
    right = torch.zeros(len(model.parts))
    for start in range(0, len(birds), 100):
        indices = range(start, min(start + 100, len(birds)))
        read = model(to_unit(birds.batch(indices, None))).argmax(2)
        right += (read == model.colour_ids([truth[birds.names[i]] for i in indices])).sum(0)
    return dict(zip(model.parts, (right / len(birds)).tolist(), strict=True))


def card(accuracy: float) -> str:
    return f"""# Part-colour classifier of the painted birds

Reads the colour of each part ({", ".join(PARTS)}) from a picture of a painted bird, by a small
convolutional network with one attention map for each part, trained on rendered birds of the training species.
It measures generated pictures (part-colour accuracy, and the features and class probabilities of FID, KID and
Inception Score) and takes no part in training a generator.

Rendered birds of the unseen test species: {100 * accuracy:.2f} % of all parts read right.

Limits: painted birds only; on photographs its answers mean nothing.
"""
