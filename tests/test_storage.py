"""Files are whole or absent, model folders say what they are, mistakes take one line."""

import json
import os
import resource
from pathlib import Path

import pytest
import torch

from core.errors import UserError, run_cli, suggest
from core.files import write_atomically, write_json, write_text, write_torch
from core.model_folder import load_model, load_weights, save_model


def test_a_failed_write_keeps_the_old_file(tmp_path: Path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def fail(beside: Path) -> None:
        beside.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(
        UserError, match="cannot write .*No space left on device; the file that was there is kept"
    ):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_full_disk_spares_the_previous_checkpoint(tmp_path: Path):
    """A limit on the size of files stands for the full disk: the second, larger checkpoint does not fit."""
    path = tmp_path / "checkpoint.pt"
    write_torch(path, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # Python ignores the signal SIGXFSZ
    try:
        with pytest.raises(UserError, match="^cannot write .*; the file that was there is kept"):
            write_torch(path, {"step": 2, "x": torch.rand(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_a_folder_in_the_way_is_named(tmp_path: Path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match="cannot make the folder .*runs/a"):
        write_json(tmp_path / "runs" / "a" / "x.json", {})


def make(folder: Path) -> Path:
    return save_model(
        folder, "damsm", {"w": torch.ones(3), "n": torch.tensor(5)}, {"E": 3}, "# card", ["<end>"]
    )


def test_model_folder_round_trip(tmp_path: Path):
    files = load_model(make(tmp_path / "m"), "damsm")
    assert (files.config, files.vocabulary) == ({"E": 3}, ["<end>"])
    assert files.state["w"].dtype == torch.float32 and files.state["n"].item() == 5
    assert len(files.checksum) == 64
    assert sorted(os.listdir(tmp_path / "m")) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "vocabulary.json",
    ]


def test_another_kind_version_or_a_damaged_file_is_named(tmp_path: Path):
    folder = make(tmp_path / "m")
    with pytest.raises(UserError, match='holds a "damsm" model, a "painter" model was expected'):
        load_model(folder, "painter")
    with pytest.raises(UserError, match="no painter model at .*nowhere"):
        load_model(tmp_path / "nowhere", "painter")

    header = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(header | {"format_version": 99}))
    with pytest.raises(UserError, match="format version 99, this code reads 1"):
        load_model(folder, "damsm")
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        load_model(folder, "damsm")

    folder = make(tmp_path / "other")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(UserError, match="cannot read the weights"):
        load_model(folder, "damsm")


def test_weights_that_do_not_fit_say_which_key():
    module = torch.nn.Linear(2, 3)
    state = module.state_dict()
    with pytest.raises(UserError, match=r"lacks bias \(3,\)"):
        load_weights(module, {"weight": state["weight"]}, "file")
    with pytest.raises(UserError, match=r"bias has shape \(4,\), \(3,\) was expected"):
        load_weights(module, state | {"bias": torch.ones(4)}, "file")
    with pytest.raises(UserError, match=r"has more \(1,\), which the model does not know"):
        load_weights(module, state | {"more": torch.ones(1)}, "file")


def test_user_errors_take_one_line(capsys):
    def main() -> None:
        raise UserError("found a, expected b; do c")

    with pytest.raises(SystemExit) as end:
        run_cli(main)
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: found a, expected b; do c\n"


def test_the_nearest_name_is_suggested():
    assert suggest("stpes", ["steps", "seed"]) == ' (did you mean "steps"?)'
    assert suggest("zzz", ["steps"]) == ""
