"""Train the speech recogniser on transcribed speech."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.augment import Augmentation, mask_features, warp_frequencies
from asr.batches import BatchPlan
from asr.features import LogMel
from asr.language_model import load_language_model
from asr.losses import JointLoss, LossWeights, joint_loss
from asr.mmi import mmi_loss
from asr.model import ModelConfig, PhoneHead, SpeechModel, count_parameters
from asr.recognizer import BEAM, LANGUAGE_MODEL_WEIGHT, PHONE_WEIGHT, WORD_BONUS, Recognizer
from asr.tokenizer import Tokenizer
from core.errors import UserError
from core.fields import bounded, check
from core.precision import autocast
from core.runtime import choose_device, seed_step
from data.speech_mix import SpeechMix
from metrics.cer import character_error_rate
from metrics.error_rates import NORMALISATION
from metrics.wer import word_error_rate
from training.asr_board import show_clips
from training.asr_data import (
    Batch,
    Prefetcher,
    SpeechData,
    held_out_speech,
    make_batch,
    tokenizer_of,
    training_speech,
    usable_clips,
    validation_speech,
)
from training.config import RunConfig, differences
from training.distributed import is_first, join, main_process_first, own_items, sum_gradients, total
from training.ema import averaged
from training.frame_labels import Alignment, FrameLabels, label_counts
from training.front import run_trainer
from training.run import Checkpoint, Run
from training.schedule import set_rate, warmup_cosine


@dataclass
class Search:
    """Of the trained recogniser. `python -m benchmarks.decoding` measures weights on clips kept from the training."""

    language_model: str = (
        ""  # a file that python -m training.language_model makes, put into the model's folder
    )
    language_model_weight: float = bounded(LANGUAGE_MODEL_WEIGHT, 0.0, 10.0)
    word_bonus: float = bounded(WORD_BONUS, -10.0, 10.0)  # nats a word
    phone_weight: float = bounded(PHONE_WEIGHT, 0.0, 10.0)  # of the phones in the search of a lexicon
    least_certainty: float = bounded(0.0, 0.0, 1.0)  # of the phones of speech, python -m benchmarks.certainty


@dataclass
class TrainAsr:
    data: SpeechData = field(default_factory=SpeechData)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: Augmentation = field(default_factory=Augmentation)
    loss: LossWeights = field(default_factory=LossWeights)
    alignment: Alignment = field(default_factory=Alignment)  # of model.phones
    search: Search = field(default_factory=Search)
    run: RunConfig = field(default_factory=RunConfig)
    init: str = ""  # a recogniser to start from: its weights, and its tokens
    # the tokens: 0 for characters, else at most so many characters and pieces of words, learned from the transcripts
    pieces: int = bounded(0, 0, 8192)
    batch_seconds: float = bounded(96.0, 0.1, 1e5)  # sound in a batch, padding included
    # first epochs that go from short clips to long ones, whose alignment is harder to find (Amodei et al. 2016)
    sorted_epochs: int = bounded(0, 0, 1000)
    lr: float = bounded(2e-3, 0.0, 10.0, above=True)  # AdamW, linear warm-up, then a half cosine
    warmup: int = bounded(200, 1, 10**9)  # steps
    weight_decay: float = bounded(1e-2, 0.0, 10.0)
    clip: float = bounded(5.0, 0.0, 1e9, above=True)  # norm of the gradient
    ema: float = bounded(0.998, 0.0, 1.0)  # decay of the averaged weights, which are those released
    validation_clips: int = bounded(200, 0, 10**9)  # 0 for all
    beam: int = bounded(BEAM, 0, 100)  # of the last evaluation; while training less is enough


def main() -> None:
    run_trainer("train_asr", TrainAsr, train, __doc__ or "")


def train(config: TrainAsr) -> None:
    """Train as configured and write the run's folder. Raises UserError for what a user can mend."""
    check(config)
    for name in ("phones", "mmi"):
        if getattr(config.loss, name) and not config.model.phones:
            raise UserError(
                f"loss.{name} is of a network that tells phones: set model.phones=true, or loss.{name}=0"
            )
    device = join(choose_device(config.run.device))
    run = Run(config, config.run, device)
    state = run.restore()
    if run.is_complete(state):
        return
    language_model = (
        load_language_model(config.search.language_model) if config.search.language_model else None
    )
    with main_process_first():  # which packs what is not yet packed
        train_set = training_speech(config.data)
        validation_set = validation_speech(config.data)

    torch.manual_seed(config.run.seed)
    tokenizer, model = start(config, state, train_set)
    model.to(device)
    usable = usable_clips(train_set, tokenizer, model.encoder.subsampling)
    plan = BatchPlan(
        train_set.lengths[usable],
        config.batch_seconds,
        config.run.seed,
        train_set.weights[usable],
        config.sorted_epochs,
    )
    frame_labels = None
    if config.model.phones:
        frame_labels = FrameLabels(config.alignment, train_set.texts, tokenizer)
    average = averaged(model, config.ema)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
    )
    front_end = LogMel(config.model.normalisation).to(device)
    if state:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        if frame_labels:
            frame_labels.aligner.to(device).load_state_dict(state["aligner"])
    print(
        f"{len(usable)} clips, {plan.seconds / 3600:.1f} hours an epoch; {len(tokenizer)} tokens; "
        f"{count_parameters(model) / 1e6:.1f} M parameters",
        file=sys.stderr,
    )

    def items_at(step: int) -> list[int]:
        return [usable[i] for i in plan.batch(step)]

    def batch_of(items: Sequence[int], step: int) -> Batch:
        return make_batch(train_set, items, tokenizer, config.augment, config.run.seed, step)

    if frame_labels and config.loss.phones and not state:
        # every process on whole batches, so that all have the same; Adam's moments are not worth sharing
        with Prefetcher(lambda step: batch_of(items_at(step), step)) as batches:
            heard = (batches[step] for step in range(config.alignment.steps))
            frame_labels.learn((spoken(batch, front_end, train_set.texts, device) for batch in heard), device)

    assert isinstance(average.module, SpeechModel)
    recognizer = Recognizer(
        average.module, tokenizer, config.loss.ctc,
        language_model=language_model, language_model_weight=config.search.language_model_weight,
        word_bonus=config.search.word_bonus,
        lexicon=frame_labels.lexicon if frame_labels else None, phone_weight=config.search.phone_weight,
        least_certainty=config.search.least_certainty,
    )  # fmt: skip
    with Prefetcher(lambda step: batch_of(own_items(items_at(step)), step)) as batches:
        for step in run.steps(state):
            batch = Batch(*(part.to(device) for part in batches[step]))
            seed_step(config.run.seed, step)
            set_rate(optimizer, config.lr * warmup_cosine(step, run.horizon, config.warmup))
            loss = training_loss(model, front_end, batch, config, step, train_set.texts, frame_labels)
            optimizer.zero_grad()
            loss.total.backward()
            sum_gradients(model.parameters())
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            average.update_parameters(model)
            losses = {
                key.replace("total", "loss"): total(value.detach()) for key, value in loss._asdict().items()
            }
            run.log(step, **losses, gradient=norm)
            run.rates(step, recognizer=optimizer.param_groups[0]["lr"])
            if run.due(step, config.run.sample_every) and is_first():
                # a narrow search where words come from a lexicon, else CTC's best path
                found = evaluate(recognizer, validation_set, recognizer.partial_beam, config.validation_clips)
                run.record(step, validation_wer=found["wer"], validation_cer=found["cer"])
                show_clips(run, step, recognizer, validation_set)
            if run.save_due(step):
                run.save(
                    step,
                    tokens=tokenizer.as_json(),
                    model=model.state_dict(),
                    average=average.state_dict(),
                    optimizer=optimizer.state_dict(),
                    **({"aligner": frame_labels.aligner.state_dict()} if frame_labels else {}),
                )

    if is_first():
        finish(config, run, recognizer, len(usable))


def start(config: TrainAsr, state: Checkpoint | None, train_set: SpeechMix) -> tuple[Tokenizer, SpeechModel]:
    """The tokens, and the network before the first step: new, or that of `init`."""
    if config.init:
        begun = Recognizer.load(config.init)
        if changed := differences(asdict(begun.model.config), asdict(config.model), "model."):
            raise UserError(
                f"{config.init} is of another architecture ({changed[0]}); set the same, or train from nothing"
            )
        return begun.tokenizer, begun.model
    tokenizer = (
        Tokenizer.from_json(state["tokens"]) if state else tokenizer_of(train_set.texts, config.pieces)
    )
    return tokenizer, SpeechModel(config.model, len(tokenizer))


def training_loss(
    model: SpeechModel,
    front_end: LogMel,
    batch: Batch,
    config: TrainAsr,
    step: int,
    texts: Sequence[str] = (),
    frame_labels: FrameLabels | None = None,
) -> JointLoss:
    """The losses of a step on this process's part of the batch: their sum over the processes is that of the batch.

    texts: of the whole training set. frame_labels: what labels frames with phones, where the model tells them.
    """
    views = 2 if config.loss.consistency else 1  # of each clip, whose masks differ
    ends = total(views * (batch.token_lengths + 1).sum())
    if not len(batch.items):  # the others have this batch's clips
        return _of_nothing(model, config.loss)
    features, is_pad = front_end(batch.samples, batch.lengths)  # (B, T, 80), (B, T)
    labels, head, words = None, model.to_phones, said(batch, texts)
    if frame_labels and head and config.loss.phones:
        frames = model.count_frames(features.shape[1]) * head.frames
        labels = frame_labels(features, is_pad, words, frames).repeat(views, 1)
    features, is_pad = features.repeat(views, 1, 1), is_pad.repeat(views, 1)
    tokens, lengths = batch.tokens.repeat(views, 1), batch.token_lengths.repeat(views)
    rngs = [
        np.random.default_rng([config.run.seed, step, 1 + view, item])
        for view in range(views)
        for item in batch.items.tolist()
    ]
    features = mask_features(warp_frequencies(features, rngs, config.augment), is_pad, rngs, config.augment)
    with autocast(features.device, config.run.precision):
        outputs = model(features, is_pad, tokens)
    counted = count_labels(head, labels) if labels is not None and head else None
    mmi = None
    if frame_labels and head and config.loss.mmi:
        assert outputs.phone_logits is not None
        scores = head.scores(outputs.phone_logits, config.search.phone_weight)
        graphs = frame_labels.graphs(words) * views
        mmi = mmi_loss(scores, (~outputs.is_pad).sum(dim=1), graphs, frame_labels.trigrams.to(scores))
    return joint_loss(outputs, tokens, lengths, config.loss, ends, labels, counted, mmi)


def said(batch: Batch, texts: Sequence[str]) -> list[str]:
    """The text of each clip of a batch, of all `texts`; "" where it was left out, with the speech."""
    counts = batch.token_lengths.tolist()
    return [texts[item] if count else "" for item, count in zip(batch.items.tolist(), counts, strict=True)]


def spoken(
    batch: Batch, front_end: LogMel, texts: Sequence[str], device: torch.device
) -> tuple[Tensor, Tensor, list[str]]:
    """features (B, T, 80), is_pad (B, T) and texts, as `FrameLabels` takes them."""
    return *front_end(batch.samples.to(device), batch.lengths.to(device)), said(batch, texts)


def _of_nothing(model: SpeechModel, weights: LossWeights) -> JointLoss:
    """The losses of a process that has no clip of a batch: its part in what all do together."""
    # the same parameters must have a gradient everywhere
    nothing = torch.stack([parameter.sum() for parameter in model.parameters()]).sum() * 0.0
    if model.to_phones and weights.phones:
        count_labels(model.to_phones, None)
    return JointLoss(nothing, *(nothing.detach() for _ in JointLoss._fields[1:]))


def count_labels(head: PhoneHead, labels: Tensor | None) -> Tensor:
    """Let the prior of the phones follow the labels of all processes; how many there are."""
    counts = total(label_counts(labels))
    if counts.sum():
        head.count(counts.to(head.log_prior))
    return counts.sum().to(head.log_prior.device)


def finish(config: TrainAsr, run: Run, recognizer: Recognizer, clips: int) -> None:
    """Measure the averaged weights on the test splits and write the model folder."""
    scores: dict[str, dict[str, float]] = {}
    for split, speech in held_out_speech(config.data).items():
        scores[split] = evaluate(recognizer, speech, config.beam, 0)
        run.record(config.run.steps - 1, **{f"{split}_{key}": scores[split][key] for key in ("wer", "cer")})
    training = {
        "data": Path(config.data.root).name, "clips": clips, "steps": config.run.steps,
        "seed": config.run.seed, "minutes": round(run.elapsed / 60, 1), "beam": config.beam, "scores": scores,
    }  # fmt: skip
    recognizer.save(run.model_folder, card(training, recognizer), training)
    results = [
        f"{split} WER {100 * s['wer']:.1f} %, CER {100 * s['cer']:.1f} %" for split, s in scores.items()
    ]
    print(
        f"{run.model_folder}: {'; '.join(results) or 'not measured, since no split is named in data.tests'}"
    )


def evaluate(recognizer: Recognizer, speech: SpeechMix, beam: int, limit: int) -> dict[str, float]:
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


def card(training: dict[str, Any], recognizer: Recognizer) -> str:
    config, millions = recognizer.model.config, count_parameters(recognizer.model) / 1e6
    heads = "a CTC head"
    heads += " and an attention decoder" if config.decoder_layers else ""
    heads += " and phones of frames" if config.phones else ""
    search = f"the search with a beam of {training['beam']}"
    if recognizer.reader:
        words = len(recognizer.reader.lexicon)
        search += f", which finds words in `lexicon.txt` ({words} words) with `language_model.safetensors`"
    elif recognizer.language_model:
        search += " and `language_model.safetensors`"
    rows = []
    for split, score in training["scores"].items():
        wer, low, high, cer = (f"{100 * score[key]:.1f} %" for key in ("wer", "wer_low", "wer_high", "cer"))
        rows.append(f"| {split} | {score['clips']} | {wer} | {low} to {high} | {cer} |")
    table = "\n".join(["| split | clips | WER | 95 % interval | CER |", "|---|---|---|---|---|", *rows])
    measured = f"Measured on the sets' own splits, {search}, as `evaluate.py` measures it ({NORMALISATION}):\n\n{table}"
    if not rows:
        measured = "Not measured: the training named no test split."
    return f"""# Recogniser trained on {training["data"]}

English speech to lower-case text. Log-mel frames, an encoder ({config.encoder}), {heads};
{len(recognizer.tokenizer)} tokens, {millions:.1f} M parameters; the averaged (EMA) weights of
{training["steps"]} steps on {training["clips"]} clips ({training["minutes"]} minutes), seed {training["seed"]}.

{measured}

Limits: it knows the voices, rooms and sentences of its training data; in other voices, accents and subjects it errs
more, often much more. No punctuation, no digits, one sentence at a time. Its confidences are not calibrated, and
noise that resembles speech may be given words. Not for deciding anything about a person.
"""
