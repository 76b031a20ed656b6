"""Train the recogniser (Transformer encoder-decoder, joint CTC and attention) on transcribed speech."""

import logging
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.audio import SAMPLE_RATE
from asr.augment import Augmentation, augment, mask_features
from asr.batches import BatchPlan
from asr.features import LogMel, count_frames, pad_samples
from asr.losses import joint_loss
from asr.model import ModelConfig, SpeechModel, count_parameters
from asr.recognizer import BEAM, CTC_WEIGHT, Recognizer
from asr.tokenizer import Tokenizer
from core.errors import UserError
from core.fields import bounded, check, list_of, one_of
from core.precision import autocast
from core.runtime import choose_device, seed_step
from data.speech import SpeechSet, load_speech
from metrics.cer import character_error_rate
from metrics.error_rates import NORMALISATION
from metrics.wer import word_error_rate
from training.asr_board import show_clips
from training.config import RunConfig
from training.distributed import refuse_several
from training.ema import averaged
from training.front import run_trainer
from training.run import Run
from training.schedule import set_rate, warmup_cosine

log = logging.getLogger(__name__)


@dataclass
class SpeechData:
    root: str = "datasets/spoken_captions"  # a folder in the layout of LJSpeech or LibriSpeech
    cache: str = "datasets/spoken_captions/cache"  # where decoded sound is packed
    # ljspeech, librispeech, or whichever is found
    layout: str = one_of("auto", ("auto", "ljspeech", "librispeech"))
    spoken: bool = True  # make the set with data.voices where it is missing
    train: str = "train"  # names of the splits
    validation: str = "val"
    tests: list[str] = list_of(["test"], 1, 64)  # the first is the headline
    # LJSpeech: its lists in splits/ (files), or chapters
    split_by: str = one_of("auto", ("auto", "files", "chapters"))
    max_seconds: float = bounded(16.0, 0.1, 60.0)  # longer clips are left out of the training
    # error, or skip: leave damaged clips out and say which
    on_damaged: str = one_of("error", ("error", "skip"))


@dataclass
class TrainAsr:
    data: SpeechData = field(default_factory=SpeechData)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: Augmentation = field(default_factory=Augmentation)
    run: RunConfig = field(default_factory=RunConfig)
    batch_seconds: float = bounded(96.0, 0.1, 1e5)  # sound in a batch, padding included
    lr: float = bounded(2e-3, 0.0, 10.0, above=True)  # AdamW, linear warm-up, then a half cosine
    warmup: int = bounded(200, 1, 10**9)  # steps
    weight_decay: float = bounded(1e-2, 0.0, 10.0)
    clip: float = bounded(5.0, 0.0, 1e9, above=True)  # norm of the gradient
    ctc_weight: float = bounded(CTC_WEIGHT, 0.0, 1.0)  # Watanabe et al. 2017; the rest is attention
    smoothing: float = bounded(0.1, 0.0, 0.9)  # of the decoder's labels
    ema: float = bounded(0.998, 0.0, 1.0)  # decay of the averaged weights, which are those released
    validation_clips: int = bounded(200, 0, 10**9)  # 0 for all
    beam: int = bounded(BEAM, 0, 100)  # of the last evaluation; while training CTC's best path is enough


class Batch(NamedTuple):
    samples: Tensor  # (B, S)
    lengths: Tensor  # (B,) samples
    tokens: Tensor  # (B, L), filled with 0
    token_lengths: Tensor  # (B,)


def main() -> None:
    run_trainer("train_asr", TrainAsr, train, __doc__ or "")


def train(config: TrainAsr) -> None:
    """Train as configured and write the run's folder. Raises UserError for what a user can mend."""
    check(config)
    refuse_several("train_asr.py")
    device = choose_device(config.run.device)
    run = Run(config, config.run, device)
    state = run.restore()
    if run.is_complete(state):
        return
    tokenizer = Tokenizer()
    train_set = open_speech(config.data, config.data.train)
    validation_set = open_speech(config.data, config.data.validation)

    torch.manual_seed(config.run.seed)
    model = SpeechModel(config.model, len(tokenizer)).to(device)
    usable = usable_clips(train_set, tokenizer, model.encoder.subsampling, config.data.train)
    plan = BatchPlan(train_set.lengths[usable], config.batch_seconds, config.run.seed)
    average = averaged(model, config.ema)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
    )
    front_end = LogMel(config.model.normalisation).to(device)
    if state:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
    print(
        f"{len(usable)} clips, {train_set.lengths[usable].sum() / SAMPLE_RATE / 3600:.1f} hours; "
        f"{count_parameters(model) / 1e6:.1f} M parameters",
        file=sys.stderr,
    )

    def batch_at(step: int) -> Batch:
        return make_batch(train_set, [usable[i] for i in plan.batch(step)], tokenizer, config, step)

    assert isinstance(average.module, SpeechModel)
    recognizer = Recognizer(average.module, tokenizer, config.ctc_weight)
    with Prefetcher(batch_at) as batches:
        for step in run.steps(state):
            batch = Batch(*(part.to(device) for part in batches[step]))
            seed_step(config.run.seed, step)
            set_rate(optimizer, config.lr * warmup_cosine(step, run.horizon, config.warmup))
            features, is_pad = front_end(batch.samples, batch.lengths)  # (B, T, 80), (B, T)
            features = mask_features(features, is_pad, generator(config, step, 1), config.augment)
            with autocast(device, config.run.precision):
                ctc_logits, frame_is_pad, logits = model(features, is_pad, batch.tokens)
            loss = joint_loss(
                ctc_logits,
                frame_is_pad,
                logits,
                batch.tokens,
                batch.token_lengths,
                config.ctc_weight,
                config.smoothing,
            )
            optimizer.zero_grad()
            loss.total.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            average.update_parameters(model)
            run.log(
                step,
                loss=loss.total.detach(),
                ctc=loss.ctc.detach(),
                attention=loss.attention.detach(),
                gradient=norm,
            )
            run.rates(step, recognizer=optimizer.param_groups[0]["lr"])
            if run.due(step, config.run.sample_every):
                found = evaluate(recognizer, validation_set, 0, config.validation_clips)
                run.record(step, validation_wer=found["wer"], validation_cer=found["cer"])
                show_clips(run, step, recognizer, validation_set)
            if run.save_due(step):
                run.save(
                    step,
                    model=model.state_dict(),
                    average=average.state_dict(),
                    optimizer=optimizer.state_dict(),
                )

    scores: dict[str, dict[str, float]] = {}
    for split in config.data.tests:
        scores[split] = evaluate(recognizer, open_speech(config.data, split), config.beam, 0)
        run.record(config.run.steps - 1, **{f"{split}_{key}": scores[split][key] for key in ("wer", "cer")})
    training = {
        "data": Path(config.data.root).name, "clips": len(usable), "steps": config.run.steps,
        "seed": config.run.seed, "minutes": round(run.elapsed / 60, 1), "beam": config.beam, "scores": scores,
    }  # fmt: skip
    recognizer.save(run.model_folder, card(training, count_parameters(model)), training)
    results = [
        f"{split} WER {100 * s['wer']:.1f} %, CER {100 * s['cer']:.1f} %" for split, s in scores.items()
    ]
    print(f"{run.model_folder}: {'; '.join(results)}")


def open_speech(config: SpeechData, split: str) -> SpeechSet:
    """One split. Raises UserError as `load_speech` does."""
    if config.spoken:
        from data.painted_birds.recordings import ensure_spoken_captions

        ensure_spoken_captions(Path(config.root).parent, splits=(split,))
    return load_speech(
        Path(config.root), split, Path(config.cache), config.layout,  # type: ignore[arg-type]
        config.on_damaged, config.max_seconds, config.split_by, "data.on_damaged=skip",  # type: ignore[arg-type]
    )  # fmt: skip


def usable_clips(speech: SpeechSet, tokenizer: Tokenizer, subsampling: int, split: str) -> list[int]:
    """The clips whose text CTC can spell in their frames, one for each character and one more in a doubled one.

    The others are counted and named in a warning. Raises UserError where none is left.
    """
    usable: list[int] = []
    too_short: list[int] = []
    for i, text in enumerate(speech.texts):
        tokens = tokenizer.encode(text)
        needed = len(tokens) + sum(a == b for a, b in zip(tokens, tokens[1:], strict=False))
        fits = 0 < needed <= -(-count_frames(int(speech.lengths[i])) // subsampling)
        (usable if fits else too_short).append(i)
    if too_short:
        names = ", ".join(speech.ids[i] for i in too_short[:3]) + (", ..." if len(too_short) > 3 else "")
        line = f"{len(too_short)} of {len(speech)} {split} clips are too short for their text, or have no letters"
        if not usable:
            raise UserError(
                f"{line} ({names}): none is left; check that sound and transcripts belong together"
            )
        log.warning("%s (%s); they are left out", line, names)
    return usable


def generator(config: TrainAsr, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([config.run.seed, *numbers])


def make_batch(
    speech: SpeechSet, items: list[int], tokenizer: Tokenizer, config: TrainAsr, step: int
) -> Batch:
    """The given clips, augmented by (seed, step, item)."""
    clips, spelt = [], []
    for item in items:
        samples, is_spoken = augment(speech.samples(item), generator(config, step, 0, item), config.augment)
        clips.append(samples)
        spelt.append(tokenizer.encode(speech.texts[item]) if is_spoken else [])
    lengths = torch.tensor([len(tokens) for tokens in spelt])
    tokens = torch.zeros(len(spelt), int(lengths.max()), dtype=torch.long)
    for row, ids in zip(tokens, spelt, strict=True):
        row[: len(ids)] = torch.tensor(ids, dtype=torch.long)
    return Batch(*pad_samples(clips), tokens, lengths)


class Prefetcher:
    """The value of each step, the next one being made in a thread meanwhile."""

    def __init__(self, make: Callable[[int], Batch]):
        self._make, self._pool = make, ThreadPoolExecutor(1)
        self._next: dict[int, Future[Batch]] = {}

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __getitem__(self, step: int) -> Batch:
        future = self._next.get(step) or self._pool.submit(self._make, step)
        self._next = {step + 1: self._pool.submit(self._make, step + 1)}
        return future.result()


def evaluate(recognizer: Recognizer, speech: SpeechSet, beam: int, limit: int) -> dict[str, float]:
    """WER and CER over the first `limit` clips (0 for all); beam 0 is CTC's best path."""
    count = min(limit, len(speech)) if limit else len(speech)
    recognizer.model.eval()
    heard = recognizer.transcribe_batch([speech.samples(i) for i in range(count)], beam)
    try:  # both normalise references and transcripts, by the rule of evaluate.py
        wer = word_error_rate(speech.texts[:count], heard)
        cer = character_error_rate(speech.texts[:count], heard)
    except ValueError as error:
        raise UserError("the transcripts to compare with hold no words; check the set's metadata") from error
    low, high, _ = wer.interval
    return {"wer": wer.value, "wer_low": low, "wer_high": high, "cer": cer.value, "clips": count}


def card(training: dict[str, Any], parameters: int) -> str:
    rows = []
    for split, score in training["scores"].items():
        wer, low, high, cer = (f"{100 * score[key]:.1f} %" for key in ("wer", "wer_low", "wer_high", "cer"))
        rows.append(f"| {split} | {score['clips']} | {wer} | {low} to {high} | {cer} |")
    table = "\n".join(rows)
    return f"""# Recogniser trained on {training["data"]}

English speech to lower-case text. Log-mel frames, a Transformer encoder with depthwise convolutions, a CTC head and
an attention decoder over characters, {parameters / 1e6:.1f} M parameters; the averaged (EMA) weights of
{training["steps"]} steps on {training["clips"]} clips ({training["minutes"]} minutes), seed {training["seed"]}.

Measured on the set's own splits, joint CTC and attention search with a beam of {training["beam"]}, as `evaluate.py`
measures it ({NORMALISATION}):

| split | clips | WER | 95 % interval | CER |
|---|---|---|---|---|
{table}

Limits: it knows the voices, rooms and sentences of its training data; in other voices, accents and subjects it errs
more, often much more. No punctuation, no digits, one sentence at a time. Its confidences are not calibrated, and
noise that resembles speech may be given words. Not for deciding anything about a person.
"""
