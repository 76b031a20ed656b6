"""Painted birds as a set on disk, in the layout of CUB: pictures, captions, boxes, classes, and the true colours.

Running it again makes only what is missing; what is written is whole, and its bytes are a function of the seed.
"""

import csv
import io
import os
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.files import write_atomically, write_bytes, write_text
from data.painted_birds.captions import write_captions
from data.painted_birds.drawing import VERSION, bounding_box, draw
from data.painted_birds.grammar import PARTS
from data.painted_birds.scene import SCALES, make_scene
from data.painted_birds.settings import building, check_names, listing, settings_of, write_settings
from data.painted_birds.species import species_list
from data.parallel import in_parallel

BIRD_SPLITS = ("train", "test")
MOST_PICTURES = 500_000
SECONDS, BYTES = 0.03, 21_000  # of a picture at scale 1, on one core


@dataclass(frozen=True)
class BirdSettings:
    """What decides every byte of a set of painted birds."""

    seed: int = 0
    train_species: int = 2000
    train_pictures: int = 8  # of a species
    test_species: int = 200
    test_pictures: int = 5
    scale: int = 1  # of the pictures: 2 for training at 256 px, 4 for 512
    version: int = VERSION


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
    check_names("split", splits, BIRD_SPLITS)
    made_of, done = settings_of(folder, BirdSettings(), settings)
    if made_of.scale not in SCALES:
        raise UserError(f"scale {made_of.scale} is unknown; choose one of {', '.join(map(str, SCALES))}")
    _check_size(made_of)
    every = _all_species(made_of)
    chosen = [species for species in every if species.split in {*splits, *done}]
    missing = [species for species in chosen if species.split in splits and _lacks(folder, species)]
    lists_there = all((folder / name).exists() for name in _bird_lists(splits)) and set(splits) <= set(done)
    if missing or not lists_there:
        with building(folder):
            _build(folder, made_of, every, splits, settings_of(folder, BirdSettings(), settings)[1])
    return folder


def _check_size(settings: BirdSettings) -> None:
    """Before anything is made: how much it will be, where that is too much."""
    count = settings.train_species * settings.train_pictures + settings.test_species * settings.test_pictures
    if count > MOST_PICTURES:
        hours, gigabytes = (count * each * settings.scale**2 for each in (SECONDS / 3600, BYTES / 1e9))
        raise UserError(
            f"{count:,} pictures would take about {gigabytes:,.0f} GB and {hours:,.0f} hours of a core; at most "
            f"{MOST_PICTURES:,} are made, so ask for fewer species or pictures of each"
        )


def _build(
    folder: Path, made_of: BirdSettings, every: list[_Species], splits: Sequence[str], done: list[str]
) -> None:
    chosen = [species for species in every if species.split in {*splits, *done}]
    write_settings(folder, made_of, done)
    tasks = [(folder, made_of, species, species.split in splits) for species in chosen]
    boxes = in_parallel(
        _paint_species, tasks, "painting birds", [species.pictures for species in chosen], "bird"
    )
    _write_bird_lists(
        folder, every, {species.number: box for species, box in zip(chosen, boxes, strict=True)}
    )
    write_settings(folder, made_of, [split for split in BIRD_SPLITS if split in {*splits, *done}])


def _all_species(settings: BirdSettings) -> list[_Species]:
    train, test = species_list(settings.seed, settings.train_species, settings.test_species)
    species = [_Species(i + 1, "train", i, c, settings.train_pictures) for i, c in enumerate(train)]
    return species + [
        _Species(len(train) + i + 1, "test", i, c, settings.test_pictures) for i, c in enumerate(test)
    ]


def _lacks(folder: Path, species: _Species) -> bool:
    pictures = listing(folder / "CUB_200_2011" / "images" / species.folder)
    texts = listing(folder / "text" / species.folder)
    stems = [os.path.basename(name) for name in species.names()]
    return not all(f"{stem}.jpg" in pictures and f"{stem}.txt" in texts for stem in stems)


def _paint_species(task: tuple[Path, BirdSettings, _Species, bool]) -> list[tuple[float, ...]]:
    """Write the pictures and captions of one species that are missing; return the boxes of all its pictures."""
    folder, settings, species, wanted = task
    stream = BIRD_SPLITS.index(species.split)
    boxes: list[tuple[float, ...]] = []
    for i, name in enumerate(species.names()):
        scene = make_scene(settings.seed, stream, species.index, i)
        picture, text = folder / "CUB_200_2011" / "images" / f"{name}.jpg", folder / "text" / f"{name}.txt"
        if wanted and not text.exists():
            rng = np.random.default_rng([settings.seed, 20 + stream, species.index, i])
            write_text(text, "\n".join(write_captions(species.colours, scene.marks, rng)) + "\n")
        if not wanted or picture.exists():
            boxes.append(bounding_box(scene, settings.scale))
            continue
        image, box = draw(species.colours, scene, settings.scale)
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
        for file, value in (("filenames", names[split]), ("class_info", numbers[split])):
            write_bytes(folder / split / f"{file}.pickle", pickle.dumps(value, protocol=2))
