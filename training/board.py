"""What a training shows in TensorBoard: `tensorboard --logdir runs`."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from core.files import writing


class Board:
    """Writes TensorBoard's files from the first value on. Raises UserError where they cannot be written."""

    def __init__(self, folder: Path, kept: Callable[[], str]):
        """kept: what a failure does not lose, for messages."""
        self._folder, self._kept = folder, kept
        self._opened: SummaryWriter | None = None
        self._last: dict[str, float] = {}

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self._last |= values
        for key, value in values.items():
            self._add("scalar", key, value, step)

    def image(self, step: int, name: str, picture: Tensor) -> None:
        """picture: uint8 (3, H, W)."""
        self._add("image", name, picture, step)

    def text(self, step: int, name: str, text: str) -> None:
        self._add("text", name, text, step)

    def audio(self, step: int, name: str, samples: Tensor, sample_rate: int) -> None:
        """samples: (S,) in [-1, 1]."""
        self._add("audio", name, samples[None], step, sample_rate=sample_rate)

    def hyperparameters(self, config: dict[str, Any]) -> None:
        """The settings of a finished run beside the last value of each scalar, for TensorBoard's table of runs."""
        found = {key: value for key, value in self._last.items() if not key.startswith("learning_rate/")}
        self._add("hparams", flat(config), found, run_name=".")

    def close(self) -> None:
        if self._opened is not None:
            with writing(self._folder, self._kept()):
                self._opened.close()
            self._opened = None

    def _add(self, kind: str, *values: Any, **more: Any) -> None:
        with writing(self._folder, self._kept()):
            if self._opened is None:
                logging.getLogger("tensorboard").setLevel(logging.ERROR)
                self._opened = SummaryWriter(str(self._folder))
            getattr(self._opened, f"add_{kind}")(*values, **more)


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; lists and nothing as text."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value if isinstance(value, bool | int | float | str) else str(value)
    return found


def as_tensor(page: Image.Image) -> Tensor:
    """A page of `visualization` -> uint8 (3, H, W)."""
    return torch.from_numpy(np.asarray(page.convert("RGB")).transpose(2, 0, 1).copy())
