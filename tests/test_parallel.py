"""Several processes come to what one would; accumulated gradients, measures on a schedule, sweeps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import train_gans
from torch import nn

from core.errors import UserError
from t2i.families.registry import SETTINGS
from training import classifier as train_classifier
from training import gan as train_gan

FAMILIES = {  # BatchNorm everywhere and DAMSM; the gradient penalty, which is differentiated twice; a frozen Stage I
    "attngan": ["gan.stages=2", "gan.width=4", "gan.discriminator_width=4", "gan.residual_blocks=1"],
    "dfgan": ["gan.size=64", "gan.width=4", "gan.discriminator_width=4"],
    "stackgan": ["gan.stage=2", "gan.width=16", "gan.discriminator_width=8", "gan.residual_blocks=1"],
}


def overrides(world: Path, runs: Path, name: str, *words: str) -> list[str]:
    return [
        f"encoder={world / 'damsm'}", f"data.root={world / 'painted_birds'}",
        f"data.cache={world / 'painted_birds' / 'cache'}", f"run.root={runs}", f"run.name={name}", "batch=4",
        "run.steps=4", "run.log_every=1", "run.sample_every=2", "run.precision=fp32", "run.threads=1",
        "run.device=cpu", *words,
    ]  # fmt: skip


TRAININGS = {  # by name: the family, and what else is typed; rates of 0, for Adam's first step goes by the sign alone,
    # and the rounding of a gradient that is nearly 0 would decide it
    **{f"float32 {family}": [family] for family in ("attngan", "dfgan")},
    **{
        f"float64 {family}": [family, "run.steps=1", "lr_generator=0", "lr_discriminator=0"]
        for family in FAMILIES
    },
}
# first images of two noises, and noise of the second stage
TRAININGS["float64 attngan"] += [
    "gan.mode_seeking_weight=0.1", "gan.stage_noise=3", "gan.consistency_weight=1.0",
]  # fmt: skip


@pytest.fixture(scope="module")
def by_one_and_two(root: Path, tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every training by this process, as runs in one/, and by two others, as those of the same names in two/.

    One launch for all of them: three processes take their time to import torch.
    """
    folder = tmp_path_factory.mktemp("parallel")

    def trainings(count: str) -> dict[str, list[str]]:
        return {
            name: overrides(tiny_world, folder / count, name, f"gan={family}", *FAMILIES[family], *words)
            for name, (family, *words) in TRAININGS.items()
        }

    train_gans.train_all(trainings("one"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(root / "tests" / "train_gans.py"), json.dumps(trainings("two"))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    return folder


def losses(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("family", ["attngan", "dfgan"])
def test_two_processes_are_one_on_the_same_batch(family: str, by_one_and_two: Path):
    one, other = (losses(by_one_and_two / count / f"float32 {family}") for count in ("one", "two"))
    assert len(one) == 4
    close = 1e-4
    for mine, theirs in zip(one, other, strict=True):
        assert theirs == pytest.approx(mine, rel=close, abs=close)


@pytest.mark.parametrize("family", FAMILIES)
def test_two_processes_have_the_gradients_of_one(family: str, by_one_and_two: Path):
    """Adam, which hides a wrong scale from the losses, keeps a share of every gradient."""
    one, two = (
        torch.load(by_one_and_two / count / f"float64 {family}" / "checkpoint.pt", weights_only=True)
        for count in ("one", "two")
    )
    for optimizer in ("discriminators optimizer", "generator optimizer"):
        for number, mine in one[optimizer]["state"].items():
            gradient = mine["exp_avg"]
            error = (two[optimizer]["state"][number]["exp_avg"] - gradient).abs().max()
            assert error <= 1e-9 * gradient.abs().max() + 1e-15, (optimizer, number, gradient.shape)


def test_what_cannot_be_shared_is_told_at_once(monkeypatch):
    monkeypatch.setattr(train_gan.parallel, "processes", lambda: 3)
    config = train_gan.TrainGan(gan=SETTINGS["gan_int_cls"](), batch=20)
    with pytest.raises(UserError, match="batch=20 cannot be shared by 3 processes"):
        train_gan.check(config, nn.Identity())
    config.batch = 21  # half a batch of means is shared, too
    with pytest.raises(UserError, match="choose a multiple of 6"):
        train_gan.check(config, nn.Identity())
    config.batch = 24
    train_gan.check(config, nn.Identity())


def test_accumulated_gradients_are_the_mean(tiny_world: Path, tmp_path: Path, monkeypatch):
    """The same batch twice makes the step that it makes once."""
    draw, drawn = train_gan.draw, []

    def only_once(*arguments):
        drawn.append(draw(*arguments) if not drawn else drawn[0])
        return drawn[0]._replace(cache={})

    monkeypatch.setattr(train_gan, "draw", only_once)
    for count in (1, 2):
        drawn.clear()
        words = ["gan=dfgan", *FAMILIES["dfgan"], f"accumulate={count}", "run.steps=2"]
        monkeypatch.setattr(
            sys, "argv", ["train_gan.py", *overrides(tiny_world, tmp_path, str(count), *words)]
        )
        train_gan.main()
        assert len(drawn) == 2 * count
    once, twice = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in "12")
    for part in ("generator", "discriminators"):
        for key, value in once[part].items():
            torch.testing.assert_close(twice[part][key], value, rtol=0, atol=1e-5)


def test_a_training_is_measured_on_the_way(tiny_world: Path, tmp_path: Path, monkeypatch):
    words = ["gan=dfgan", *FAMILIES["dfgan"], "measure_every=2", "measure_pictures=4", "halve_every=1"]
    monkeypatch.setattr(sys, "argv", ["train_gan.py", *overrides(tiny_world, tmp_path, "run", *words)])
    train_gan.main()
    measured = [line for line in losses(tmp_path / "run") if "frechet_distance" in line]
    assert [line["step"] for line in measured] == [1, 3]
    assert all(line["frechet_distance"] >= 0 and 0 <= line["r_precision"] <= 1 for line in measured)


def test_memory_layout_changes_nothing_but_rounding(tiny_world: Path, tmp_path: Path, monkeypatch):
    for name, layout in (("plain", "false"), ("last", "true")):
        words = ["gan=attngan", *FAMILIES["attngan"], f"channels_last={layout}", "run.steps=1"]
        monkeypatch.setattr(sys, "argv", ["train_gan.py", *overrides(tiny_world, tmp_path, name, *words)])
        train_gan.main()
    plain, last = (losses(tmp_path / name) for name in ("plain", "last"))
    assert last[0] == pytest.approx(plain[0], rel=1e-4, abs=1e-4)


# ---- sweeps ----


def test_a_sweep_trains_them_all_and_goes_on(tiny_world: Path, tmp_path: Path, monkeypatch, capfd):
    """In this process by Hydra's basic launcher; the last time in another by joblib's."""
    world = tiny_world / "painted_birds"
    words = [
        f"data.root={world}",
        f"data.cache={world / 'cache'}",
        f"run.root={tmp_path / 'runs'}",
        "run.steps=1",
    ]
    words += ["run.name=sweep", "batch=4", "run.threads=1", "run.device=cpu", "--multirun", "width=4,8"]
    monkeypatch.chdir(tmp_path)

    def sweep(*more: str) -> str:
        monkeypatch.setattr(sys, "argv", ["train_classifier.py", *words, *more])
        train_classifier.main()
        return capfd.readouterr().out

    assert "2 runs" in sweep()
    runs = tmp_path / "runs" / "sweep"
    assert {path.name for path in runs.iterdir()} == {"width-4", "width-8", "summary.csv", "multirun.yaml"}
    assert os.listdir(tmp_path) == ["runs"]
    assert (runs / "summary.csv").read_text().count("\n") == 3
    assert sweep("hydra/launcher=joblib", "hydra.launcher.n_jobs=1").count("is complete") == 2
    printed = sweep("--dry-run")
    assert "width: 4" in printed and "width: 8" in printed
    with pytest.raises(UserError, match=r'width="many": a whole number'):
        sweep("width=4,many")
