"""Every family at an equal budget: `python -m recipes.families` (--minutes for each, 12 unless told).

Trains each family of SETTINGS (`projected` needs a pretrained network and is not among them) for the same time on this
machine, all reading with the same text encoder, paints the same captions from the same noise, and writes
results/families/table.md and docs/families.jpg. Stopped, the same command
goes on; names of families choose some. Another set in CUB's layout: --data datasets/cub --encoder runs/damsm_cub/model
--network mobilenet_v2.safetensors.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from core.errors import Parser, UserError, run_cli
from core.files import read_json, write_text
from core.model_registry import DAMSM
from recipes.common import call, chosen, measure, save

PAINTED = "datasets/painted_birds"
OUT = Path("results/families")
SHORT, LONG = 20, 120  # steps of two first runs, whose difference tells how long a step takes
OURS = [
    "lr_generator=1e-3",
    "lr_discriminator=4e-4",
    "beta1=0",
    "beta2=0.99",
    "ema=0.998",
    "decay=0.25",
    "batch=16",
]
BATCH_NORM = ["lr_generator=4e-4", "lr_discriminator=2e-4", "ema=0.998", "decay=0.25", "batch=16"]
STAGE_I = ["gan=stackgan", "gan.stage=1", "gan.width=32", "gan.discriminator_width=16", *OURS]
# What each family did best with in a few minutes (docs/ablations.md); Stage II has half of the time, Stage I the other.
SETTINGS: dict[str, list[str]] = {
    "gan_int_cls": ["gan=gan_int_cls", "gan.width=32", "gan.discriminator_width=32", *BATCH_NORM],
    "stackgan": ["gan=stackgan", "gan.stage=2", "gan.width=32", "gan.discriminator_width=8",
                 "gan.residual_blocks=1", *OURS],
    "stackgan_v2": ["gan=stackgan_v2", "gan.stages=2", "gan.width=16", "gan.discriminator_width=16", *OURS],
    "dfgan": ["gan=dfgan", "gan.size=64", "gan.width=16", "gan.discriminator_width=16", "gan.penalty_every=4",
              "lr_generator=4e-4", "lr_discriminator=4e-4", "beta1=0", "beta2=0.9", "ema=0.998", "decay=0.25",
              "batch=16"],
    "attngan": ["experiment=attngan_painted_quick", *OURS, "gan.damsm_weight=0.5", "batch=8"],
}  # fmt: skip
CAPTIONS, SEED = 8, 0  # of the picture


def parser() -> Parser:
    p = Parser(
        prog="python -m recipes.families", description="Train and compare every family at an equal budget."
    )
    p.add_argument("families", nargs="*", help=f"some of {', '.join(SETTINGS)} (default all)")
    p.add_argument("--minutes", type=float, default=12, help="of training for each family (default 12)")
    p.add_argument(
        "--data", type=Path, default=Path(PAINTED), help="birds in CUB's layout (default painted birds)"
    )
    p.add_argument("--encoder", type=Path, default=DAMSM, help="DAMSM that all read with")
    p.add_argument("--network", type=Path, help="features of is, fid and kid where the birds are not painted")
    return p


def main() -> int:
    args = parser().parse(None)
    names = chosen(args.families, SETTINGS, "family")
    if args.data != Path(PAINTED) and not args.network:
        raise UserError(
            "birds that are not painted are measured in a pretrained network; name its file: --network"
        )
    models: dict[str, Path] = {}
    rows = []
    for name in names:
        for label, model in train(args, name).items():
            models[label] = model
            rows.append(row(args, label, model))
            write_text(OUT / "table.md", table(rows))
        print(table(rows), flush=True)
    draw(args, models)
    return 0


# ---- training ----


def train(args: argparse.Namespace, name: str) -> dict[str, Path]:
    """The family's model folder, trained for the time that it has; both of StackGAN's stages, half of it each."""
    if name != "stackgan":
        return {name: trained(args, run_name(args, name), SETTINGS[name], args.minutes)}
    first = trained(args, run_name(args, "stackgan_first"), STAGE_I, args.minutes / 2)
    words = [*SETTINGS[name], f"start={first}"]
    second = trained(args, run_name(args, name), words, args.minutes / 2)
    return {"stackgan, Stage I": first, "stackgan, Stage II": second}


def run_name(args: argparse.Namespace, name: str) -> str:
    return f"family_{args.data.name}_{args.minutes:g}min_{name}"


def trained(args: argparse.Namespace, run: str, words: list[str], minutes: float) -> Path:
    """A run of as many steps as fit into the time, which a short run beforehand measures."""
    common = [*words, f"encoder={args.encoder}", "run.sample_every=0", "measure_every=0"]
    if args.data != Path(PAINTED):
        common += [
            "data=cub",
            f"data.root={args.data}",
            f"data.cache={args.data / 'cache'}",
            "hard_negatives=0",
        ]
    model = Path("runs") / run / "model"
    if not (model / "config.json").exists():
        stored = Path("runs") / run / "config.yaml"
        steps = steps_of(stored) if stored.exists() else int(60 * minutes / seconds_a_step(run, common))
        call("train_gan.py", *common, f"run.name={run}", f"run.steps={steps}")
    return model


def seconds_a_step(run: str, words: list[str]) -> float:
    import torch

    elapsed = []
    for number, steps in enumerate((SHORT, SHORT, LONG)):  # the first finds files that nobody has read yet
        name = f"{run}_{number}"
        call("train_gan.py", *words, f"run.name={name}", f"run.steps={steps}", f"run.save_every={steps}")
        checkpoint = torch.load(Path("runs") / name / "checkpoint.pt", weights_only=True)
        elapsed.append(checkpoint["elapsed"])
    return (elapsed[2] - elapsed[1]) / (LONG - SHORT)


def steps_of(config: Path) -> int:
    from omegaconf import OmegaConf

    return int(OmegaConf.load(config).run.steps)


# ---- measures ----


def row(args: argparse.Namespace, label: str, model: Path) -> dict[str, Any]:
    from pipeline import load_painter
    from t2i.painter import Painter

    painter = load_painter(model)  # made ready to paint, which joins some of its parameters
    training = read_json(model / "config.json")["training"]
    found: dict[str, Any] = {
        "family": label,
        "px": painter.resolutions[-1],
        "million parameters": f"{sum(p.numel() for p in Painter.load(model).generator.parameters()) / 1e6:.2f}",
        "steps": training["steps"],
        "pictures a second": f"{speed(painter):.0f}",
    }
    painted = args.data == Path(PAINTED)
    for metric in ("fid", "kid", "is", "r_precision", *(("part_colours",) if painted else ())):
        value = measure(metric, model, OUT, *options(args, metric))
        found[metric] = (
            f"{100 * value:.1f} %" if metric in ("r_precision", "part_colours") else f"{value:.3g}"
        )
    return found


def speed(painter: Any, batch: int = 8, seconds: float = 3.0) -> float:
    """Pictures a second in batches of eight."""
    texts, count = ["a small blue bird with a white belly"] * batch, 0
    painter.paint(texts, range(batch))
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        painter.paint(texts, range(batch))
        count += batch
    return count / (time.perf_counter() - start)


def options(args: argparse.Namespace, metric: str) -> list[str]:
    """What evaluate.py has to be told beside the model."""
    words = ["--encoder", str(args.encoder)] if metric == "r_precision" else []
    if args.data != Path(PAINTED):
        words += ["--data", str(args.data)]
        words += ["--network", str(args.network)] if metric != "r_precision" else []
    return words


def table(rows: list[dict[str, Any]]) -> str:
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([str(row[head]) for head in heads] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(args: argparse.Namespace, models: dict[str, Path]) -> None:
    """The same test captions from the same noise, a column a family."""
    from data.captioned_images import load_images
    from pipeline import load_painter
    from visualization import grids

    birds = load_images(args.data, "test", 64, args.data / "cache", "error")
    captions = [birds.captions[i][0] for i in range(0, len(birds), len(birds) // CAPTIONS)][:CAPTIONS]
    painters = [load_painter(model) for model in models.values()]
    rows = [
        [painter.paint([caption], [SEED]).images[-1][0].numpy() for painter in painters]
        for caption in captions
    ]
    columns = [label.removeprefix("stackgan, ") for label in models]
    page = grids.table(rows, captions, columns, f"{args.minutes:g} minutes of training each, seed {SEED}")
    save(page, "families.jpg")


if __name__ == "__main__":
    run_cli(main)
