"""Prepare a data set: `python -m data.prepare painted_birds`, or spoken_captions, spoken, cub, coco, ljspeech, ...

The painted birds and their voices are made here and written in the layouts that the field uses, so that the same
readers serve them and the real sets; so is `spoken`, sentences of any source in voices of any engine. Real sets are
read, checked for what training needs, and packed into a cache; with --download they are fetched first. Running a
command again makes only what is missing.
"""

import logging
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from core.errors import Parser, UserError, run_cli, suggest
from core.files import make_folder
from data.downloads import BY_HAND, DOWNLOADS
from data.fetch import fetch
from data.layouts import LAYOUTS
from data.ljspeech_splits import write_published_splits
from data.packed import cache_folder
from data.painted_birds import voices
from data.painted_birds.build import BIRD_SPLITS, BirdSettings, ensure_painted_birds
from data.painted_birds.recordings import SpeechSettings, ensure_spoken_captions
from data.synthesis.options import SPOKEN_OPTIONS, add_spoken_options, prepare_spoken
from data.texts import SENTENCES, write_sentences

MADE = ("painted_birds", "spoken_captions")
FETCHED = ("networks", "kokoro")  # which are no data sets
SPEECH = {"ljspeech": "LJSpeech-1.1", "librispeech": "LibriSpeech"}  # and their usual folders
USUAL_BATCH = 48  # of the encoders' training


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse(arguments)
    if given.set.startswith("whisper:"):
        return _fetch_whisper(given.set, given.download)
    images = [layout.name for layout in LAYOUTS]
    sets = [*MADE, "spoken", "texts", *images, *SPEECH, *FETCHED]
    if given.set not in sets:
        raise UserError(f'no data set "{given.set}"{suggest(given.set, sets)}; there are: {", ".join(sets)}')
    root = make_folder(given.root)
    on_damaged = "skip" if given.skip_damaged else "error"
    asked = {name: value for name, value in vars(given).items() if name in _OPTIONS and value is not None}
    if given.set == "spoken":
        return prepare_spoken(given, root, asked)
    chosen = next((name for name in SPOKEN_OPTIONS if getattr(given, name) is not None), None)
    if chosen:
        raise UserError(f"--{chosen} is for spoken; {given.set} has no use for it")
    if given.set in MADE:
        return _make(given.set, root, asked, given, on_damaged)
    if asked:
        name = next(iter(asked)).replace("_", "-")
        raise UserError(f"--{name} is for sets that are made; {given.set} is read as it is")
    source = _source(given, root)
    if given.download:
        _download(given.set, root if given.set in SPEECH else source)
        if given.set == "ljspeech":
            write_published_splits(source)
    if given.set in FETCHED:
        if not given.download:
            raise UserError(
                f"{given.set} are only fetched: python -m data.prepare {given.set} --download, into {source}"
            )
        return 0
    if not _is_folder(source):
        fetched = ", or fetch it with --download" if given.set in DOWNLOADS else ""
        raise UserError(
            f"no folder {str(source)[:200]}; name the folder of {given.set} with --source{fetched}"
        )
    if given.set == "texts":
        print(f"texts: {write_sentences(source)} sentences in {source / SENTENCES}")
        return 0
    if given.set in SPEECH:
        splits = given.splits or _speech_splits(given.set, source)
        _read_speech(given.set, source, root / "cache", splits, on_damaged)
    else:
        if given.set in BY_HAND and not _is_folder(source / "text") and given.download:
            raise UserError(f"{source} has all that has an address; still missing are {BY_HAND[given.set]}")
        _read_images(source, given.splits or BIRD_SPLITS, given.size, on_damaged)
    print(f"{given.set} is ready; read from {source}")
    return 0


def _make(name: str, root: Path, asked: dict[str, int], given, on_damaged: str) -> int:
    birds = name == "painted_birds"
    known = {field.name for field in fields(BirdSettings if birds else SpeechSettings)}
    for option in asked:
        if option not in known:
            raise UserError(f"--{option.replace('_', '-')} is no option of {name}; see --help")
    if given.source is not None or given.download:
        option = "--source" if given.source is not None else "--download"
        raise UserError(f"{option} is for sets that are read; {name} is made in --root")
    folder = (ensure_painted_birds if birds else ensure_spoken_captions)(
        root, given.splits or (BIRD_SPLITS if birds else voices.SPLITS), asked
    )
    if birds:
        _read_images(folder, given.splits or BIRD_SPLITS, given.size, on_damaged)
    else:
        _read_speech("ljspeech", folder, folder / "cache", given.splits or voices.SPLITS, on_damaged)
    print(f"{name} is ready in {folder}")
    return 0


def _source(given, root: Path) -> Path:
    if given.source is not None and given.download:
        raise UserError("--source is for a set that is there already; --download fetches one into --root")
    return Path(given.source) if given.source is not None else root / SPEECH.get(given.set, given.set)


def _fetch_whisper(name: str, wanted: bool) -> int:
    """Fetch another recogniser's weights, by its name in --recognizer, into the cache that its package looks in."""
    from asr.recognizers.whisper import download

    if not wanted:
        raise UserError(f"Whisper's weights are only fetched: python -m data.prepare {name} --download")
    print(f"{name} is in {download(name.partition(':')[2])}")
    return 0


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _download(name: str, folder: Path) -> None:
    if name not in DOWNLOADS:
        raise UserError(f"{name} has no address to fetch it from; there are: {', '.join(DOWNLOADS)}")
    for download in DOWNLOADS[name]:
        print(f"{download.makes}: {download.licence}; {download.bytes / 1e6:,.0f} MB from {download.url}")
        print(f"{download.makes} is in {fetch(download, folder).parent}")


# --- reading and checking ----------------------------------------------------------------------------------------


def _read_images(source: Path, splits: Sequence[str], size: int, on_damaged: str) -> None:
    """Read every split as the trainers do, and say what training needs and the set has not."""
    from data.captioned_images import load_images

    for split in splits:
        images = load_images(source, split, size, cache_folder(source), on_damaged)  # type: ignore[arg-type]
        counts = [len(captions) for captions in images.captions]
        each = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else str(counts[0])
        classes = len(set(images.class_ids.tolist()))
        of = f" of {classes} classes" if images.has_classes else ""
        print(f"{split}: {len(images)} pictures{of} at {size} px, {each} captions each")
        if not images.has_boxes:
            print("  no bounding boxes: each picture is cut to its centre square")
        if not images.has_classes:
            print("  no classes: the captions of every other picture count as mismatches")
        if split == "train" and classes < 2:
            raise UserError(
                f"all {len(images)} training pictures of {source} are of one class, and encoders learn from captions "
                "of other classes: sort them into several class folders, or leave classes out altogether"
            )
        if split == "train" and len(images) < USUAL_BATCH:
            print(f"  fewer than a usual batch: train with batch={len(images)} or less")


def _read_speech(layout: str, source: Path, cache: Path, splits: Sequence[str], on_damaged: str) -> None:
    from data.speech import load_speech

    for split in splits:
        clips = load_speech(source, split, cache, layout=layout, on_damaged=on_damaged)  # type: ignore[arg-type]
        hours = float(clips.lengths.sum()) / 16_000 / 3600
        of = f" of {len(set(clips.speakers))} speakers" if layout == "librispeech" else ""
        print(f"{split}: {len(clips)} clips{of}, {hours:.2f} h")


def _speech_splits(layout: str, source: Path) -> list[str]:
    if layout == "librispeech":
        return sorted(path.name for path in source.iterdir() if path.is_dir())
    return sorted(path.stem for path in (source / "splits").glob("*.txt")) or ["train", "val", "test"]


# --- the command line --------------------------------------------------------------------------------------------

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
        "here; the others are read from --source, or fetched with --download, checked, and packed into a cache.",
    )
    sets = [*MADE, "spoken", "texts", *(layout.name for layout in LAYOUTS), *SPEECH, *FETCHED]
    parser.add_argument("set", metavar="SET", help=f"one of: {', '.join(sets)}")
    parser.add_argument(
        "--root", default="datasets", help="folder of the sets and caches (default: datasets)"
    )
    parser.add_argument(
        "--source", help="folder of a set that is read (default: its usual name under --root)"
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help=f"fetch what is missing of {', '.join(DOWNLOADS)} into --root; whisper:base.en and the like into the "
        "cache of faster-whisper",
    )
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="splits to prepare (default: all)")
    parser.add_argument(
        "--size", type=int, default=128, help="side of a training picture, pixels (default: 128)"
    )
    parser.add_argument("--skip-damaged", action="store_true", help="name and leave out damaged files, go on")
    made = parser.add_argument_group("sets that are made; fixed once a set exists")
    for name, text in _OPTIONS.items():
        made.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=text)
    add_spoken_options(parser.add_argument_group("spoken: sentences in voices of several engines"))
    return parser


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s: %(message)s")
    run_cli(main)
