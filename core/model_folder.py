"""A model on disk: `model.safetensors`, `config.json`, `vocabulary.json` and a card in `README.md`.

A folder needs nothing else to be loaded; `weights/` and `runs/*/model` hold such folders.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from safetensors.torch import save
from torch.overrides import TorchFunctionMode

from core.checkpoints import read_tensors
from core.errors import UserError
from core.fields import build, shown
from core.files import make_folder, read_json, sha256, write_bytes, write_json, write_text

FORMAT_VERSION = 2  # 1: keys may be missing, which then have their defaults, and bear older names
# parts of tensors' names in earlier releases -> today's
RENAMED = {"trunk": "backbone"}
HEADER = {"kind": str, "format_version": int, "config": dict, "training": dict}


class ModelFiles(NamedTuple):
    """What a model folder holds; `state` in float32."""

    folder: Path
    kind: str
    state: dict[str, torch.Tensor]
    config: dict[str, Any]
    vocabulary: Any
    training: dict[str, Any]
    checksum: str
    version: int = FORMAT_VERSION

    @property
    def config_path(self) -> str:
        """How messages call the file that `config` comes from."""
        return str(self.folder / "config.json")


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
    return renamed(read_tensors(path)) if path.exists() else {}


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors by their names, with today's in place of those of earlier releases."""
    return {
        ".".join(RENAMED.get(part, part) for part in key.split(".")): value for key, value in state.items()
    }


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
        raise UserError(f"{folder} holds a {shown(header['kind'])} model, a {shown(kind)} model was expected")
    version = header["format_version"]
    if not 1 <= version <= FORMAT_VERSION:
        raise UserError(
            f"{folder} has format version {shown(version)}, this code reads 1 to {FORMAT_VERSION}; "
            "use the release that wrote it, or train the model again"
        )
    path = folder / "model.safetensors"
    state = renamed(read_tensors(path))
    vocabulary = read_json(folder / "vocabulary.json") if (folder / "vocabulary.json").exists() else None
    training = header.get("training", {})
    return ModelFiles(folder, kind, state, header["config"], vocabulary, training, sha256(path), version)


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
    for key, of in HEADER.items():
        missing = not isinstance(header, dict) or (key not in header and key != "training")
        if missing or not isinstance(header.get(key, {}), of) or isinstance(header.get(key), bool):
            found = f"no {key}" if missing else f"{key}={shown(header[key])}"
            raise UserError(
                f"{folder}/config.json is not a model's header: it has {found}; restore it or train the model again"
            )
    return header


class _NoInitialValues(TorchFunctionMode):
    """Leaves tensors as they are where torch.nn.init would draw values for them; in this thread alone."""

    DRAWING = frozenset({torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.zero_, torch.Tensor.fill_})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensor = kwargs.get("tensor", args[0] if args else None)
        if getattr(func, "__module__", None) == "torch.nn.init" or (func in self.DRAWING and tensor.is_meta):
            return tensor
        return func(*args, **kwargs)


@contextmanager
def meta_device() -> Iterator[None]:
    """Build a model whose every value `load_weights` replaces: nothing is allocated, nothing drawn.

    Without the second context torch would draw on the meta device, for which it imports its compiler: 2 s.
    """
    with torch.device("meta"), _NoInitialValues():
        yield


def load_weights(module: torch.nn.Module, state: dict[str, torch.Tensor], source: Path | str) -> None:
    """Give a module, which may be on the meta device, exactly the tensors of `state`.

    Raises UserError naming the first key that is missing, unknown, or of another shape or type.
    """
    own = module.state_dict()
    for key, expected in own.items():
        if key not in state:
            raise UserError(f"{source} lacks {key} {tuple(expected.shape)}: it was saved by another model")
        found = state[key]
        if found.shape != expected.shape:
            raise UserError(
                f"{source}: {key} has shape {tuple(found.shape)}, {tuple(expected.shape)} was expected: "
                "its config does not match"
            )
        if found.is_floating_point() != expected.is_floating_point():
            types = [str(t.dtype).removeprefix("torch.") for t in (found, expected)]
            raise UserError(f"{source}: {key} holds {types[0]}, {types[1]} was expected; restore the file")
    unknown = [key for key in state if key not in own]
    if unknown:
        raise UserError(
            f"{source} has {unknown[0]} {tuple(state[unknown[0]].shape)}, which the model does not know"
        )
    # assigned rather than copied, which a module on the meta device needs
    module.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()}, assign=True)


class FromConfig(Protocol):
    """A class of networks of which a config says everything; `checksum` is that of the weights."""

    kind: str
    checksum: str

    def __init__(self, config: Any) -> None: ...


N = TypeVar("N", bound=FromConfig)


def load_network(network: type[N], config: type[Any], folder: Path | str) -> N:
    """A trained network of a class of config dataclass `config`, frozen, in eval mode. Raises UserError as `load_model`
    does."""
    files = load_model(folder, network.kind)
    settings = build(config, files.config, f"{folder}/config.json")
    with meta_device():
        model = network(settings)
    assert isinstance(model, torch.nn.Module)
    load_weights(model, files.state, folder)
    model.checksum = files.checksum
    model.eval().requires_grad_(False)
    return model
