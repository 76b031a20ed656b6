"""A run on disk: runs/<name>/ with its configuration, checkpoint, measurements, samples and model folder."""

import json
import logging
import pickle
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from core.errors import UserError
from core.files import make_folder, read_json, write_atomically, write_text, write_torch
from core.runtime import code_revision
from training.config import RunConfig, as_dict, differences, with_defaults

# What may change between a run and its continuation without changing what it computes
FREE_KEYS = (
    "run.steps",
    "run.root",
    "run.name",
    "run.log_every",
    "run.save_every",
    "run.sample_every",
    "run.threads",
    "run.device",
    "data.terms",
    "snapshot_every",
    "measure_every",
    "measure_pictures",
)


class Run:
    """The folder of one training run, and the loop's bookkeeping.

    The loop that uses it:

        run = Run(config, config.run)
        state = run.restore()                     # None at the first start
        for step in run.steps(state):             # progress bar, Ctrl-C between steps
            ...
            run.log(step, loss=loss)
            if run.due(step, config.run.save_every):
                run.save(step, model=model.state_dict(), ...)
    """

    def __init__(self, config: Any, settings: RunConfig, writes: bool = True):
        """writes: False for all but one of several processes that train together; they read the checkpoint only."""
        self.settings, self.writes = settings, writes
        self.folder = make_folder(Path(settings.root) / settings.name)
        self.model_folder = self.folder / "model"
        self._config = as_dict(config)
        self._refuse_another_config(config)
        self._write_config()
        self._stop = False

        self._board: SummaryWriter | None = None
        self._bar: tqdm | None = None
        self._started = time.monotonic()
        self._elapsed_before = 0.0

    # ---- configuration ----

    def _refuse_another_config(self, config: Any) -> None:
        path = self.folder / "config.yaml"
        if not path.exists():
            return
        old: Any = OmegaConf.to_container(OmegaConf.load(path))
        # what the code has learned since the run began must not end it: a new key's default is what was done before
        changed = differences(with_defaults(old, config), self._config)
        changed = [difference for difference in changed if not difference.startswith(FREE_KEYS)]
        if changed:
            raise UserError(
                f"{self.folder} was started with another configuration: {', '.join(changed[:3])}; "
                "choose another run.name, or delete the folder to start again"
            )

    def _write_config(self) -> None:
        if not self.writes:
            return
        write_text(self.folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(self._config)))
        started = {"command": " ".join(sys.argv), "commit": code_revision(), "torch": str(torch.__version__)}
        write_text(self.folder / "started.yaml", OmegaConf.to_yaml(OmegaConf.create(started)))

    # ---- checkpoints ----

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def restore(self) -> dict[str, Any] | None:
        """The checkpoint's content, or None where there is none. Raises UserError where it is damaged."""
        if not self.checkpoint.exists():
            self._forget_after(0)
            return None
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(
                f"{self.checkpoint} cannot be read ({str(error).splitlines()[0]}); "
                "delete it to start again, or restore it from a copy"
            ) from error
        self._elapsed_before = state["elapsed"]
        self._forget_after(state["step"])
        return state

    def save(self, step: int, **state: Any) -> None:
        """Write the checkpoint after `step` (0-based) is done; the previous one lives until this is whole."""
        if not self.writes:
            return
        state |= {"step": step + 1, "elapsed": self.elapsed}
        write_torch(self.checkpoint, state)

    def _forget_after(self, step: int) -> None:
        """Drop the measurements of steps that the checkpoint does not hold: they will be made again."""
        path = self.folder / "metrics.jsonl"
        if self.writes and path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] < step]
            if kept != lines:
                write_text(path, "".join(line + "\n" for line in kept))

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, earlier starts included."""
        return self._elapsed_before + time.monotonic() - self._started

    # ---- the loop ----

    def steps(self, state: dict[str, Any] | None) -> Iterator[int]:
        """The steps left to do, with a progress bar; a first Ctrl-C or SIGTERM ends between two steps."""
        first, total = (state["step"] if state else 0), self.settings.steps
        if first and self.writes:
            print(f"{self.folder}: going on from step {first} of {total}", file=sys.stderr)
        quiet = not sys.stderr.isatty()
        before = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGINT, signal.SIGTERM)}
        self._bar = tqdm(
            initial=first, total=total, desc=self.settings.name, unit="step", mininterval=30 if quiet else 0.5,
            dynamic_ncols=not quiet, smoothing=0.05, disable=not self.writes,
        )  # fmt: skip
        try:
            for step in range(first, total):
                yield step
                self._bar.update()
                if self._stop:
                    raise KeyboardInterrupt
        finally:
            self._bar.close()
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._board:
                self._board.close()

    def _ask_to_stop(self, *_: Any) -> None:
        if self._stop:  # a second time: at once
            raise KeyboardInterrupt
        self._stop = True

    def due(self, step: int, every: int) -> bool:
        """True after each `every` steps, after the last one, and when asked to stop; never for every = 0."""
        return every > 0 and ((step + 1) % every == 0 or step + 1 == self.settings.steps)

    def save_due(self, step: int) -> bool:
        return self._stop or self.due(step, self.settings.save_every)

    # ---- measurements ----

    def log(self, step: int, **values: torch.Tensor | float) -> None:
        """Collect scalars; every `log_every` steps their last values go to metrics.jsonl and TensorBoard."""
        if not self.due(step, self.settings.log_every):
            return
        scalars = {k: v.item() if isinstance(v, torch.Tensor) else v for k, v in values.items()}
        bad = [key for key, value in scalars.items() if value != value]
        if bad:
            raise UserError(
                f"{bad[0]} is not a number at step {step}; resume with a lower learning rate or fp32"
            )
        self.record(step, **scalars)
        if self._bar is not None:
            self._bar.set_postfix(
                {key: f"{value:.3g}" for key, value in list(scalars.items())[:4]}, refresh=False
            )

    def record(self, step: int, **scalars: float) -> None:
        """Write scalars of a step at once (a validation, say)."""
        if not self.writes:
            return
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")
        for key, value in scalars.items():
            self._writer().add_scalar(key, value, step)

    def image(self, step: int, name: str, picture: torch.Tensor) -> None:
        """Store a uint8 picture (3, H, W) under samples/ and in TensorBoard."""
        if not self.writes:
            return
        from torchvision.io import write_png

        make_folder(self.folder / "samples")
        path = self.folder / "samples" / f"{name}_{step + 1:06d}.png"
        write_atomically(path, lambda beside: write_png(picture.cpu(), str(beside)))
        self._writer().add_image(name, picture, step)

    def _writer(self) -> SummaryWriter:
        if self._board is None:
            logging.getLogger("tensorboard").setLevel(logging.ERROR)
            self._board = SummaryWriter(str(self.folder / "tensorboard"))
        return self._board

    def is_complete(self, state: dict[str, Any] | None) -> bool:
        """True where nothing is left to do: all steps done, and the model folder written after the last of them."""
        if state is None or state["step"] < self.settings.steps:
            return False
        written = self.model_folder / "config.json"
        # a run that was given more steps has a model of its earlier ones until it writes the next
        if not written.exists() or read_json(written)["training"]["steps"] < self.settings.steps:
            return False
        print(f"{self.folder} is complete ({state['step']} steps); its model is {self.model_folder}")
        return True
