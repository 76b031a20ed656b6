"""Where the data sets of a measure lie, and how they are opened."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from core.errors import UserError, suggest
from data.layouts import locate_set
from evaluation.options import PAINTED, SPOKEN, Options
from evaluation.pairs import choose

if TYPE_CHECKING:
    import numpy as np

    from data.captioned_images import CaptionedImages

LONGEST = 60.0  # seconds of a clip that is heard
BIRD_SPLITS = ("train", "validation", "test")


def bird_folder(options: Options, split: str) -> Path:
    """The set named or located by --data; painted birds are made where they are missing."""
    if options.data == PAINTED:
        from data.painted_birds.build import ensure_painted_birds

        check_split(split, BIRD_SPLITS, options.data)
        return ensure_painted_birds(options.root, splits=("train" if split == "validation" else split,))
    return locate_set(options.data, options.root, "--data", PAINTED)


def _on_damaged(options: Options) -> Literal["error", "skip"]:
    return "skip" if options.skip_damaged else "error"


def open_images(options: Options, split: str, size: int) -> "CaptionedImages":
    """Pictures and captions of a split, at `size` px."""
    from data.captioned_images import load_images

    root = bird_folder(options, split)
    return load_images(root, split, size, cache_of(options, root), _on_damaged(options))


def has_part_truth(options: Options) -> bool:
    """Whether the pictures of --data are painted birds; asked before they are made."""
    return options.data == PAINTED or (bird_folder(options, options.split) / "parts.csv").is_file()


def training_captions(options: Options) -> set[str] | None:
    """The captions of the set's training split as words (`caption_words`); None where that split is not here."""
    from data.layouts import find_layout

    root = bird_folder(options, options.split)
    try:
        entries = find_layout(root).read(root, "train").entries
    except (UserError, OSError):  # of painted birds the test split may be all that was made
        return None
    return {caption_words(caption) for entry in entries for caption in entry.captions} or None


def caption_words(caption: str) -> str:
    return " ".join(re.findall(r"\w+", caption.lower()))


def check_split(split: str, splits: Sequence[str], where: str) -> None:
    if split not in splits:
        raise UserError(
            f'no split "{split}" in {where}{suggest(split, splits)}: there are {", ".join(splits)}'
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
    root = locate_set(options.speech, options.root, "--speech", SPOKEN)
    also = options.split == "test" and (root / "splits" / "test_voices.txt").is_file()
    return [options.split, "test_voices"] if also else [options.split]


class Clips(NamedTuple):
    """samples: N clips (S,) float32 at 16 kHz; texts, speakers: of each; counts: for the protocol."""

    samples: list["np.ndarray"]
    texts: list[str]
    speakers: list[str]
    counts: dict[str, Any]


def clips_to_hear(options: Options, split: str) -> Clips:
    """The clips of a split, or --samples of them, none twice: hearing one again tells nothing. Of spoken captions only
    those are spoken that are heard."""
    from data.speech import load_speech

    def chosen_of(count: int) -> list[int]:
        samples = min(options.samples, count) if options.samples else None
        return [int(i) for i in choose(count, samples, options.seed)]

    if options.speech == SPOKEN:
        from data.painted_birds.recordings import clip_ids, ensure_spoken_captions

        clips = chosen_of if options.samples else None
        root = ensure_spoken_captions(options.root, splits=(split,), clips=clips)
        listed = clip_ids(root, split)
    else:
        root = locate_set(options.speech, options.root, "--speech", SPOKEN)
        listed = []
    # a cache of its own: training leaves long clips out, a figure should not
    cache = cache_of(options, root) / "evaluation"
    speech = load_speech(root, split, cache, on_damaged=_on_damaged(options), max_seconds=LONGEST)
    ids = listed or speech.ids  # a set that is not all spoken yet is drawn from as if it were
    at = {clip: i for i, clip in enumerate(speech.ids)}
    chosen = [at[ids[i]] for i in chosen_of(len(ids)) if ids[i] in at]
    counts = {
        "clips": len(chosen),
        "of": len(ids),
        "seconds": round(float(sum(speech.lengths[i] for i in chosen)) / 16_000, 1),
        "voices": len({speech.speakers[i] for i in chosen}),
        "without audio": 0 if listed else speech.missing,
        "too long": speech.too_long,
        "damaged": len(speech.damaged),
    }
    return Clips(
        [speech.samples(i) for i in chosen],
        [speech.texts[i] for i in chosen],
        [speech.speakers[i] for i in chosen],
        counts,
    )


def speech_name(options: Options) -> str:
    return (
        SPOKEN
        if options.speech == SPOKEN
        else set_name(locate_set(options.speech, options.root, "--speech", SPOKEN))
    )
