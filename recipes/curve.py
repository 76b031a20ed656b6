"""What more hours bring: `python -m recipes.curve runs/projected_real --data datasets/cub --network FILE`.

Measures FID and KID of the painters that a run kept on its way (`snapshot_every=`), writes results/curve-<run>.json and
draws docs/curve-<run>.png; the hours of a painter that the run started from count. What lies ahead is the power law
FID = a hours^-b through the later half of the points: a straight line here, and no promise, since every training
flattens at last.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from core.errors import Parser, UserError, run_cli
from core.files import read_json, write_atomically, write_json
from recipes.common import evaluate
from visualization.curves import loglog_curve

AHEAD = (2, 5, 10)  # times the hours of the last painter


def main() -> int:
    p = Parser(prog="python -m recipes.curve", description="FID against hours of a run's kept painters.")
    p.add_argument("run", type=Path, help="the run's folder, trained with snapshot_every=")
    p.add_argument("--data", type=Path, required=True, help="birds in CUB's layout")
    p.add_argument("--network", type=Path, required=True, help="weights of the measuring network")
    p.add_argument("--samples", type=int, default=1000, help="captions painted for each (default 1000)")
    args = p.parse(None)
    kept = sorted(args.run.glob("snapshots/*/config.json")) or sorted(args.run.glob("kept/*/config.json"))
    if len(kept) < 2:
        raise UserError(
            f"{args.run} kept {len(kept)} painters, 2 or more are needed; train with snapshot_every="
        )
    measured = [row(args, config.parent) for config in kept]
    rows, real = [one for one, _ in measured], measured[-1][1]
    hours, fid = (np.array([r[key] for r in rows]) for key in ("hours", "fid"))
    if hours[0] <= 0:
        raise UserError(f"{kept[0].parent} says {hours[0]} hours; delete it and measure the others")
    later = slice(-max(2, (len(rows) + 1) // 2), None)
    a, b = power_law(hours[later], fid[later])
    ahead = [(hours[-1] * times, a * (hours[-1] * times) ** -b) for times in AHEAD]
    name = args.run.name
    found = {"run": name, "samples": args.samples, "network": args.network.stem, "real against real": real,
             "points": rows,
             "ahead": [{"hours": h, "fid": f} for h, f in ahead]}  # fmt: skip
    write_json(Path("results") / f"curve-{name}.json", found)
    page = loglog_curve(
        list(zip(hours, fid, strict=True)),
        ahead,
        [("real against real", real)],
        ("hours of training", f"FID, {args.network.stem}, {args.samples} pictures"),
        "dashed: the power law through the later half of the points",
    )
    path = Path("docs") / f"curve-{name}.png"
    write_atomically(path, lambda beside: page.save(beside, format="PNG", optimize=True))
    print(json.dumps(found, indent=1))
    print(path)
    return 0


def row(args: argparse.Namespace, folder: Path) -> tuple[dict[str, float], float]:
    """FID and KID of one painter, with its hours and the pictures that it has seen; and FID of real pictures."""
    training = read_json(folder / "config.json")["training"]
    before = training.get("before", {"hours": 0, "pictures": 0})  # of the painter that it started from
    found = {
        "hours": before["hours"] + training["hours"],
        "steps": training["steps"],
        "pictures seen": before["pictures"] + training["steps"] * training["batch"],
    }
    words = ["--model", str(folder), "--data", str(args.data)]
    words += ["--network", str(args.network), "--samples", str(args.samples)]
    fid, kid = evaluate("fid,kid", *words)
    return found | {"fid": fid["value"], "kid": kid["value"]}, fid["real"]


def power_law(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """y = a x^-b by least squares of the logarithms -> (a, b)."""
    slope, start = np.polyfit(np.log(x), np.log(y), 1)
    return float(np.exp(start)), float(-slope)


if __name__ == "__main__":
    run_cli(main)
