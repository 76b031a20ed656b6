"""Where the data sets of a measure lie, and how they are opened."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import UserError, suggest
from evaluation.options import PAINTED, SPOKEN, Options
from evaluation.pairs import choose

if TYPE_CHECKING:
    import numpy as np

    from data.captioned_images import CaptionedImages
    from data.speech import SpeechSet

LONGEST = 60.0  # seconds of a clip that is heard
BIRD_SPLITS = ("train", "val", "test")


def bird_folder(options: Options, split: str) -> Path:
    """The set named or located by --data; painted birds are made where they are missing."""
    if options.data == PAINTED:
        from data.painted_birds.build import ensure_painted_birds

        check_split(split, BIRD_SPLITS, options.data)
        return ensure_painted_birds(options.root, splits=("train" if split == "val" else split,))
    return located(options.data, options.root, "--data", PAINTED)


def open_images(options: Options, split: str, size: int) -> "CaptionedImages":
    """Pictures and captions of a split, at `size` px."""
    from data.captioned_images import load_images

    root = bird_folder(options, split)
    on_damaged = "skip" if options.skip_damaged else "error"
    return load_images(root, split, size, cache_of(options, root), on_damaged)


def has_part_truth(options: Options) -> bool:
    """Whether the pictures of --data are painted birds; asked before they are made."""
    return options.data == PAINTED or (bird_folder(options, options.split) / "parts.csv").is_file()


def training_captions(options: Options) -> set[str] | None:
    """The captions of the set's training split as words (`caption_words`); None where that split is not here."""
    from data.cub import read_all_captions, read_split

    root = bird_folder(options, options.split)
    try:
        captions, _ = read_all_captions(root / "text", read_split(root, "train")[0])
    except UserError:  # of painted birds the test split may be all that was made
        return None
    return {caption_words(caption) for of_one in captions.values() for caption in of_one} or None


def caption_words(caption: str) -> str:
    return " ".join(re.findall(r"\w+", caption.lower()))


def check_split(split: str, splits: Sequence[str], where: str) -> None:
    if split not in splits:
        raise UserError(
            f'no split "{split}" in {where}{suggest(split, splits)}: there are {", ".join(splits)}'
        )


def located(given: str, root: Path, option: str, made_here: str) -> Path:
    """A folder, or the name of one under `root`."""
    for folder in (Path(given), root / given):
        if folder.is_dir():
            return folder
    there = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    known = sorted({made_here, *there})
    raise UserError(
        f"no set {given}{suggest(given, known)}: {option} takes a folder, or one of {', '.join(known)}"
    )


def cache_of(options: Options, root: Path) -> Path:
    """--cache, or the folder that trainers use, in the set."""
    from data.packed import cache_folder

    return cache_folder(root, options.cache or "")


def set_name(root: Path) -> str:
    return root.resolve().name


# --- speech ------------------------------------------------------------------------------------------------------


def speech_splits(options: Options) -> list[str]:
    """The splits to hear: the one asked for, and voices never trained on beside test."""
    if options.speech == SPOKEN:
        check_split(options.split, ("train", "val", "test", "test_voices"), options.speech)
        return ["test", "test_voices"] if options.split == "test" else [options.split]
    root = located(options.speech, options.root, "--speech", SPOKEN)
    also = options.split == "test" and (root / "splits" / "test_voices.txt").is_file()
    return [options.split, "test_voices"] if also else [options.split]


class Clips(NamedTuple):
    """samples: N clips (S,) float32 at 16 kHz; texts, speakers: of each; counts: for the protocol."""

    samples: list["np.ndarray"]
    texts: list[str]
    speakers: list[str]
    counts: dict[str, Any]


def clips_to_hear(options: Options, split: str) -> Clips:
    """The clips of a split, or --samples of them, none twice: hearing one again tells nothing."""
    from data.speech import load_speech

    if options.speech == SPOKEN:
        from data.painted_birds.recordings import ensure_spoken_captions

        root = ensure_spoken_captions(options.root, splits=(split,))
    else:
        root = located(options.speech, options.root, "--speech", SPOKEN)
    # a cache of its own: training leaves long clips out, a figure should not
    cache = cache_of(options, root) / "evaluation"
    on_damaged = "skip" if options.skip_damaged else "error"
    speech = load_speech(root, split, cache, on_damaged=on_damaged, max_seconds=LONGEST)
    count = min(options.samples, len(speech)) if options.samples else None
    chosen = choose(len(speech), count, options.seed)
    speakers = speakers_of(root, speech)
    counts = {
        "clips": len(chosen),
        "of": len(speech),
        "seconds": round(float(sum(speech.lengths[i] for i in chosen)) / 16_000, 1),
        "voices": len({speakers[i] for i in chosen}),
        "without audio": speech.missing,
        "too long": speech.too_long,
        "damaged": len(speech.damaged),
    }
    return Clips(
        [speech.samples(i) for i in chosen],
        [speech.texts[i] for i in chosen],
        [speakers[i] for i in chosen],
        counts,
    )


def speakers_of(root: Path, speech: "SpeechSet") -> list[str]:
    """Who speaks every clip: as speakers.csv (id|voice) says, where the set has one, else as the layout does."""
    path = root / "speakers.csv"
    if not path.is_file():
        return speech.speakers
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        told = {row[0]: row[1] for row in csv.reader(file, delimiter="|") if len(row) == 2}
    return [told.get(clip, speaker) for clip, speaker in zip(speech.ids, speech.speakers, strict=True)]


def speech_name(options: Options) -> str:
    return (
        SPOKEN
        if options.speech == SPOKEN
        else set_name(located(options.speech, options.root, "--speech", SPOKEN))
    )
