"""A model on disk: `model.safetensors`, `config.json`, `vocabulary.json` and a card in `README.md`.

A folder needs nothing else to be loaded; `weights/` and `runs/*/model` hold such folders.
"""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from core.errors import UserError
from core.files import make_folder, read_json, sha256, write_bytes, write_json, write_text

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ModelFiles:
    """What a model folder holds; `state` in float32."""

    folder: Path
    kind: str
    state: dict[str, torch.Tensor]
    config: dict[str, Any]
    vocabulary: Any
    training: dict[str, Any]
    checksum: str


def save_model(
    folder: Path | str,
    kind: str,
    state: dict[str, torch.Tensor],
    config: dict[str, Any],
    card: str,
    vocabulary: Any = None,
    training: dict[str, Any] | None = None,
    half: bool = True,
) -> Path:
    """Write a model folder: `kind` names the class of model, `config` rebuilds it, `training` says what made it.

    With `half` the floating-point tensors are stored as float16.
    """
    folder = make_folder(folder)
    tensors = {key: _stored(value, half) for key, value in state.items()}
    write_bytes(folder / "model.safetensors", save(tensors))
    if vocabulary is not None:
        write_json(folder / "vocabulary.json", vocabulary)
    write_text(folder / "README.md", card)
    write_json(
        folder / "config.json",
        {"kind": kind, "format_version": FORMAT_VERSION, "config": config, "training": training or {}},
    )
    return folder


def save_discriminators(folder: Path | str, state: dict[str, torch.Tensor]) -> None:
    """Beside a generator, those that it was trained with, in float32; nobody who paints needs them."""
    tensors = {key: _stored(value, half=False) for key, value in state.items()}
    write_bytes(Path(folder) / "discriminators.safetensors", save(tensors))


def load_discriminators(folder: Path | str) -> dict[str, torch.Tensor]:
    """What lies beside a generator, which may be nothing. Raises UserError where the file is damaged."""
    path = Path(folder) / "discriminators.safetensors"
    return read_tensors(path) if path.exists() else {}


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """A file of tensors by name, .safetensors or PyTorch's own, in float32.

    Raises UserError where it is missing, damaged, or would need code to be run.
    """
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        return {key: v.float() if v.is_floating_point() else v for key, v in tensors.items()}
    except (OSError, SafetensorError, RuntimeError, EOFError, AttributeError, UnpicklingError) as error:
        raise UserError(
            f"cannot read the weights {path} ({str(error).splitlines()[0]}); restore the file"
        ) from error


def _stored(value: torch.Tensor, half: bool) -> torch.Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if half and value.is_floating_point() else value.clone()


def load_model(folder: Path | str, kind: str) -> ModelFiles:
    """Read a model folder of the given kind.

    Raises UserError where the folder or a file is missing or damaged, where it holds another kind of model,
    or was written in another format version.
    """
    folder = Path(folder)
    header = _header(folder, kind)
    if header["kind"] != kind:
        raise UserError(f'{folder} holds a "{header["kind"]}" model, a "{kind}" model was expected')
    if header["format_version"] != FORMAT_VERSION:
        raise UserError(
            f"{folder} has format version {header['format_version']}, this code reads {FORMAT_VERSION}; "
            "use the release that wrote it, or train the model again"
        )
    path = folder / "model.safetensors"
    state = read_tensors(path)
    vocabulary = read_json(folder / "vocabulary.json") if (folder / "vocabulary.json").exists() else None
    return ModelFiles(
        folder, kind, state, header["config"], vocabulary, header.get("training", {}), sha256(path)
    )


def model_kind(folder: Path | str) -> str:
    """Which class of model a folder holds. Raises UserError where it holds none."""
    return str(_header(Path(folder), "trained")["kind"])


def _header(folder: Path, kind: str) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise UserError(
            f"no {kind} model at {folder}: a model folder holds config.json and model.safetensors. "
            "Train one (recipes/painted_birds.sh quick) or name another folder"
        )
    header = read_json(folder / "config.json")
    if not isinstance(header, dict) or not {"kind", "format_version", "config"} <= header.keys():
        raise UserError(f"{folder}/config.json is not a model's header; restore it or train the model again")
    return header


def load_weights(module: torch.nn.Module, state: dict[str, torch.Tensor], source: Path | str) -> None:
    """Load `state` strictly. Raises UserError naming the first key that is missing, unknown or of another shape."""
    own = module.state_dict()
    for key in own:
        if key not in state:
            raise UserError(f"{source} lacks {key} {tuple(own[key].shape)}: it was saved by another model")
        if state[key].shape != own[key].shape:
            raise UserError(
                f"{source}: {key} has shape {tuple(state[key].shape)}, {tuple(own[key].shape)} was expected: "
                "its config does not match"
            )
    unknown = [key for key in state if key not in own]
    if unknown:
        raise UserError(
            f"{source} has {unknown[0]} {tuple(state[unknown[0]].shape)}, which the model does not know"
        )
    module.load_state_dict(state, assign=True)  # which a module on the meta device needs
