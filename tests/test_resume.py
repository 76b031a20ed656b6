"""Kill -9 in the middle of a training, run the same command: the losses and weights of a run never killed."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torchvision.models import squeezenet1_1

from core.files import read_json
from training.config import load_config
from training.schedule import linear_end

STEPS, SAVED = 12, 4
SCHEMAS = {
    "train_classifier": "TrainClassifier", "train_encoder": "TrainEncoder", "train_gan": "TrainGan",
    "train_asr": "TrainAsr",
}  # fmt: skip
TRAININGS = {
    "train_classifier": ["size=64", "width=4", "batch=8"],
    "train_encoder": [
        "encoder.embedding=16", "encoder.word_width=8", "encoder.image_width=4", "encoder.image_size=64", "batch=8",
    ],
    "train_gan": [
        "gan.stages=2", "gan.width=4", "gan.discriminator_width=4", "gan.condition=6", "gan.noise=5",
        "gan.adversarial=hinge", "gan.discriminator_norm=none", "gan.penalty_weight=2.0", "batch=4",
    ],
    "train_gan projected": [
        "gan=projected", "gan.backbone=squeezenet1_1", "gan.width=4", "gan.discriminator_width=4", "gan.mixing_width=4",
        "gan.text_width=3", "gan.noise=5", "gan.damsm_weight=0.2", "batch=4",
    ],
    "train_asr": [
        "model.width=16", "model.heads=2", "model.encoder_layers=1", "model.decoder_layers=1",
        "model.feed_forward=16", "batch_seconds=20", "warmup=2", "validation_clips=2", "beam=2",
    ],
}  # fmt: skip


def command(root: Path, script: str, world: Path, runs: Path, name: str) -> list[str]:
    data = "spoken_captions" if script == "train_asr" else "painted_birds"
    more = [f"encoder={world / 'damsm'}"] if script.startswith("train_gan") else []
    if script.endswith("projected"):
        more += [f"backbone_weights={runs / 'squeezenet1_1.pth'}"]
        if not (runs / "squeezenet1_1.pth").exists():
            torch.save(squeezenet1_1(weights=None).state_dict(), runs / "squeezenet1_1.pth")
    return [
        sys.executable, str(root / f"{script.split()[0]}.py"), *TRAININGS[script], *more,
        f"data.root={world / data}", f"data.cache={world / data / 'cache'}",
        f"run.root={runs}", f"run.name={name}", f"run.steps={STEPS}", f"run.save_every={SAVED}",
        "run.log_every=1", "run.sample_every=0", "run.threads=1",
    ]  # fmt: skip


def kill_after_a_checkpoint(words: list[str], run: Path) -> None:
    """Start a training and kill -9 it once it is past its first checkpoint and not yet at its end."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        metrics = run / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if (run / "checkpoint.pt").exists() and metrics.read_text().count("\n") > SAVED:
                break
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        error = process.communicate()[1]
    assert (run / "checkpoint.pt").exists(), error
    assert torch.load(run / "checkpoint.pt", weights_only=True)["step"] < STEPS, (
        "it ended before it could be killed"
    )


def losses(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_equal(a: object, b: object, at: str = "") -> None:
    if isinstance(a, dict):
        assert isinstance(b, dict) and a.keys() == b.keys(), at
        for key in a:
            if key != "elapsed":
                assert_equal(a[key], b[key], f"{at}.{key}")
    elif isinstance(a, list | tuple):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):  # type: ignore[call-overload]
            assert_equal(x, y, f"{at}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), at  # type: ignore[arg-type]
    else:
        assert a == b, at


@pytest.mark.parametrize("script", TRAININGS)
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    script: str, root: Path, tiny_world: Path, tmp_path: Path
):
    def run(name: str) -> None:  # in this process, which saves its start: what is killed has one of its own
        words = command(root, script, tiny_world, tmp_path, name)[2:]
        module = importlib.import_module(script.split()[0].replace("train_", "training."))
        schema = getattr(module, SCHEMAS[script.split()[0]])
        module.train(load_config(script.split()[0], schema, words))

    run("whole")
    kill_after_a_checkpoint(command(root, script, tiny_world, tmp_path, "killed"), tmp_path / "killed")
    run("killed")

    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) >= STEPS
    checkpoints = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "killed")
    ]
    assert_equal(*checkpoints)
    models = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert models[0] == models[1]


def test_another_configuration_is_refused(root: Path, tiny_world: Path, tmp_path: Path):
    words = command(root, "train_classifier", tiny_world, tmp_path, "run")
    assert subprocess.run(words, capture_output=True).returncode == 0
    again = subprocess.run([*words, "width=8"], capture_output=True, text=True)
    assert again.returncode == 2
    assert again.stderr.startswith("error: ") and "width (4 then, 8 now)" in again.stderr
    path = tmp_path / "run" / "config.yaml"  # as an older code left it, which did not know this key
    path.write_text(re.sub(r"^lr: .*\n", "", path.read_text(), flags=re.MULTILINE))
    again = subprocess.run([*words, "lr=0.5"], capture_output=True, text=True)
    assert again.returncode == 2 and "lr (" in again.stderr
    complete = subprocess.run(words, capture_output=True, text=True)
    assert complete.returncode == 0 and "is complete (12 steps)" in complete.stdout


def test_a_run_given_more_steps_is_complete_once_its_model_is_of_these(
    root: Path, tiny_world: Path, tmp_path: Path
):
    words = command(root, "train_classifier", tiny_world, tmp_path, "run")
    subprocess.run(words, check=True, capture_output=True)
    path = tmp_path / "run" / "model" / "config.json"
    of_fewer = path.read_text().replace(f'"steps": {STEPS}', f'"steps": {STEPS - 1}')
    path.write_text(of_fewer)  # as the run would be left by a kill between its checkpoint and its model
    again = subprocess.run(words, capture_output=True, text=True)
    assert again.returncode == 0 and "is complete" not in again.stdout
    assert read_json(path)["training"]["steps"] == STEPS


def test_rates_fall_to_zero_over_the_last_share_of_the_steps():
    rates = [linear_end(step, 100, 0.25) for step in (0, 75, 80, 90, 100)]
    assert rates == pytest.approx([1, 1, 0.8, 0.4, 0])
    assert all(linear_end(step, 100, 0.0) == 1 for step in range(100))
