"""Prepare a data set: `python -m data.prepare painted_birds`, or cub, ljspeech, librispeech, spoken_captions.

The painted birds and their voices are made here and written in the layouts that the field uses, so that the readers
of data/cub.py and data/speech.py serve them and the real sets alike. Running a command again makes only what is
missing; what is written is whole, and its bytes are a function of the seed.
"""

import csv
import ctypes
import io
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from core.errors import Parser, UserError, run_cli, suggest
from core.files import make_folder, read_json, write_atomically, write_json, write_text
from data.painted_birds import drawing as painted
from data.painted_birds import voices
from data.painted_birds.grammar import PARTS, write_captions

SETS = ("painted_birds", "spoken_captions", "cub", "ljspeech", "librispeech")
BIRD_SPLITS = ("train", "test")


# --- painted birds, in the layout of CUB -----------------------------------------------------------------------


@dataclass(frozen=True)
class BirdSettings:
    """What decides every byte of a set of painted birds."""

    seed: int = 0
    train_species: int = 2000
    train_pictures: int = 8  # of a species
    test_species: int = 200
    test_pictures: int = 5
    scale: int = 1  # of the pictures: 2 for training at 256 px, 4 for 512
    version: int = painted.VERSION


@dataclass(frozen=True)
class _Species:
    number: int  # of the class, from 1
    split: str
    index: int  # in its split, from 0
    colours: dict[str, str]
    pictures: int

    @property
    def folder(self) -> str:
        return f"{self.number:04d}.Painted_bird"

    def names(self) -> list[str]:
        return [f"{self.folder}/Painted_bird_{self.number:04d}_{i + 1:02d}" for i in range(self.pictures)]


def ensure_painted_birds(
    root: Path | str, splits: Sequence[str] = BIRD_SPLITS, settings: dict[str, int] | None = None
) -> Path:
    """Make what is missing of <root>/painted_birds and return that folder.

    `settings` are fields of BirdSettings; without them a set that is there keeps its own. Raises UserError where the
    set was made with other settings or by another version, or cannot be written.
    """
    folder = Path(root) / "painted_birds"
    _check_names("split", splits, BIRD_SPLITS)
    made_of, done = _settings(folder, BirdSettings(), settings)
    if made_of.scale not in painted.SCALES:
        raise UserError(
            f"scale {made_of.scale} is unknown; choose one of {', '.join(map(str, painted.SCALES))}"
        )
    every = _all_species(made_of)
    chosen = [species for species in every if species.split in {*splits, *done}]
    missing = [species for species in chosen if species.split in splits and _lacks(folder, species)]
    lists_there = all((folder / name).exists() for name in _bird_lists(splits)) and set(splits) <= set(done)
    if not missing and lists_there:
        return folder
    _write_settings(folder, made_of, done)
    tasks = [(folder, made_of, species, species.split in splits) for species in chosen]
    boxes = _in_parallel(
        _paint_species, tasks, "painting birds", [species.pictures for species in chosen], "bird"
    )
    _write_bird_lists(
        folder, every, {species.number: box for species, box in zip(chosen, boxes, strict=True)}
    )
    _write_settings(folder, made_of, [split for split in BIRD_SPLITS if split in {*splits, *done}])
    return folder


def _all_species(settings: BirdSettings) -> list[_Species]:
    train, test = painted.species_list(settings.seed, settings.train_species, settings.test_species)
    species = [_Species(i + 1, "train", i, c, settings.train_pictures) for i, c in enumerate(train)]
    return species + [
        _Species(len(train) + i + 1, "test", i, c, settings.test_pictures) for i, c in enumerate(test)
    ]


def _lacks(folder: Path, species: _Species) -> bool:
    pictures = _listing(folder / "CUB_200_2011" / "images" / species.folder)
    texts = _listing(folder / "text" / species.folder)
    stems = [os.path.basename(name) for name in species.names()]
    return not all(f"{stem}.jpg" in pictures and f"{stem}.txt" in texts for stem in stems)


def _listing(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _paint_species(task: tuple[Path, BirdSettings, _Species, bool]) -> list[tuple[float, ...]]:
    """Write the pictures and captions of one species that are missing; return the boxes of all its pictures."""
    folder, settings, species, wanted = task
    stream = BIRD_SPLITS.index(species.split)
    boxes: list[tuple[float, ...]] = []
    for i, name in enumerate(species.names()):
        scene = painted.scene(settings.seed, stream, species.index, i)
        picture, text = folder / "CUB_200_2011" / "images" / f"{name}.jpg", folder / "text" / f"{name}.txt"
        if wanted and not text.exists():
            rng = np.random.default_rng([settings.seed, 20 + stream, species.index, i])
            write_text(text, "\n".join(write_captions(species.colours, scene.marks, rng)) + "\n")
        if not wanted or picture.exists():
            boxes.append(painted.bounding_box(scene, settings.scale))
            continue
        image, box = painted.draw(species.colours, scene, settings.scale)
        boxes.append(box)
        write_atomically(picture, partial(image.save, format="JPEG", quality=95, subsampling=0))
    return boxes


def _bird_lists(splits: Iterable[str]) -> list[str]:
    names = [
        f"CUB_200_2011/{name}.txt" for name in ("images", "image_class_labels", "classes", "bounding_boxes")
    ]
    names += [f"{split}/{name}.pickle" for split in splits for name in ("filenames", "class_info")]
    return [*names, "parts.csv"]


def _write_bird_lists(folder: Path, every: list[_Species], boxes: dict[int, list[tuple[float, ...]]]) -> None:
    """The list files of the splits that are there; numbers are those of the whole set, whatever is there."""
    images, labels, classes, box_lines = [], [], [], []
    names: dict[str, list[str]] = {}
    numbers: dict[str, list[int]] = {}
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["name", *PARTS])
    picture = 0
    for species in every:
        first, picture = picture, picture + species.pictures
        if species.number not in boxes:
            continue
        classes.append(f"{species.number} {species.folder}")
        for i, (name, box) in enumerate(zip(species.names(), boxes[species.number], strict=True)):
            images.append(f"{first + i + 1} {name}.jpg")
            labels.append(f"{first + i + 1} {species.number}")
            box_lines.append(f"{first + i + 1} " + " ".join(f"{value:.1f}" for value in box))
            rows.writerow([name, *(species.colours[part] for part in PARTS)])
            names.setdefault(species.split, []).append(name)
            numbers.setdefault(species.split, []).append(species.number)
    for file, lines in (
        ("images", images),
        ("image_class_labels", labels),
        ("classes", classes),
        ("bounding_boxes", box_lines),
    ):
        write_text(folder / "CUB_200_2011" / f"{file}.txt", "\n".join(lines) + "\n")
    write_text(folder / "parts.csv", table.getvalue())
    for split in names:
        _write_pickle(folder / split / "filenames.pickle", names[split])
        _write_pickle(folder / split / "class_info.pickle", numbers[split])


def _write_pickle(path: Path, value: list) -> None:
    write_atomically(path, lambda beside: _write_bytes(beside, pickle.dumps(value, protocol=2)))


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


# --- spoken captions, in the layout of LJSpeech ----------------------------------------------------------------


@dataclass(frozen=True)
class SpeechSettings:
    """What decides every byte of a set of spoken captions; the seed and the species are those of the birds."""

    seed: int = 0
    train_species: int = 2000
    test_species: int = 200
    train: int = 4000  # clips
    val: int = 100
    test: int = 300  # unseen captions of the test species, in voices heard in training
    test_voices: int = 300  # unseen captions of the test species, in voices never heard in training
    version: int = voices.VERSION


def ensure_spoken_captions(
    root: Path | str, splits: Sequence[str] = voices.SPLITS, settings: dict[str, int] | None = None
) -> Path:
    """Make what is missing of <root>/spoken_captions and return that folder.

    `settings` are fields of SpeechSettings; without them a set that is there keeps its own. Raises UserError as
    `ensure_painted_birds` does, and where espeak-ng or one of its voices is not there.
    """
    folder = Path(root) / "spoken_captions"
    _check_names("split", splits, voices.SPLITS)
    made_of, done = _settings(folder, SpeechSettings(), settings)
    there = _listing(folder / "wavs")
    missing = [
        (split, i)
        for split in splits
        for i in range(getattr(made_of, split))
        if f"{_clip_id(split, i)}.flac" not in there
    ]
    lists_there = all((folder / name).exists() for name in ("metadata.csv", "speakers.csv"))
    lists_there &= all((folder / "splits" / f"{split}.txt").exists() for split in splits)
    if not missing and lists_there and set(splits) <= set(done):
        return folder
    _write_settings(folder, made_of, done)
    train, test = (
        [(colours, painted.species_marks(made_of.seed, stream, i)) for i, colours in enumerate(of_split)]
        for stream, of_split in enumerate(
            painted.species_list(made_of.seed, made_of.train_species, made_of.test_species)
        )
    )
    complete = [split for split in voices.SPLITS if split in {*splits, *done}]
    clips = {
        (split, i): voices.clip(made_of.seed, split, i, test if split.startswith("test") else train)
        for split in complete
        for i in range(getattr(made_of, split))
    }
    tasks = [(folder / "wavs" / f"{_clip_id(*key)}.flac", clips[key]) for key in missing]
    if tasks:
        _in_parallel(_record_clip, tasks, "speaking captions", [1] * len(tasks), "clip")
    write_speech_lists(folder, [(key[0], _clip_id(*key), c.text, c.voice) for key, c in clips.items()])
    _write_settings(folder, made_of, complete)
    return folder


def write_speech_lists(folder: Path, clips: Sequence[tuple[str, str, str, str]]) -> None:
    """LJSpeech's lists, and who speaks, of clips in wavs/: the split, id, text and voice of each."""
    for split in dict.fromkeys(split for split, *_ in clips):
        lines = "".join(f"{clip_id}\n" for of, clip_id, _, _ in clips if of == split)
        write_text(folder / "splits" / f"{split}.txt", lines)
    # LJSpeech's three columns; the third is the text with numbers written out, and ours has none
    write_text(
        folder / "metadata.csv", "".join(f"{clip_id}|{text}|{text}\n" for _, clip_id, text, _ in clips)
    )
    write_text(folder / "speakers.csv", "".join(f"{clip_id}|{voice}\n" for _, clip_id, _, voice in clips))


def _clip_id(split: str, index: int) -> str:
    return f"{split}-{index + 1:05d}"


def _record_clip(task: tuple[Path, voices.Clip]) -> None:
    import soundfile

    path, clip = task
    samples, rate = voices.record(clip)
    write_atomically(
        path, lambda beside: soundfile.write(beside, samples, rate, format="FLAC", subtype="PCM_16")
    )


# --- what both made sets share ---------------------------------------------------------------------------------


def _settings(folder: Path, default: Any, asked: dict[str, int] | None) -> tuple[Any, list[str]]:
    """The settings to make a set with, and the splits that are complete: those of the set there, if one is."""
    known = {field.name for field in fields(default)}
    wanted = replace(default, **(asked or {}))
    for name, value in asdict(wanted).items():
        if value < (0 if name == "seed" else 1):
            raise UserError(f"{name} is {value}; it must be at least {0 if name == 'seed' else 1}")
    path = folder / "settings.json"
    if not path.exists():
        return wanted, []
    stored = read_json(path)
    done = [split for split in stored.get("splits", []) if isinstance(split, str)]
    there = type(default)(**{key: value for key, value in stored.items() if key in known})
    if there.version != default.version:
        raise UserError(
            f"{folder} was made by version {there.version} of its generator, this is version {default.version}; "
            "remove that folder or choose another --root"
        )
    for name in asked or {}:
        if getattr(there, name) != getattr(wanted, name):
            raise UserError(
                f"{folder} was made with {name} {getattr(there, name)}, {getattr(wanted, name)} is asked for; "
                "remove that folder or choose another --root"
            )
    return there, done


def _write_settings(folder: Path, settings: Any, splits: Sequence[str]) -> None:
    write_json(folder / "settings.json", asdict(settings) | {"splits": list(splits)})


def _check_names(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f'no {what} "{name}"{suggest(name, known)}; there are: {", ".join(known)}')


def _in_parallel(
    function: Callable[[Any], Any], tasks: Sequence[Any], what: str, sizes: Sequence[int], unit: str
) -> list[Any]:
    """function(task) for every task, in order, on all cores, with a progress bar that counts `sizes`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = max(1, min(cores, len(tasks)))
    # the workers use no torch, so forking a program that has loaded it is safe and saves loading it again
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    results = []
    try:
        every = 0.1 if sys.stderr.isatty() else 5.0  # seconds; a log needs fewer lines
        with tqdm(total=sum(sizes), desc=what, unit=unit, dynamic_ncols=True, mininterval=every) as bar:
            for result, size in zip(pool.map(function, tasks), sizes, strict=True):
                results.append(result)
                bar.update(size)
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the parent alone
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(
            1, signal.SIGKILL
        )  # PR_SET_PDEATHSIG: a killed parent leaves no worker behind


# --- sets that are only read -----------------------------------------------------------------------------------


def _read_birds(source: Path, cache: Path, splits: Sequence[str], size: int, on_damaged: str) -> None:
    from data.cub import load_birds

    for split in splits:
        birds = load_birds(source, split, size, cache, on_damaged)  # type: ignore[arg-type]
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
