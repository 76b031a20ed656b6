"""What further stages of AttnGAN are worth, and what makes its seeds differ, each at an equal budget.

    python -m recipes.extra_stage variety --minutes 30
    python -m recipes.extra_stage stages --minutes 60 --start runs/attngan_painted_two/model

`variety` trains every row of VARIETY from nothing for the same time, 64 and 128 px. `stages` lets every row of STAGES
go on from the same painter of 64 and 128 px for the same time: with three stages (two that attend), or half of it with
three and half with four. The pictures of three stages are also enlarged to 512 px, by bicubic interpolation. Tables go
to results/extra_stage/, a picture of the second, a column a row, to docs/extra_stage.jpg. Stopped, the same command
goes on; names of rows choose some.

The part classifier, in whose features FID and KID are measured, reads 64 px; --network names a file of mobilenet_v2,
squeezenet1_1 or inception_v3, which see finer detail.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Parser, UserError, run_cli
from core.files import make_folder, read_json, write_atomically, write_text
from core.model_registry import DAMSM
from recipes.common import call, chosen, evaluate, save
from recipes.families import PAINTED, speed, table, trained

if TYPE_CHECKING:
    from torch import Tensor

OUT = Path("results/extra_stage")
LARGEST = 512  # px, to which smaller pictures are enlarged
BATCH = 8  # pictures painted at once
SHARP = 64  # of which the sharpness is the mean

QUICK = "experiment=attngan_painted_quick"
VARIETY: dict[str, list[str]] = {
    "quick": [],
    "stage_noise": ["gan.stage_noise=16"],
    "mode_seeking_0.3": ["gan.mode_seeking_weight=0.3"],
    "mode_seeking_1": ["gan.mode_seeking_weight=1"],
    "mode_seeking_3": ["gan.mode_seeking_weight=3"],
    "consistency_10": ["gan.consistency_weight=10"],
    "all": ["gan.stage_noise=16", "gan.mode_seeking_weight=1", "gan.consistency_weight=10"],
}
FOUR = "experiment=attngan_painted_four"
STAGES: dict[
    str, list[str]
] = {  # the trainings after the first half, or none where the third stage has all of the time
    "three": [],
    "three_enlarged": [],
    "four": [FOUR],
    "four_last_plain": [FOUR, "gan.plain_stages=1"],
    "four_others_frozen": [FOUR, "earlier_rate=0", "gan.mode_seeking_weight=0"],
}


def parser() -> Parser:
    p = Parser(prog="python -m recipes.extra_stage", description="Compare stages at an equal budget.")
    p.add_argument("comparison", choices=("variety", "stages"))
    p.add_argument("rows", nargs="*", help=f"some of {', '.join((*VARIETY, *STAGES))} (default all)")
    p.add_argument("--minutes", type=float, default=30, help="of training for each row (default 30)")
    p.add_argument("--start", type=Path, default=Path("runs/attngan_painted_two/model"),
                   help="painter of 64 and 128 px that `stages` grows from")  # fmt: skip
    p.add_argument("--encoder", type=Path, default=DAMSM, help="DAMSM that all read with, and the start did")
    p.add_argument("--ranker", type=Path, help="DAMSM of R-precision (default --encoder; another is fairer)")
    p.add_argument("--network", type=Path, help="weights of a feature network for FID, KID and variety")
    p.add_argument("--samples", type=int, default=1000, help="captions that are painted (default 1000)")
    return p


def main() -> int:
    args = parser().parse(None)
    args.data = Path(PAINTED)  # which the trainings of recipes.families ask for
    compare, rows = (variety_row, VARIETY) if args.comparison == "variety" else (stage_row, STAGES)
    found = []
    for name in chosen(args.rows, rows, "row"):
        found.append(compare(args, name))
        write_text(OUT / f"{args.comparison}.md", table(found))
        print(table(found), flush=True)
    if args.comparison == "stages":
        draw(args, [str(row["row"]) for row in found])
    return 0


# ---- seeds that differ ----


def variety_row(args: argparse.Namespace, name: str) -> dict[str, Any]:
    model = trained(args, run_name(args, name), [QUICK, *VARIETY[name]], args.minutes)
    changes = " ".join(f"`{change}`" for change in VARIETY[name]) or "none"
    given = ["--model", str(model), *through(args)]
    (variety,) = evaluate("variety", "--out", str(OUT), *given)
    return {
        "row": name,
        "changes": changes,
        "steps": steps(model),
        "variety": f"{variety['value']:.3f} (rendered {variety['real']:.3f})",
    } | measured(args, ["--model", str(model)])


# ---- more stages ----


def stage_row(args: argparse.Namespace, name: str) -> dict[str, Any]:
    from pipeline import load_painter
    from t2i.painter import Painter

    model = grown(args, name)
    painter = load_painter(model)
    own = painter.resolutions[-1]
    side = LARGEST if name.endswith("enlarged") else own
    parameters = sum(p.numel() for p in Painter.load(model).generator.parameters())
    given = ["--model", str(model)] if side == own else ["--pictures", str(enlarged(args, painter, name))]
    return {
        "row": name,
        "px": side,
        "million parameters": f"{parameters / 1e6:.2f}",
        "steps": steps(model),
        "seconds a picture": f"{1 / speed(painter):.3f}",
        "sharpness": f"{relative_sharpness(painter, side):.2f}",
    } | measured(args, given)


def grown(args: argparse.Namespace, name: str) -> Path:
    """The model folder of a row, trained for the time that it has."""
    if not (args.start / "config.json").is_file():
        raise UserError(
            f"no painter at {args.start}; train it: python train_gan.py experiment=attngan_painted_two, or name another"
        )
    three = ["experiment=attngan_painted_three", f"start={args.start}"]
    if not STAGES[name]:
        return trained(args, run_name(args, "three"), three, args.minutes)
    half = trained(args, run_name(args, "half"), three, args.minutes / 2)
    return trained(args, run_name(args, name), [*STAGES[name], f"start={half}"], args.minutes / 2)


def enlarged(args: argparse.Namespace, painter: Any, name: str) -> Path:
    """A folder of the painter's pictures of the captions that are measured, LARGEST px, in their order."""
    from PIL import Image

    listed = make_folder(OUT) / f"captions_{args.samples}.txt"
    call("evaluate.py", "--metric", "fid", "--captions", str(listed), "--samples", str(args.samples))
    captions = listed.read_text(encoding="utf-8").splitlines()
    folder = make_folder(OUT / f"{run_name(args, name)}_{args.samples}")
    for number, picture in enumerate(pictures(painter, captions, LARGEST)):
        pixels = ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        image = Image.fromarray(pixels)
        write_atomically(folder / f"{number:05d}.png", partial(image.save, format="PNG", compress_level=1))
    return folder


def pictures(painter: Any, captions: list[str], side: int) -> Iterator["Tensor"]:
    """The last image (3, side, side) of each caption, the seeds being 0, 1, ...; smaller ones are enlarged."""
    import torch.nn.functional as F

    for first in range(0, len(captions), BATCH):
        texts = captions[first : first + BATCH]
        images = painter.paint(texts, range(first, first + len(texts))).images[-1]
        if images.shape[-1] != side:
            images = F.interpolate(images, (side, side), mode="bicubic", antialias=True).clamp(-1, 1)
        yield from images


def sharpness(image: "Tensor") -> float:
    """Mean absolute Laplacian of a picture's (3, s, s) grey values: how much lies in its finest details."""
    grey = image.mean(0)
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((4 * inner - around).abs().mean())


def relative_sharpness(painter: Any, side: int) -> float:
    """Of SHARP pictures, as a share of that of the rendered ones of the same captions; 1 is as sharp."""
    from data.captioned_images import load_images
    from data.sampling import to_unit

    birds = load_images(PAINTED, "test", side, Path(PAINTED) / "cache", "error")
    rows = range(0, len(birds), max(len(birds) // SHARP, 1))[:SHARP]
    real = [sharpness(to_unit(birds.batch([i], None))[0]) for i in rows]
    painted = [sharpness(image) for image in pictures(painter, [birds.captions[i][0] for i in rows], side)]
    return sum(painted) / sum(real)


def draw(args: argparse.Namespace, names: list[str]) -> None:
    """Two test captions at full size from the same noise, a column a row of the table."""
    import torch

    from data.captioned_images import load_images
    from pipeline import load_painter
    from visualization.canvas import to_image

    birds = load_images(PAINTED, "test", 64, Path(PAINTED) / "cache", "error")
    captions = [birds.captions[i][0] for i in (0, len(birds) // 2)]
    columns = [
        torch.cat(list(pictures(load_painter(grown(args, name)), captions, LARGEST)), dim=1) for name in names
    ]
    save(to_image(torch.cat(columns, dim=2).numpy()), "extra_stage.jpg")
    print(f"from left to right: {', '.join(names)}")


# ---- both ----


def run_name(args: argparse.Namespace, row: str) -> str:
    return f"{args.comparison}_{args.minutes:g}min_{row}"


def steps(model: Path) -> int:
    return int(read_json(model / "config.json")["training"]["steps"])


def through(args: argparse.Namespace) -> list[str]:
    return ["--network", str(args.network)] if args.network else []


def measured(args: argparse.Namespace, of: list[str]) -> dict[str, str]:
    """What `evaluate.py` finds of a --model or of --pictures."""
    common = [*of, "--samples", str(args.samples), "--out", str(OUT)]
    fid, kid = evaluate("fid,kid", *common, *through(args))
    ranker = str(args.ranker or args.encoder)
    parts, ranked = evaluate("part_colours,r_precision", *common, "--encoder", ranker)
    return {
        "FID": f"{fid['value']:.3g}",
        "KID": f"{kid['value']:.3g}",
        "part colours": f"{100 * parts['value']:.1f} %",
        "R-precision": f"{100 * ranked['value']:.1f} %",
    }


if __name__ == "__main__":
    run_cli(main)
