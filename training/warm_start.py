"""Starting from a trained generator: the same sizes, a smaller one that grows, or Stage I for Stage II."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from core.errors import UserError
from core.model_folder import load_discriminators, load_model
from t2i.painter import Painter


def start_from(folder: str, networks: Mapping[str, nn.Module], encoder: str) -> dict[str, Any]:
    """Give the networks a trained painter's weights; what it lacks, such as Stage II, begins anew, and so do
    discriminators that do not fit. encoder: checksum of the text encoder.

    Returns which painter it is, with all the images that it had seen and the hours of its training.

    Raises UserError where a tensor of its generator has no place here, or it was trained with another text encoder.
    """
    files = load_model(folder, Painter.kind)
    trained_with = files.training.get("encoder", encoder)
    if trained_with != encoder:
        raise UserError(
            f"{folder} was trained with another text encoder; set encoder to that one (SHA-256 {trained_with[:16]})"
        )
    begun = load_parts(networks["generator"], files.state, "generator.", folder)
    told = f"{folder}: started from its generator" + (
        f", of which {begun} tensors begin anew" if begun else ""
    )
    if (Ds := networks.get("discriminators")) is not None:
        beside = load_discriminators(folder)
        shapes = [{key: value.shape for key, value in state.items()} for state in (beside, Ds.state_dict())]
        if fit := shapes[0] == shapes[1]:
            Ds.load_state_dict(beside)
        told += f"; its discriminators {'go on' if fit else 'begin anew'}"
    print(told)
    earlier = files.training.get("before", {})
    pictures = files.training.get("steps", 0) * files.training.get("batch", 0) + earlier.get("pictures", 0)
    hours = files.training.get("hours", 0.0) + earlier.get("hours", 0.0)
    return {"painter": files.checksum, "pictures": pictures, "hours": round(hours, 4)}


def load_parts(module: nn.Module, state: dict[str, Tensor], prefix: str, source: str) -> int:
    """Load what `state` has under `prefix`; returns how many tensors of the module it lacks."""
    weights = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    own = module.state_dict()
    for key, value in weights.items():
        if key not in own or own[key].shape != value.shape:
            expected = (
                f"{tuple(own[key].shape)} was expected" if key in own else "which this network does not have"
            )
            raise UserError(
                f"{source}: {prefix}{key} has shape {tuple(value.shape)}, {expected}; choose the same sizes (to "
                "grow: gan.grown_from its side, half its width and twice its gan.max_multiplier for every doubling)"
            )
    module.load_state_dict(weights, strict=False)
    return len(own.keys() - weights.keys())
