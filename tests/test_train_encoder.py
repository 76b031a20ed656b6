"""What train_encoder.py refuses: one line, before anything is written."""

from pathlib import Path

import pytest

from core.errors import UserError
from data.sets import ImageData
from t2i.encoders.char_cnn_rnn import CharEncoderConfig
from t2i.encoders.damsm import DamsmConfig
from training.config import RunConfig
from training.encoder import TrainEncoder, train


def settings(world: Path, runs: Path, **changes) -> TrainEncoder:
    birds = world / "painted_birds"
    run = RunConfig(name="a", root=str(runs / "runs"), steps=1, sample_every=0, device="cpu", threads=1)
    data = ImageData(root=str(birds), cache=str(birds / "cache"))
    sizes = DamsmConfig(embedding=8, word_width=4, image_width=2, image_size=32)
    return TrainEncoder(**{"data": data, "run": run, "encoder": sizes, "batch": 4} | changes)


def refused(config: TrainEncoder, runs: Path) -> str:
    with pytest.raises(UserError) as caught:
        train(config)
    assert "\n" not in str(caught.value) and not (runs / "runs").exists()
    return str(caught.value)


@pytest.mark.parametrize("sizes", [DamsmConfig(), CharEncoderConfig()])
def test_a_batch_of_one_has_nothing_to_tell_apart(sizes, tiny_world: Path, tmp_path: Path):
    found = refused(settings(tiny_world, tmp_path, batch=1, encoder=sizes), tmp_path)
    assert found == "batch=1: the loss tells the pairs of a batch from each other; choose 2 or more"


def test_several_processes_are_refused(tiny_world: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = refused(settings(tiny_world, tmp_path), tmp_path)
    assert (
        found.startswith("train_encoder.py trains in one process, and 2 would")
        and "without torchrun" in found
    )
    monkeypatch.setenv("WORLD_SIZE", "1")  # as torchrun --nproc-per-node 1 has it
    train(settings(tiny_world, tmp_path))
    assert (tmp_path / "runs" / "a" / "model" / "config.json").is_file()


def test_a_batch_larger_than_the_set(tiny_world: Path, tmp_path: Path):
    with pytest.raises(
        UserError, match="the data has 24 items, fewer than one batch of 500; use a smaller batch"
    ):
        train(settings(tiny_world, tmp_path, batch=500))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("lr", -1.0, "lr=-1.0"),
        ("clip", float("nan"), "clip=nan"),
        ("hard_negatives", -1, "hard_negatives=-1"),
    ],
)
def test_settings_out_of_range(key, value, said, tiny_world: Path, tmp_path: Path):
    assert said in refused(settings(tiny_world, tmp_path, **{key: value}), tmp_path)
