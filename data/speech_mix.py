"""Several sets of recorded sentences as one, and readers kept apart between training, validation and test."""

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from core.errors import UserError
from data.speech import SpeechSet

VALIDATION_SHARE = 20  # one reader in so many is for validation


class Part(NamedTuple):
    """Some clips of one set; weight: how often they are drawn beside those of other parts, 1 for once an epoch."""

    name: str  # the set's folder and split: "LibriSpeech/train-clean-5"
    speech: SpeechSet
    clips: list[int]  # of `speech`
    weight: float = 1.0


class SpeechMix:
    """The clips of several parts one after another, N of them, read as a SpeechSet is.

    ids "<part>/<id>", texts (as written), speakers "<set>:<speaker>"; lengths (N,) int64 in samples at 16 kHz; parts
    and part_of (N,) int64, the number of each clip's part; weights (N,) float64 of the clips.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        names = [part.name for part in parts]
        twice = [name for name in names if names.count(name) > 1]
        self.parts = [
            part._replace(name=f"{part.name}#{i + 1}") if part.name in twice else part
            for i, part in enumerate(parts)
        ]
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.speakers: list[str] = []
        for part in self.parts:
            self.ids += [f"{part.name}/{part.speech.ids[i]}" for i in part.clips]
            self.texts += [part.speech.texts[i] for i in part.clips]
            self.speakers += [f"{part.name.split('/')[0]}:{part.speech.speakers[i]}" for i in part.clips]
        counts = [len(part.clips) for part in self.parts]
        self.part_of = np.repeat(np.arange(len(counts)), counts)
        self.weights = np.repeat(np.array([part.weight for part in self.parts], np.float64), counts)
        self._clips = np.concatenate([np.array(part.clips, np.int64) for part in self.parts])
        self.lengths = np.concatenate([part.speech.lengths[part.clips] for part in self.parts])
        self.missing = sum(part.speech.missing for part in self.parts)
        self.too_long = sum(part.speech.too_long for part in self.parts)
        self.damaged = {
            f"{part.name}/{id}": why for part in self.parts for id, why in part.speech.damaged.items()
        }

    def __len__(self) -> int:
        return len(self.ids)

    def samples(self, i: int) -> np.ndarray:
        """The i-th clip (S,) float32 in [-1, 1], mono, 16 kHz."""
        return self.parts[self.part_of[i]].speech.samples(self._clips[i])


def choose_clips(
    root: Path | str,
    split: str,
    speech: SpeechSet,
    weight: float = 1.0,
    readers: Literal["all", "train", "val"] = "all",
    only: Sequence[str] = (),
    leave_out: Sequence[str] = (),
) -> Part:
    """A part of the set that was read from `root`.

    readers: "val" keeps those whom `is_validation_reader` takes, "train" the others. only, leave_out: patterns of ids,
    such as "LJ002-01[6-9]?". Raises UserError where nothing is left.
    """
    name = f"{Path(root).resolve().name}/{split}"
    clips = [
        i
        for i, (id, speaker) in enumerate(zip(speech.ids, speech.speakers, strict=True))
        if (readers == "all" or is_validation_reader(speaker) == (readers == "val"))
        and (not only or any(fnmatch(id, pattern) for pattern in only))
        and not any(fnmatch(id, pattern) for pattern in leave_out)
    ]
    if not clips:
        raise UserError(
            f"none of the {len(speech)} clips of {name} is left with readers={readers}, only={list(only)} and "
            f"leave_out={list(leave_out)}; choose others"
        )
    return Part(name, speech, clips, weight)


def is_validation_reader(speaker: str) -> bool:
    """One reader in 20, by a checksum of the reader's id: the same in every subset that the reader is in."""
    return int.from_bytes(hashlib.sha256(speaker.encode()).digest()[:4]) % VALIDATION_SHARE == 0


def shared_speakers(one: SpeechMix, other: SpeechMix) -> list[str]:
    """The speakers that both have."""
    return sorted(set(one.speakers) & set(other.speakers))


def check_speakers_apart(train: SpeechMix, unseen: SpeechMix, what: str) -> None:
    """Raise UserError where a speaker of training is also in a set of unseen speakers. Sets that one person read whole,
    as LJSpeech, are passed over: there the texts are unseen, not the reader."""
    shared = shared_speakers(train, unseen)
    corpora: dict[str, set[str]] = {}
    for speaker in {*train.speakers, *unseen.speakers}:
        corpora.setdefault(speaker.split(":")[0], set()).add(speaker)
    shared = [speaker for speaker in shared if len(corpora[speaker.split(":")[0]]) > 1]
    if shared:
        raise UserError(
            f"{len(shared)} speakers of {what} are in training too ({', '.join(shared[:3])}); hold them out with "
            "readers=train there and readers=val here, or choose other splits"
        )
