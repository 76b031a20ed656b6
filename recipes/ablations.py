"""What each choice of the painted generator brings: `python -m recipes.ablations` (about six minutes a row).

Trains 1,000 steps from nothing for every row of ROWS, one change to the quick recipe at a time, measures part colours
and FID, and prints the table of docs/ablations.md. Stopped, the same command goes on; names of rows choose some.
"""

import sys
from pathlib import Path

from core.errors import run_cli
from core.files import read_json
from recipes.common import call, chosen, measure

STEPS = 1000
ROWS: dict[str, list[str]] = {
    "quick": [],
    "papers_rates": ["lr_generator=2e-4", "lr_discriminator=2e-4", "beta1=0.5", "beta2=0.999"],
    "half_rates": ["lr_generator=4e-4", "lr_discriminator=2e-4"],
    "double_rates": ["lr_generator=2e-3", "lr_discriminator=8e-4"],
    "batch_captions_only": ["hard_negatives=0"],
    "damsm_weight_0.5": ["gan.damsm_weight=0.5"],
    "damsm_weight_5": ["gan.damsm_weight=5"],
    "no_penalty": ["gan.penalty_weight=0"],
    "shift": ["gan.translation=0.125"],
    "wide_first_stage": ["gan.first_width=32"],
    "words_from_32_px": ["gan.first_attention=32"],
    "batch_8": ["batch=8", "run.steps=2000"],
}


def main() -> int:
    out = Path("results") / "ablations"
    table = ["| row | changes | part colours | FID | minutes |", "|---|---|---|---|---|"]
    for name in chosen(sys.argv[1:], ROWS, "row"):
        run = f"ablation_{name}"
        model = Path("runs") / run / "model"
        call("train_gan.py", "experiment=attngan_painted_quick", f"run.name={run}", f"run.steps={STEPS}", "decay=0",
             "encoder=runs/damsm_painted_quick/model", *ROWS[name])  # fmt: skip
        classifier = ("--classifier", "runs/parts_painted/model")
        colours, fid = (measure(metric, model, out, *classifier) for metric in ("part_colours", "fid"))
        minutes = 60 * read_json(model / "config.json")["training"]["hours"]
        changes = " ".join(f"`{change}`" for change in ROWS[name]) or "none"
        table.append(f"| {name} | {changes} | {100 * colours:.1f} % | {fid:.2f} | {minutes:.0f} |")
        print("\n".join(table), flush=True)
    return 0


if __name__ == "__main__":
    run_cli(main)
