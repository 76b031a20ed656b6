"""A run on disk: runs/<name>/ with its configuration, checkpoint, measurements, samples and model folder."""

import json
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor
from tqdm import tqdm

from core.checkpoints import read_checkpoint
from core.errors import UserError
from core.files import (
    Lock,
    append_line,
    make_folder,
    read_json,
    remove_temporaries,
    write_atomically,
    write_text,
    write_torch,
)  # fmt: skip
from core.interrupts import hold_signals, interrupt
from core.model_folder import renamed
from core.precision import resolve_precision
from core.runtime import code_revision
from training.board import Board
from training.config import RunConfig, as_dict, command_line, differences, with_defaults
from training.distributed import is_first

# What may change between a run and its continuation without changing what its steps compute. More steps than those of
# the first start are taken at the last rate of its schedule (`Run.horizon`).
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


class Checkpoint(dict[str, Any]):
    """What a checkpoint holds; a part that it lacks is a UserError."""

    path: Path

    def __missing__(self, key: str) -> Any:
        raise UserError(
            f'{self.path} holds no "{key}": it is not of this training; restore it, or delete it to start again'
        )


class Run:
    """The folder of one training run, and the loop's bookkeeping.

    The loop that uses it:

        run = Run(config, config.run, device)
        state = run.restore()                     # None at the first start
        for step in run.steps(state):             # progress bar, Ctrl-C between steps
            ...
            run.log(step, loss=loss)
            if run.due(step, config.run.save_every):
                run.save(step, model=model.state_dict(), ...)
    """

    def __init__(self, config: Any, settings: RunConfig, device: torch.device):
        """Of several processes that train together the first alone writes; the others read the checkpoint.

        settings.precision "auto" becomes what it means on this device, or what the run began with, so that a run
        continued on another machine computes what it did.
        """
        self.settings, self.writes = settings, is_first()
        self.folder = make_folder(Path(settings.root) / settings.name)
        self.model_folder = self.folder / "model"
        if self.writes:
            self._lock = Lock(self.folder, "wait for it, or choose another run.name")
            remove_temporaries(self.folder)
        old = self._read_config()
        if settings.precision == "auto":
            settings.precision = old.get("run", {}).get("precision", "auto") if old else "auto"
        settings.precision = resolve_precision(device, settings.precision, training=True)
        self.horizon = settings.steps  # for the schedules
        self._config = as_dict(config)
        if old is not None:
            self.horizon = old.get("run", {}).get("steps", settings.steps)
            self._refuse_another_config(old, config)
        self._write_config()

        self._looping = False
        self._stop: int | None = None  # the signal that asked for it
        self._saved = 0  # steps
        self._board = Board(self.folder / "tensorboard", lambda: self._kept) if self.writes else None
        self._bar: tqdm | None = None
        self._started = time.monotonic()
        self._elapsed_before = 0.0

    # ---- configuration ----

    def _read_config(self) -> dict[str, Any] | None:
        path = self.folder / "config.yaml"
        if not path.exists():
            return None
        try:
            old: Any = OmegaConf.to_container(OmegaConf.load(path))
        except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException, RecursionError) as error:
            raise UserError(
                f"{path} cannot be read ({str(error).strip().partition(chr(10))[0] or type(error).__name__}); "
                "restore it, or delete the run's folder to start again"
            ) from error
        if not isinstance(old, dict) or not isinstance(old.get("run", {}), dict):
            raise UserError(
                f"{path} is not the configuration of a run; restore it, or delete the folder to start again"
            )
        return old

    def _refuse_another_config(self, old: dict[str, Any], config: Any) -> None:
        # what the code has learned since the run began must not end it: a new key's default is what was done before
        filled = with_defaults(old, config)
        if isinstance(filled.get("run"), dict) and filled["run"].get("precision") == "auto":
            filled["run"]["precision"] = self.settings.precision  # of a run that did not write what it meant
        changed = differences(filled, self._config)
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
        started = {
            "command": shlex.join(command_line()), "commit": code_revision(), "torch": str(torch.__version__),
        }  # fmt: skip
        write_text(self.folder / "started.yaml", OmegaConf.to_yaml(OmegaConf.create(started)))

    # ---- checkpoints ----

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def _kept(self) -> str:
        """What a failure does not lose, for messages."""
        return (
            f"the checkpoint of step {self._saved} is kept, and the same command goes on from it"
            if self._saved
            else ""
        )

    def restore(self) -> Checkpoint | None:
        """The checkpoint's content, or None where there is none. Raises UserError where it is damaged or foreign."""
        if not self.checkpoint.exists():
            self._forget_after(0)
            self.horizon = self.settings.steps
            return None
        content = read_checkpoint(self.checkpoint)
        if not isinstance(content, dict):
            raise UserError(
                f"{self.checkpoint} holds a {type(content).__name__}, not a training; delete it to start again, or "
                "restore it from a copy"
            )
        state = Checkpoint({key: with_todays_names(part) for key, part in content.items()})
        state.path = self.checkpoint
        if not isinstance(state["step"], int) or not isinstance(state["elapsed"], int | float):
            raise UserError(
                f"{self.checkpoint} is not of a training; delete it to start again, or restore it from a copy"
            )
        self.horizon = state.get("horizon", self.horizon)
        self._elapsed_before, self._saved = state["elapsed"], state["step"]
        self._forget_after(state["step"])
        return state

    def save(self, step: int, **state: Any) -> None:
        """Write the checkpoint after `step` (0-based) is done; the previous one lives until this is whole."""
        if self.writes:
            state |= {"step": step + 1, "elapsed": self.elapsed, "horizon": self.horizon}
            write_torch(self.checkpoint, state)
        self._saved = step + 1

    def _forget_after(self, step: int) -> None:
        """Drop the measurements of steps that the checkpoint does not hold: they will be made again."""
        path = self.folder / "metrics.jsonl"
        if self.writes and path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [line for line in lines if _step_of(line) < step]
            if kept != lines:
                write_text(path, "".join(line + "\n" for line in kept))

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, earlier starts included."""
        return self._elapsed_before + time.monotonic() - self._started

    # ---- the loop ----

    def steps(self, state: dict[str, Any] | None) -> Iterator[int]:
        """The steps left to do, with a progress bar; a first Ctrl-C or SIGTERM ends after a step that was saved."""
        first, total = (state["step"] if state else 0), self.settings.steps
        if first and self.writes:
            print(f"{self.folder}: going on from step {first} of {total}", file=sys.stderr)
        if total > self.horizon and self.writes:
            print(
                f"{self.folder}: its learning rates follow the {self.horizon} steps it was started with, and the "
                f"{total - self.horizon} beyond are taken at the last of them; for a schedule of {total} steps choose "
                "another run.name",
                file=sys.stderr,
            )
        quiet = not sys.stderr.isatty()
        self._bar = tqdm(
            initial=first, total=total, desc=self.settings.name, unit="step", mininterval=30 if quiet else 0.5,
            dynamic_ncols=not quiet, smoothing=0.05, disable=not self.writes,
        )  # fmt: skip
        try:
            self._looping = True
            with hold_signals(self._ask_to_stop):
                for step in range(first, total):
                    yield step
                    self._bar.update()
                    if self._stop is not None and self._saved == step + 1:
                        raise interrupt(
                            self._stop, f"stopped after step {step + 1}; the same command goes on from there"
                        )
            if self._board:
                self._board.hyperparameters(self._config)
        finally:
            self._looping = False
            self._bar.close()
            if self._board:
                self._board.close()

    def _ask_to_stop(self, number: int) -> None:
        self._stop = number

    def due(self, step: int, every: int) -> bool:
        """True after each `every` steps and after the last one; never for every = 0."""
        return every > 0 and ((step + 1) % every == 0 or step + 1 == self.settings.steps)

    def save_due(self, step: int) -> bool:
        """True when a checkpoint is due, or one is wanted because the run is asked to stop."""
        return self._stop is not None or self.due(step, self.settings.save_every)

    # ---- measurements ----

    def log(self, step: int, **values: Tensor | float) -> None:
        """Collect scalars; every `log_every` steps their last values go to metrics.jsonl and TensorBoard."""
        if not self.due(step, self.settings.log_every):
            return
        scalars = {k: v.item() if isinstance(v, Tensor) else v for k, v in values.items()}
        bad = [key for key, value in scalars.items() if value != value]
        if bad:
            fp32 = "" if self.settings.precision == "fp32" else ", or with run.precision=fp32"
            raise UserError(
                f"{bad[0]} is not a number at step {step}: the training has diverged; start it again under another "
                f"run.name with a lower learning rate{fp32}"
            )
        self.record(step, **scalars)
        if self._bar is not None:
            self._bar.set_postfix(
                {key: f"{value:.3g}" for key, value in list(scalars.items())[:4]}, refresh=False
            )

    def record(self, step: int, **scalars: float) -> None:
        """Write scalars of a step at once (a validation, say)."""
        if self._board:
            append_line(self.folder / "metrics.jsonl", json.dumps({"step": step, **scalars}), self._kept)
            self._board.scalars(step, scalars)
            if not self._looping:  # the final scores: nobody closes it any more
                self._board.close()

    def rates(self, step: int, **rates: float) -> None:
        """Learning rates, every `log_every` steps, for TensorBoard alone."""
        if self._board and self.due(step, self.settings.log_every):
            self._board.scalars(step, {f"learning_rate/{name}": rate for name, rate in rates.items()})

    def image(self, step: int, name: str, picture: Tensor) -> None:
        """Store a uint8 picture (3, H, W) under samples/ and in TensorBoard."""
        if not self._board:
            return
        from torchvision.io import encode_png

        path = make_folder(self.folder / "samples") / f"{name}_{step + 1:06d}.png"
        encoded = encode_png(picture.cpu()).numpy().tobytes()
        write_atomically(path, lambda beside: beside.write_bytes(encoded))
        self._board.image(step, name, picture)

    def text(self, step: int, name: str, text: str) -> None:
        """A text (Markdown) in TensorBoard: what was transcribed, say."""
        if self._board:
            self._board.text(step, name, text)

    def audio(self, step: int, name: str, samples: Tensor, sample_rate: int) -> None:
        """A clip in TensorBoard: samples (S,) in [-1, 1]."""
        if self._board:
            self._board.audio(step, name, samples, sample_rate)

    def is_complete(self, state: dict[str, Any] | None) -> bool:
        """True where nothing is left to do: all steps done, and the model folder written after the last of them."""
        if state is None or state["step"] < self.settings.steps:
            return False
        written = self.model_folder / "config.json"
        if not written.exists():
            return False
        header = read_json(written)
        training = header.get("training") if isinstance(header, dict) else None
        steps = training.get("steps") if isinstance(training, dict) else None
        # a run that was given more steps has a model of its earlier ones until it writes the next
        if not isinstance(steps, int) or steps < self.settings.steps:
            return False
        print(f"{self.folder} is complete ({state['step']} steps); its model is {self.model_folder}")
        return True


def with_todays_names(part: Any) -> Any:
    """A part of a checkpoint; where it is a network's state, its tensors by today's names."""
    is_state = isinstance(part, dict) and all(isinstance(value, Tensor) for value in part.values())
    return renamed(part) if is_state else part


def _step_of(line: str) -> float:
    """The step of a line of metrics.jsonl; infinite for one that was cut."""
    try:
        return json.loads(line)["step"]
    except (ValueError, TypeError, KeyError):
        return float("inf")
