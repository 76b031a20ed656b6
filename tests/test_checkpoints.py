"""Files of weights: what is read, and what is said of those that are something else. core/checkpoints.py."""

import random
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.checkpoints import read_checkpoint, read_tensors
from core.errors import UserError

W = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    "content",
    [
        {"w": W},
        OrderedDict(w=W),
        {"w": W, "epoch": 3, "name": "x", "best": np.float64(0.5), "seen": np.int64(7)},
        {"state_dict": {"w": W}, "optimizer": {"lr": 1.0}, "epoch": np.int64(3)},
        {"g_ema": {"module.module.w": W}, "args": None},
        {"model": {"module.w": W}},
        {"w": W.half()},
        {"w": W.double()},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_in_the_layouts_that_people_save(content: dict, zipped: bool, tmp_path: Path):
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    (name, value), *rest = read_tensors(tmp_path / "a.pth").items()
    assert not rest and name == "w" and value.dtype == torch.float32 and torch.equal(value, W)


def test_numbers_of_numpy_become_python_s(tmp_path: Path):
    values = [np.float32(0.5), np.float64(-2.5), np.int64(-7), np.int32(7), np.uint8(200), np.bool_(True)]
    torch.save({"values": values}, tmp_path / "a.pt")
    read = read_checkpoint(tmp_path / "a.pt")["values"]
    assert read == [0.5, -2.5, -7, 7, 200, True] and all(type(v) in (int, float, bool) for v in read)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"PK", "cut short, damaged, or no file of weights"),
        (b"hello world", "cut short, damaged, or no file of weights"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"\n <HTML><head>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x80\x02]q\x00.", "cut short, damaged, or no file of weights"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_file_of_weights_is_called_what_it_is(
    content: bytes, said: str, suffix: str, tmp_path: Path
):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError) as told:
        read_tensors(path)
    message = str(told.value)
    assert "\n" not in message and "weights_only" not in message and str(path) in message
    assert said in message or (suffix == ".safetensors" and "no .safetensors file" in message)


def test_missing_files_and_folders(tmp_path: Path):
    for path in (tmp_path / "none.pth", tmp_path, Path("a\0b.pth"), tmp_path / "none.safetensors"):
        with pytest.raises(UserError, match="cannot read the weights"):
            read_tensors(path)


class Custom:
    pass


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds a list"),
        (3, "holds a int"),
        ({}, "nothing at all"),
        ({"a": {"b": 1}}, 'its first key is "a"'),
        ({1: W}, "does not hold tensors by name"),
        ({"w": W, "more": {"x": 1}}, "'more' beside them"),
        ({"w": torch.tensor([1.0, float("nan")])}, r"'w' \(2,\) holds NaN or infinite"),
        ({"w": torch.tensor([1.0, float("inf")]).half()}, r"'w' \(2,\) holds NaN or infinite"),
        ({"w": torch.tensor([1e300], dtype=torch.float64)}, r"'w' \(1,\) holds NaN or infinite"),
        ({"w": W * 1j}, r"'w' \(2, 3\) holds complex numbers"),
        ({"w": torch.ones(1).expand(10**12)}, "claims more numbers than its file holds"),
        ({"w": torch.empty(3, device="meta")}, "is not a plain tensor"),
        ({"w": Custom()}, "the code of .*Custom would have to run"),
    ],
)
def test_content_that_is_no_weights(content: object, said: str, tmp_path: Path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match=said):
        read_tensors(tmp_path / "a.pth")


def test_flipped_bits_change_no_weight_unseen(tmp_path: Path):
    path, draw = tmp_path / "a.pth", random.Random(0)
    torch.save({"w": torch.randn(300)}, path)
    right, whole, refused = read_tensors(path)["w"], path.read_bytes(), 0
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            assert torch.equal(read_tensors(path)["w"], right)  # the bit was in padding between the parts
        except UserError:
            refused += 1
    assert refused > 50


def test_safetensors_are_checked_alike(tmp_path: Path):
    save_file({"w": torch.tensor([float("nan")])}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="'w' .* holds NaN"):
        read_tensors(tmp_path / "a.safetensors")
