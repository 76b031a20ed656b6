"""Train the DAMSM: a text and an image encoder whose words and regions, sentences and pictures match."""

import sys
from dataclasses import asdict, dataclass, field

import numpy as np
import torch

from data.cub import Birds
from data.sampling import bird_batch, to_unit, wrong_captions
from data.sets import BirdData, open_birds
from metrics.r_precision import r_precision
from storage.errors import run_cli
from storage.model_folder import save_model
from t2i.damsm import Damsm, DamsmConfig, damsm_loss
from t2i.text_encoder import encode_captions
from t2i.vocabulary import Vocabulary
from training.config import RunConfig, load_config
from training.run import Run
from training.runtime import autocast, seed_step, set_up
from training.schedule import set_rate, warmup_cosine


@dataclass
class TrainEncoder:
    data: BirdData = field(default_factory=BirdData)
    run: RunConfig = field(default_factory=RunConfig)
    encoder: DamsmConfig = field(default_factory=DamsmConfig)
    batch: int = 48
    wrong_captions: int = 0  # captions with a wrong colour, for each right one, to be told from it
    lr: float = 2e-3  # Adam (0.5, 0.999), one cycle
    clip: float = 0.25  # most norm of the text encoder's gradient


def main() -> None:
    config = load_config("train_encoder", TrainEncoder, sys.argv[1:], __doc__ or "")
    device = set_up(config.run.threads, config.run.device)
    run = Run(config, config.run)
    state = run.restore()
    if run.is_complete(state):
        return
    train_set, test_set = (
        open_birds(config.data, split, config.encoder.image_size) for split in ("train", "test")
    )

    torch.manual_seed(config.run.seed)
    # The vocabulary holds the words of both splits, as AttnGAN's does: a test caption keeps all its words.
    vocabulary = Vocabulary.build(c for birds in (train_set, test_set) for cs in birds.captions for c in cs)
    model = Damsm(config.encoder, vocabulary).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, betas=(0.5, 0.999), fused=True)
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])

    for step in run.steps(state):
        model.train()
        seed_step(config.run.seed, step)
        batch = bird_batch(train_set, step, config.batch, config.run.seed)
        set_rate(optimizer, config.lr * warmup_cosine(step, config.run.steps, warmup=50))
        wrong = wrong_captions(batch.captions, config.wrong_captions, step, config.run.seed)
        ids, is_pad = encode_captions(vocabulary, batch.captions + wrong, config.encoder.words)
        with autocast(device, config.run.precision):
            text = model.text_encoder(ids.to(device), is_pad.to(device))
            regions, image = model.image_encoder(batch.images.to(device))
            words, sentence = damsm_loss(regions, image, text, batch.class_ids.to(device), config.encoder)
        optimizer.zero_grad()
        (words + sentence).backward()
        torch.nn.utils.clip_grad_norm_(model.text_encoder.parameters(), config.clip)
        optimizer.step()
        run.log(step, loss=words + sentence, words=words, sentence=sentence)
        if run.due(step, config.run.sample_every):
            run.record(step, r_precision=real_r_precision(model, test_set))
        if run.save_due(step):
            run.save(step, model=model.state_dict(), optimizer=optimizer.state_dict())

    precision = real_r_precision(model, test_set)
    training = {"data": config.data.root, "steps": config.run.steps, "batch": config.batch, "seed": config.run.seed,
                "test_r_precision": precision}  # fmt: skip
    save_model(
        run.model_folder, model.kind, model.state_dict(), asdict(config.encoder),
        card(config, precision), vocabulary.words, training,
    )  # fmt: skip
    print(f"{run.model_folder}: R-precision of the test split's own pictures {100 * precision:.1f} %")


@torch.inference_mode()
def real_r_precision(model: Damsm, birds: Birds, batch: int = 100) -> float:
    """R-precision of the set's own pictures with one caption each (1 true, 99 of other classes)."""
    model.eval()
    rng = np.random.default_rng(0)
    captions = [of_one[rng.integers(len(of_one))] for of_one in birds.captions]
    images, sentences = [], []
    for start in range(0, len(birds), batch):
        indices = range(start, min(start + batch, len(birds)))
        images.append(model.encode_images(to_unit(birds.batch(indices, None)))[1])
        sentences.append(model.encode_texts([captions[i] for i in indices]).sentence)
    others = len(birds) - int(np.unique(birds.class_ids, return_counts=True)[1].max())
    candidates = min(100, 1 + others)  # a tiny set has fewer than the protocol's 99 captions of other classes
    return r_precision(
        torch.cat(images).numpy(), torch.cat(sentences).numpy(), birds.class_ids, candidates=candidates
    ).value


def card(config: TrainEncoder, precision: float) -> str:
    return f"""# DAMSM text and image encoder

A bidirectional LSTM over words and a light convolutional image encoder, trained together from nothing with the
deep attentional multimodal similarity loss of AttnGAN (section 3.2) on `{config.data.root}`:
{config.run.steps} steps of {config.batch} pairs, seed {config.run.seed}.

R-precision of the test split's own pictures (unseen species, 1 true and 99 captions of other classes):
{100 * precision:.1f} %, chance 1 %.

Limits: knows the words of its vocabulary only.
"""


if __name__ == "__main__":
    run_cli(main)
