"""Training crops of CUB from the packed cache against opening every JPEG: `python -m benchmarks.loader [--root SET]`.

The textbook's form does for every picture what AttnGAN's loader does: open, cut to the box, resize, random crop, flip,
normalise. Ours did the first three once, into a packed file. Both run in one process without loading workers and give
the last stage's pictures at the same places, which must agree to 1e-6 before the timing. Files are in the page cache.
"""

import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.functional as TF
from PIL import Image
from torch import Tensor

from benchmarks.common import Form, cores, in_turn, parser, report, timer
from core.runtime import set_up
from data.captioned_images import CaptionedImages, load_images
from data.cub import read_boxes
from data.listing import SUFFIXES
from data.pictures import crop_box
from data.sampling import indices_at, to_unit

SIZES = (64, 128)
REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"

Source = tuple[Path, tuple[int, int, int, int]]  # a picture's file and its box


def sources(root: Path, birds: CaptionedImages) -> list[Source]:
    boxes, images = read_boxes(root) or {}, root / "CUB_200_2011" / "images"
    files = (
        next(file for suffix in SUFFIXES if (file := images / (name + suffix)).is_file())
        for name in birds.names
    )
    return [(file, boxes[name]) for file, name in zip(files, birds.names, strict=True)]


def read_picture(source: Source, size: int, draws: Sequence[float]) -> Tensor:
    """One picture (3, S, S) in [-1, 1] by AttnGAN's steps; draws: place of the crop, and whether it is flipped."""
    file, box = source
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    image = TF.resize(image.crop(crop_box(box, *image.size)), int(size * 76 / 64))
    width, height = image.size
    top, left = int(draws[0] * (height - size + 1)), int(draws[1] * (width - size + 1))
    image = TF.crop(image, top, left, size, size)
    image = TF.hflip(image) if draws[2] < 0.5 else image
    return TF.normalize(TF.to_tensor(image), [0.5] * 3, [0.5] * 3)


def from_jpegs(files: list[Source], size: int, indices: np.ndarray, rng: np.random.Generator) -> Tensor:
    draws = rng.random((len(indices), 3))
    return torch.stack([read_picture(files[i], size, row) for i, row in zip(indices, draws, strict=True)])


def from_packed(birds: CaptionedImages, indices: np.ndarray, rng: np.random.Generator) -> Tensor:
    return to_unit(birds.batch(indices, rng))


def check(birds: CaptionedImages, files: list[Source], count: int) -> None:
    """The first `count` pictures at the same places agree to 1e-6."""
    indices = np.arange(min(count, len(birds)))
    expected = from_jpegs(files, birds.size, indices, np.random.default_rng(0))
    mine = from_packed(birds, indices, np.random.default_rng(0))
    torch.testing.assert_close(mine, expected, rtol=0, atol=1e-6)


def forms(birds: CaptionedImages, files: list[Source], batch: int, steps: int) -> dict[str, Form]:
    """Both readers, each of which goes through the same batches in the same order."""
    batches = [indices_at(step, batch, len(birds), seed=0) for step in range(steps)]
    rng = np.random.default_rng(0)
    mine, theirs = itertools.cycle(batches), itertools.cycle(batches)
    return {
        "each JPEG": lambda: from_jpegs(files, birds.size, next(theirs), rng),
        "packed": lambda: from_packed(birds, next(mine), rng),
    }


def main() -> None:
    options = parser(__doc__, rounds=25)
    root = Path(os.environ.get("SAYBIRD_REALDATA", REALDATA)) / "birds"
    options.add_argument("--root", type=Path, default=root, help="a set in CUB's layout")
    options.add_argument("--batch", type=int, default=64, help="pictures at a time; 64 unless told")
    args = options.parse_args()
    if not args.root.is_dir():
        print(f"skipped: no birds at {args.root}; name a folder in CUB's layout with --root")
        return
    set_up(cores(), "cpu")
    split = "test" if args.tiny else "train"
    cases = {}
    with tempfile.TemporaryDirectory() as cache:
        for size in SIZES:
            birds = load_images(args.root, split, size, cache)
            files = sources(args.root, birds)
            batch = min(args.batch, len(birds))
            check(birds, files, count=256)
            timers = {name: timer(form) for name, form in forms(birds, files, batch, args.rounds).items()}
            in_turn(timers, 2)  # the first calls are slow
            cases[f"{size} px"] = in_turn(timers, args.rounds)
    pixels = [np.prod(Image.open(file).size) for file, _ in files[:200]]
    protocol = {
        "batch": batch,
        "sizes": SIZES,
        "pictures": len(birds),
        "mean_pixels_of_a_jpeg": round(float(np.mean(pixels))),
        "rounds": args.rounds,
    }
    report("loader", protocol, cases, write=not args.tiny, pictures=batch)


if __name__ == "__main__":
    main()
