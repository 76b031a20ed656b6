"""Kill -9 in the middle of a training, run the same command: the losses and weights of a run never killed."""

import importlib
import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from torchvision.models import squeezenet1_1

from core.files import read_json
from t2i.encoders.registry import load_encoder
from t2i.families.attngan import AttnGanConfig, Generator
from t2i.painter import painter_of
from training.config import load_config
from training.schedule import linear_end

STEPS, SAVED = 6, 2
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
    "train_gan grown": [  # from a painter of one stage, which goes on slowly; the second has noise of its own
        "gan.stages=2", "gan.width=4", "gan.discriminator_width=4", "gan.condition=6", "gan.noise=5",
        "gan.residual_blocks=1", "gan.stage_noise=3", "gan.mode_seeking_weight=0.5", "gan.consistency_weight=1.0",
        "earlier_rate=0.1", "batch=4",
    ],
    "train_gan frozen": [
        "gan.stages=2", "gan.width=4", "gan.discriminator_width=4", "gan.condition=6", "gan.noise=5",
        "gan.residual_blocks=1", "earlier_rate=0", "batch=4",
    ],
    "train_asr": [
        "model.width=16", "model.heads=2", "model.encoder_layers=1", "model.decoder_layers=1",
        "model.feed_forward=16", "batch_seconds=20", "warmup=2", "validation_clips=2", "beam=2",
    ],
}  # fmt: skip


def words_of(script: str, world: Path, runs: Path, name: str) -> list[str]:
    """What is typed after the script's name for the run `name`."""
    data = "spoken_captions" if script == "train_asr" else "painted_birds"
    more = [f"encoder={world / 'damsm'}"] if script.startswith("train_gan") else []
    if script.endswith("projected"):
        more += [f"backbone_weights={runs / 'squeezenet1_1.pth'}"]
        if not (runs / "squeezenet1_1.pth").exists():
            torch.save(squeezenet1_1(weights=None).state_dict(), runs / "squeezenet1_1.pth")
    if script.endswith(("grown", "frozen")):
        more += [f"start={one_stage(world / 'damsm', runs / 'one_stage')}"]
    return [
        *TRAININGS[script], *more, f"data.root={world / data}", f"data.cache={world / data / 'cache'}",
        f"run.root={runs}", f"run.name={name}", f"run.steps={STEPS}", f"run.save_every={SAVED}",
        "run.log_every=1", "run.sample_every=0", "run.threads=1",
    ]  # fmt: skip


def one_stage(encoder: Path, folder: Path) -> Path:
    """An AttnGAN painter to grow from, which has learnt nothing."""
    if not folder.exists():
        torch.manual_seed(0)
        damsm = load_encoder(encoder)
        sizes = AttnGanConfig(stages=1, width=4, embedding=16, condition=6, noise=5, residual_blocks=1)
        painter_of(Generator(sizes), damsm).save(folder, "# card", {"encoder": damsm.checksum})
    return folder


def train(script: str, words: list[str]) -> None:
    script = script.split()[0]
    module = importlib.import_module(script.replace("train_", "training."))
    module.train(load_config(script, getattr(module, SCHEMAS[script]), words))


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
    script: str, tiny_world: Path, tmp_path: Path, killed_after
):
    def run(name: str) -> None:
        train(script, words_of(script, tiny_world, tmp_path, name))

    run("whole")
    killed_after(SAVED + 2, lambda: run("killed"))
    killed = tmp_path / "killed"
    assert torch.load(killed / "checkpoint.pt", weights_only=True)["step"] == SAVED
    assert len(losses(killed)) == SAVED + 2 and not (killed / "model").exists()
    run("killed")

    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) >= STEPS
    checkpoints = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "killed")
    ]
    assert_equal(*checkpoints)
    models = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert models[0] == models[1]


def type_command(monkeypatch: pytest.MonkeyPatch, root: Path, words: list[str]) -> int:
    """Run train_classifier.py as python would, in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["train_classifier.py", *words])
    monkeypatch.setattr("core.interrupts.catch_signals", lambda: None)  # they are pytest's
    try:
        runpy.run_path(str(root / "train_classifier.py"), run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_another_configuration_is_refused(root: Path, tiny_world: Path, tmp_path: Path, monkeypatch, capsys):
    words = words_of("train_classifier", tiny_world, tmp_path, "run")
    assert type_command(monkeypatch, root, words) == 0
    capsys.readouterr()
    assert type_command(monkeypatch, root, [*words, "width=8"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "width (4 then, 8 now)" in error and error.count("\n") == 1
    path = tmp_path / "run" / "config.yaml"  # as an older code left it, which did not know this key
    path.write_text(re.sub(r"^lr: .*\n", "", path.read_text(), flags=re.MULTILINE))
    assert type_command(monkeypatch, root, [*words, "lr=0.5"]) == 2
    assert "lr (" in capsys.readouterr().err
    assert type_command(monkeypatch, root, words) == 0
    assert f"is complete ({STEPS} steps)" in capsys.readouterr().out


def test_a_run_given_more_steps_is_complete_once_its_model_is_of_these(
    tiny_world: Path, tmp_path: Path, capsys
):
    words = words_of("train_classifier", tiny_world, tmp_path, "run")
    train("train_classifier", words)
    path = tmp_path / "run" / "model" / "config.json"
    of_fewer = path.read_text().replace(f'"steps": {STEPS}', f'"steps": {STEPS - 1}')
    path.write_text(of_fewer)  # as the run would be left by a kill between its checkpoint and its model
    train("train_classifier", words)
    assert "is complete" not in capsys.readouterr().out
    assert read_json(path)["training"]["steps"] == STEPS


def test_rates_fall_to_zero_over_the_last_share_of_the_steps():
    rates = [linear_end(step, 100, 0.25) for step in (0, 75, 80, 90, 100)]
    assert rates == pytest.approx([1, 1, 0.8, 0.4, 0])
    assert all(linear_end(step, 100, 0.0) == 1 for step in range(100))
