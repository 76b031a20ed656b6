"""Starting from a trained generator: the same sizes, one with fewer stages or a smaller one that grows, or Stage I for
Stage II."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from core.errors import UserError
from core.model_folder import load_discriminators, load_model
from t2i.painter import Painter


class Start(NamedTuple):
    """before: which painter it was, with all the images that it had seen and the hours of its training; earlier: the
    names of the tensors that it gave each network."""

    before: dict[str, Any]
    earlier: dict[str, list[str]]


def start_from(folder: str, networks: Mapping[str, nn.Module], encoder: str) -> Start:
    """Give the networks a trained painter's weights; what it lacks, such as Stage II or a further stage of AttnGAN,
    begins anew, and so does every discriminator that does not fit. encoder: checksum of the text encoder.

    Raises UserError where a tensor of its generator has no place here, or it was trained with another text encoder.
    """
    files = load_model(folder, Painter.kind)
    trained_with = files.training.get("encoder", encoder)
    if trained_with != encoder:
        raise UserError(
            f"{folder} was trained with another text encoder; set encoder to that one (SHA-256 {trained_with[:16]})"
        )
    G = networks["generator"]
    earlier = {"generator": load_parts(G, files.state, "generator.", folder)}
    begun = len(G.state_dict()) - len(earlier["generator"])
    told = f"{folder}: started from its generator" + (
        f", of which {begun} tensors begin anew" if begun else ""
    )
    if (Ds := networks.get("discriminators")) is not None:
        earlier["discriminators"] = load_fitting(Ds, load_discriminators(folder))
        told += f"; its discriminators {goes_on(Ds, earlier['discriminators'])}"
    print(told)
    before = files.training.get("before", {})
    pictures = files.training.get("steps", 0) * files.training.get("batch", 0) + before.get("pictures", 0)
    hours = files.training.get("hours", 0.0) + before.get("hours", 0.0)
    return Start(
        {"painter": files.checksum, "pictures": pictures, "hours": round(hours, 4)},
        earlier,
    )


def load_parts(module: nn.Module, state: dict[str, Tensor], prefix: str, source: str) -> list[str]:
    """Load what `state` has under `prefix`; returns the names of these tensors in the module."""
    weights = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    own = module.state_dict()
    for key, value in weights.items():
        if key not in own or own[key].shape != value.shape:
            expected = (
                f"{tuple(own[key].shape)} was expected" if key in own else "which this network does not have"
            )
            raise UserError(
                f"{source}: {prefix}{key} has shape {tuple(value.shape)}, {expected}; choose the same sizes (to "
                "grow: AttnGAN more gan.stages; others gan.grown_from its side, half its width and twice its "
                "gan.max_multiplier for every doubling)"
            )
    module.load_state_dict(weights, strict=False)
    return list(weights)


def load_fitting(Ds: nn.Module, state: dict[str, Tensor]) -> list[str]:
    """Give each discriminator of a list the weights of its number, where all of them fit; returns their names."""
    names: list[str] = []
    for number, D in Ds.named_children():
        prefix = f"{number}."
        beside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        theirs, own = ({key: x.shape for key, x in state.items()} for state in (beside, D.state_dict()))
        if theirs == own:
            D.load_state_dict(beside)
            names += [prefix + key for key in beside]
    return names


def goes_on(Ds: nn.Module, names: list[str]) -> str:
    """What became of the discriminators of which `names` were loaded, as messages say it."""
    total, going = len(list(Ds.children())), len({name.partition(".")[0] for name in names})
    if going in (0, total):
        return "go on" if going else "begin anew"
    return f"go on, and {total - going} more begin{'s' if total - going == 1 else ''} anew"


# ---- the pace of what was loaded ----


def freeze(network: nn.Module, names: Collection[str]) -> None:
    """What has these names in a network learns no more, and computes what it did when it was saved: its BatchNorms take
    their running statistics and leave them. As nothing before it learns, its activations need not be kept."""
    frozen = set(names)
    for path, module in network.named_modules():
        prefix = f"{path}." if path else ""
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        if own and all(prefix + name in frozen for name, _ in own):
            module.eval()
        for name, parameter in module.named_parameters(recurse=False):
            if prefix + name in frozen:
                parameter.requires_grad_(False)


def paced(network: nn.Module, names: Collection[str], pace: float) -> list[dict[str, Any]]:
    """An optimizer's groups: what learns of a network, and of it what has these names at `pace` times the rate."""
    earlier = set(names) if pace != 1 else set()
    groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups[name in earlier].append(parameter)
    scales = (1.0, pace)
    return [{"params": g, "scale": scale} for g, scale in zip(groups, scales, strict=True) if g]
