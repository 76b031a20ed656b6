"""Prepare a data set: `python -m data.prepare painted_birds`, or cub, ljspeech, librispeech, spoken_captions.

The painted birds and their voices are made here and written in the layouts that the field uses, so that the readers
of data/cub.py and data/speech.py serve them and the real sets alike. Running a command again makes only what is
missing; what is written is whole, and its bytes are a function of the seed.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from core.errors import Parser, UserError, run_cli, suggest
from core.files import make_folder
from data.painted_birds import voices
from data.painted_birds.build import BIRD_SPLITS, BirdSettings, ensure_painted_birds
from data.painted_birds.recordings import SpeechSettings, ensure_spoken_captions

SETS = ("painted_birds", "spoken_captions", "cub", "ljspeech", "librispeech")


# --- sets that are only read -----------------------------------------------------------------------------------


def _read_birds(source: Path, cache: Path, splits: Sequence[str], size: int, on_damaged: str) -> None:
    from data.captioned_images import load_images

    for split in splits:
        birds = load_images(source, split, size, cache, on_damaged)  # type: ignore[arg-type]
        print(f"{split}: {len(birds)} pictures of {len(set(birds.class_ids.tolist()))} classes at {size} px")


def _read_speech(layout: str, source: Path, cache: Path, splits: Sequence[str], on_damaged: str) -> None:
    from data.speech import load_speech

    for split in splits:
        clips = load_speech(source, split, cache, layout=layout, on_damaged=on_damaged)  # type: ignore[arg-type]
        hours = float(clips.lengths.sum()) / 16_000 / 3600
        of = f" of {len(set(clips.speakers))} speakers" if layout == "librispeech" else ""
        print(f"{split}: {len(clips)} clips{of}, {hours:.2f} h")


# --- the command -----------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse(arguments)
    if given.set not in SETS:
        raise UserError(f'no data set "{given.set}"{suggest(given.set, SETS)}; there are: {", ".join(SETS)}')
    root = make_folder(given.root)
    on_damaged = "skip" if given.skip_damaged else "error"
    asked = {name: value for name, value in vars(given).items() if name in _OPTIONS and value is not None}
    if given.set in ("painted_birds", "spoken_captions"):
        birds = given.set == "painted_birds"
        known = {field.name for field in fields(BirdSettings if birds else SpeechSettings)}
        for name in asked:
            if name not in known:
                raise UserError(f"--{name.replace('_', '-')} is no option of {given.set}; see --help")
        if given.source is not None:
            raise UserError(f"--source is for sets that are read; {given.set} is made in --root")
        folder = (ensure_painted_birds if birds else ensure_spoken_captions)(
            root, given.splits or (BIRD_SPLITS if birds else voices.SPLITS), asked
        )
        if birds:
            _read_birds(folder, folder / "cache", given.splits or BIRD_SPLITS, given.size, on_damaged)
        else:
            _read_speech("ljspeech", folder, folder / "cache", given.splits or voices.SPLITS, on_damaged)
        print(f"{given.set} is ready in {folder}")
        return 0
    if asked:
        name = next(iter(asked)).replace("_", "-")
        raise UserError(f"--{name} is for sets that are made; {given.set} is read as it is")
    usual = {"cub": root / "cub", "ljspeech": root / "LJSpeech-1.1", "librispeech": root / "LibriSpeech"}
    source = Path(given.source) if given.source is not None else usual[given.set]
    if not source.is_dir():
        raise UserError(f"no folder {source}; name the folder of {given.set} with --source")
    if given.set == "cub":
        _read_birds(source, root / "cub" / "cache", given.splits or BIRD_SPLITS, given.size, on_damaged)
    else:
        splits = given.splits or _speech_splits(given.set, source)
        _read_speech(given.set, source, root / "cache", splits, on_damaged)
    print(f"{given.set} is ready; read from {source}")
    return 0


def _speech_splits(layout: str, source: Path) -> list[str]:
    if layout == "librispeech":
        return sorted(path.name for path in source.iterdir() if path.is_dir())
    return sorted(path.stem for path in (source / "splits").glob("*.txt")) or ["train", "val", "test"]


_OPTIONS = {
    "seed": "seed of everything that is made (default 0)",
    "train_species": "painted species for training (default 2000)",
    "train_pictures": "pictures of each of them (default 8)",
    "test_species": "species for testing, unseen in training (default 200)",
    "test_pictures": "pictures of each of them (default 5)",
    "scale": "size of the pictures: 2 for training at 256 px, 4 for 512 (default 1)",
    "train": "spoken clips for training (default 4000)",
    "val": "clips for validation (default 100)",
    "test": "clips of unseen captions (default 300)",
    "test_voices": "clips of unseen captions in unseen voices (default 300)",
}


def _parser() -> Parser:
    parser = Parser(
        prog="python -m data.prepare",
        description="Prepare a data set; again makes only what is missing. painted_birds and spoken_captions are made "
        "here, cub, ljspeech and librispeech are read from --source, checked, and packed into a cache.",
    )
    parser.add_argument("set", metavar="SET", help=f"one of: {', '.join(SETS)}")
    parser.add_argument(
        "--root", default="datasets", help="folder of the sets and caches (default: datasets)"
    )
    parser.add_argument(
        "--source", help="folder of a set that is read (default: its usual name under --root)"
    )
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="splits to prepare (default: all)")
    parser.add_argument(
        "--size", type=int, default=128, help="side of a training picture, pixels (default: 128)"
    )
    parser.add_argument("--skip-damaged", action="store_true", help="name and leave out damaged files, go on")
    made = parser.add_argument_group("sets that are made; fixed once a set exists")
    for name, text in _OPTIONS.items():
        made.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=text)
    return parser


if __name__ == "__main__":
    import logging

    logging.basicConfig(format="%(levelname)s: %(message)s")
    run_cli(main)
