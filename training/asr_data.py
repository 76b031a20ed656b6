"""The speech that a recogniser is trained and measured on: sets that are mixed, clips that are usable, batches."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.audio import SAMPLE_RATE
from asr.augment import Augmentation, augment
from asr.features import count_frames, pad_samples
from asr.tokenizer import Tokenizer, learn_pieces
from core.errors import UserError
from core.fields import bounded, list_of, one_of
from data.speech import load_speech
from data.speech_mix import Part, SpeechMix, choose_clips

LONGEST_CLIP = 60.0  # seconds: longer ones are no sentences

log = logging.getLogger(__name__)


@dataclass
class SpeechSource:
    """One set, and which of its splits serve for what; "" for none."""

    root: str = "datasets/spoken_captions"  # a folder in the layout of LJSpeech or LibriSpeech
    train: str = "train"  # names of the splits
    validation: str = "val"
    tests: list[str] = list_of(["test"], 0, 64)
    # ljspeech, librispeech, or whichever is found
    layout: str = one_of("auto", ("auto", "ljspeech", "librispeech"))
    # LJSpeech: its lists in splits/ (files), or chapters
    split_by: str = one_of("auto", ("auto", "files", "chapters"))
    hold_out_readers: bool = False  # of `train`, a twentieth, which then is validation too (data.speech_mix)
    only: list[str] = list_of([], 0, 64)  # patterns of ids, such as "LJ002-01[6-9]?": no other clip is taken
    leave_out: list[str] = list_of([], 0, 64)  # patterns of ids of clips that are not
    weight: float = bounded(1.0, 0.0, 1000.0)  # how often an epoch takes each clip, on average


@dataclass
class SpeechData(SpeechSource):
    cache: str = "datasets/spoken_captions/cache"  # where decoded sound is packed
    spoken: bool = True  # make the first set with data.painted_birds.voices where it is missing
    also: list[SpeechSource] = field(default_factory=list)  # further sets
    max_seconds: float = bounded(16.0, 0.1, 60.0)  # longer clips are left out of the training
    # error, or skip: leave damaged clips out and say which
    on_damaged: str = one_of("error", ("error", "skip"))


class Batch(NamedTuple):
    items: Tensor  # (B,): which clips these are
    samples: Tensor  # (B, S)
    lengths: Tensor  # (B,) samples
    tokens: Tensor  # (B, L), filled with 0
    token_lengths: Tensor  # (B,)


def training_speech(config: SpeechData) -> SpeechMix:
    """What is trained on. Raises UserError as `load_speech` does, and where no set has a split to train on."""
    parts = [
        _short_clips(
            config, choose(config, source, source.train, "train" if source.hold_out_readers else "all")
        )
        for source in sources(config)
        if source.train and source.weight
    ]
    if not parts:
        raise UserError("no set has a split to train on; set data.train")
    return SpeechMix(parts)


def _short_clips(config: SpeechData, part: Part) -> Part:
    short = [i for i in part.clips if part.speech.lengths[i] <= config.max_seconds * SAMPLE_RATE]
    if not short:
        raise UserError(
            f"no clip of {part.name} is at most data.max_seconds={config.max_seconds:g} s long; raise it"
        )
    if len(short) < len(part.clips):
        log.warning(
            "%s of %s clips of %s are longer than %g s and left out",
            len(part.clips) - len(short), len(part.clips), part.name, config.max_seconds,
        )  # fmt: skip
    return part._replace(clips=short)


def validation_speech(config: SpeechData) -> SpeechMix:
    """What the training is watched on: the validation splits, and readers held out of the training ones."""
    parts = [choose(config, source, source.validation) for source in sources(config) if source.validation]
    parts += [
        choose(config, source, source.train, "val")
        for source in sources(config)
        if source.hold_out_readers and source.train
    ]
    if not parts:
        raise UserError("no set has a split to validate on; set data.validation")
    return SpeechMix(parts)


def held_out_speech(config: SpeechData) -> dict[str, SpeechMix]:
    """Each test split on its own, by its name, or "set/split" where several sets are used."""
    chosen = [(source, split) for source in sources(config) for split in source.tests]
    if not chosen:
        return {}
    parts = SpeechMix([choose(config, source, split) for source, split in chosen]).parts
    names = [part.name for part in parts] if config.also else [split for _, split in chosen]
    return {name: SpeechMix([part]) for name, part in zip(names, parts, strict=True)}


def sources(config: SpeechData) -> list[SpeechSource]:
    return [config, *config.also]


def choose(
    config: SpeechData, source: SpeechSource, split: str, readers: Literal["all", "train", "val"] = "all"
) -> Part:
    """Clips of one split of one set. Raises UserError as `load_speech` and `choose_clips` do."""
    if config.spoken and source is config:
        from data.painted_birds.recordings import ensure_spoken_captions

        ensure_spoken_captions(Path(source.root).parent, splits=(split,))
    # whatever their length: what is measured is all of a split
    speech = load_speech(
        Path(source.root), split, Path(config.cache), source.layout,  # type: ignore[arg-type]
        config.on_damaged, LONGEST_CLIP, source.split_by, "data.on_damaged=skip",  # type: ignore[arg-type]
    )  # fmt: skip
    return choose_clips(source.root, split, speech, source.weight, readers, source.only, source.leave_out)


def tokenizer_of(texts: list[str], size: int) -> Tokenizer:
    """Of characters for size 0, else of at most `size` pieces learned from the texts."""
    return Tokenizer(learn_pieces(texts, size)) if size else Tokenizer()


def usable_clips(speech: SpeechMix, tokenizer: Tokenizer, subsampling: int) -> list[int]:
    """The clips whose text CTC can spell in their frames, one for each token and one more between two equal ones.

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
        line = f"{len(too_short)} of {len(speech)} training clips are too short for their text, or have no letters"
        if not usable:
            raise UserError(
                f"{line} ({names}): none is left; check that sound and transcripts belong together"
            )
        log.warning("%s (%s); they are left out", line, names)
    return usable


def make_batch(
    speech: SpeechMix,
    items: Sequence[int],
    tokenizer: Tokenizer,
    augmentation: Augmentation,
    seed: int,
    step: int,
) -> Batch:
    """The given clips, augmented by (seed, step, item)."""
    if not items:
        none = torch.zeros(0, dtype=torch.long)
        return Batch(none, torch.zeros(0, 0), none, none[:, None], none)
    clips, spelt = [], []
    for item in items:
        rng = np.random.default_rng([seed, step, 0, item])
        samples, is_spoken = augment(speech.samples(item), rng, augmentation)
        clips.append(samples)
        spelt.append(tokenizer.encode(speech.texts[item]) if is_spoken else [])
    lengths = torch.tensor([len(tokens) for tokens in spelt])
    tokens = torch.zeros(len(spelt), int(lengths.max()), dtype=torch.long)
    for row, ids in zip(tokens, spelt, strict=True):
        row[: len(ids)] = torch.tensor(ids, dtype=torch.long)
    return Batch(torch.tensor(items), *pad_samples(clips), tokens, lengths)


class Prefetcher:
    """The batch of each step, the next one being made in a thread meanwhile."""

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
