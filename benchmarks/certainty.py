"""How sure the recogniser is of the phones of speech, and of sounds in which nobody speaks, to choose the setting
`least_certainty` of one that tells phones: `python -m benchmarks.certainty --speech FOLDER:SPLIT ...`.

A threshold's row: of how many clips of each set all pieces are below it, so that their words would be lost; and in how
many of the sounds without speech, a hundred for each of --seeds, words would be heard. Nothing is searched for words.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from asr.recognizer import Recognizer
from benchmarks.common import shuffled_clips
from core.errors import UserError, run_cli
from core.model_registry import RECOGNIZER, find_folder
from evaluation.nonspeech import sounds

THRESHOLDS = (0.0, 0.015, 0.02, 0.025, 0.03, 0.035, 0.05)


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition(",")[0])
    add = options.add_argument
    add(
        "--speech",
        nargs="+",
        default=[],
        metavar="FOLDER:SPLIT",
        help="sets in a layout that data.speech reads",
    )
    add("--recognizer", type=Path, default=RECOGNIZER)
    add("--seeds", type=int, default=10, help="of the sounds without speech")
    add("--cache", type=Path, default=Path("datasets/cache"))
    return options


def surest(certainties: Iterable[Sequence[float]]) -> list[float]:
    """Of every clip the certainty of its surest piece; -1 where voice activity finds none."""
    return [max(pieces, default=-1.0) for pieces in certainties]


def row(threshold: float, speech: dict[str, list[float]], others: list[float]) -> str:
    """The counts of a threshold; clips in which voice activity finds no speech are lost with none."""
    lost = [f"{sum(0 <= one < threshold for one in of)} of {len(of)}" for of in speech.values()]
    heard = f"{sum(one >= max(threshold, 0) for one in others)} of {len(others)}"
    return "| " + " | ".join([f"{threshold:g}", *lost, heard]) + " |"


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    torch.set_num_threads(1)
    recognizer = Recognizer.load(find_folder(args.recognizer))
    if recognizer.model.to_phones is None:
        raise UserError(
            f"{args.recognizer} tells no phones; least_certainty is for one with model.phones=true"
        )
    speech = {
        which: surest(map(recognizer.phone_certainties, shuffled_clips(which, args.cache)[0]))
        for which in args.speech
    }
    made = (sound for seed in range(args.seeds) for sound in sounds(seed).values())
    others = surest(map(recognizer.phone_certainties, made))
    names = [Path(which).name for which in speech]
    print("| least certainty | " + " | ".join([*(f"{name}, lost" for name in names), "sounds, heard"]) + " |")
    print("|---" * (len(speech) + 2) + "|")
    for threshold in THRESHOLDS:
        print(row(threshold, speech, others))


if __name__ == "__main__":
    run_cli(main)
