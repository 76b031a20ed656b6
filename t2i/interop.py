"""The authors' checkpoints: which name and shape of theirs is which of ours, and the sizes that a file tells.

AttnGAN with its DAMSM encoders, StackGAN and StackGAN-v2 in PyTorch, and DF-GAN. A name is that of the network (netG,
netD0, text_encoder, ...) and the key in its file. `convert.py` is the command.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.checkpoints import as_float32, read_checkpoint, state_dict_in
from core.errors import UserError
from t2i.encoders.lstm import RNNS
from t2i.families.attngan import AttnGanConfig
from t2i.families.dfgan import DfGanConfig
from t2i.families.registry import family_of
from t2i.families.stackgan import StackGanConfig
from t2i.families.stackgan_v2 import StackGanV2Config

State = dict[str, Tensor]
Names = Sequence[tuple[str, str]]  # theirs, ours; # stands for the same number in both, * for the same rest

# ---- names ----


def renamed(key: str, names: Names, back: bool = False) -> str:
    """Ours of a name of theirs, or theirs of ours with `back`, by the first pair that fits all but the last part.

    Raises UserError for a key that no pair fits.
    """
    for pair in names:
        old, new = reversed(pair) if back else pair
        pattern = re.escape(old).replace(r"\#", r"(\d+)").replace(r"\*", r"(.+)")
        if match := re.fullmatch(pattern + r"(\.\w+)?", key):
            *parts, leaf = match.groups()
            for part in parts:
                new = re.sub("[#*]", part, new, count=1)
            return new + (leaf or "")
    raise UserError(
        f'"{key}" is not a key of these networks; one such as "{names[0][back]}.weight" was expected'
    )


def _up_blocks(theirs: str, ours: str, count: int = 4) -> Names:
    """StackGAN's upsampling: theirs counts from one and begins with what has no weights."""
    return [(f"{theirs}{i + 1}.{j + 1}", f"{ours}.{i}.{j}") for i in range(count) for j in range(2)]


def _backbone(network: str, index: int, side: int) -> Names:
    """The backbone of a discriminator of `side` px: downwards to 4 x 4, then narrowing 3 x 3 blocks."""
    ours, depth = f"discriminators.{index}.backbone", (side // 64).bit_length() - 1
    down = [f"s{32 * 2**i}" for i in range(depth)]
    blocks = [*down, *(f"{down[-1]}_{i + 1}" for i in range(depth))] if down else []
    deeper = [
        (f"{network}.img_code_{block}.{j}", f"{ours}.{11 + 3 * place + j}")
        for place, block in enumerate(blocks)
        for j in range(2)
    ]
    return [*deeper, (f"{network}.img_code_s16.#", f"{ours}.#")]


def _stages(count: int, joined_by: tuple[str, str]) -> Names:
    """The stages of a generator, which AttnGAN has kept of StackGAN-v2 but for what joins picture and text."""
    names = [
        ("netG.ca_net.fc", "generator.augment.linear"),
        ("netG.h_net1.fc.0", "generator.first.project"),
        ("netG.h_net1.fc.1", "generator.first.norm"),
        *_up_blocks("netG.h_net1.upsample", "generator.first.up"),
    ]
    for i in range(count - 1):
        theirs, ours = f"netG.h_net{i + 2}", f"generator.next.{i}"
        names += [
            (f"{theirs}.{joined_by[0]}", f"{ours}.{joined_by[1]}"),
            (f"{theirs}.residual.#.block.#", f"{ours}.residual.#.block.#"),
            (f"{theirs}.upsample.1", f"{ours}.up.0"),
            (f"{theirs}.upsample.2", f"{ours}.up.1"),
        ]
    return names


def _discriminators(config: Any, heads: Names) -> Names:
    """The discriminators of all images; theirs are numbered by side, from netD0 of 64 px."""
    names: list[tuple[str, str]] = []
    for i, side in enumerate(family_of(config).resolutions(config)):
        network, ours = f"netD{(side // 64).bit_length() - 1}", f"discriminators.{i}"
        names += [*_backbone(network, i, side), *((f"{network}.{a}", f"{ours}.{b}") for a, b in heads)]
    return names


def _attngan(config: AttnGanConfig) -> Names:
    theirs = [f"img_net{i + 1}" for i in range(config.stages)] if config.outputs == "every" else ["img_net"]
    heads = [
        ("COND_DNET.jointConv.#", "joint.#"),
        ("COND_DNET.outlogits.0", "conditional"),
        ("UNCOND_DNET.outlogits.0", "unconditional"),
    ]
    return [
        *_stages(config.stages, ("att.conv_context", "attend.to_key")),
        *((f"netG.{name}.img.0", f"generator.to_image.{i}") for i, name in enumerate(theirs)),
        *_discriminators(config, heads),
    ]


def _stackgan_v2(config: StackGanV2Config) -> Names:
    heads = [("jointConv.#", "joint.#"), ("logits.0", "conditional"), ("uncond_logits.0", "unconditional")]
    return [
        *_stages(config.stages, ("jointConv.#", "joint.#")),
        *((f"netG.img_net{i + 1}.img.0", f"generator.to_image.{i}") for i in range(config.stages)),
        *_discriminators(config, heads),
    ]


def _stackgan(config: StackGanConfig) -> Names:
    names: list[tuple[str, str]] = []
    for theirs, ours in (("STAGE1_G", "generator.first"), ("STAGE2_G", "generator.second")):
        names += [
            (f"{theirs}.ca_net.fc", f"{ours}.augment.linear"),
            *_up_blocks(f"{theirs}.upsample", f"{ours}.up"),
            (f"{theirs}.img.0", f"{ours}.to_image"),
        ]
    return [
        *names,
        ("STAGE1_G.fc.0", "generator.first.project"),
        ("STAGE1_G.fc.1", "generator.first.norm"),
        ("STAGE2_G.encoder.#", "generator.second.encoder.#"),
        ("STAGE2_G.hr_joint.#", "generator.second.merge.#"),
        ("STAGE2_G.residual.#.block.#", "generator.second.residual.#.block.#"),
        ("netD.encode_img.#", "discriminators.0.backbone.#"),
        ("netD.get_cond_logits.outlogits.0", "discriminators.0.joint.0"),
        ("netD.get_cond_logits.outlogits.1", "discriminators.0.joint.1"),
        ("netD.get_cond_logits.outlogits.3", "discriminators.0.conditional"),
        ("netD.get_uncond_logits.outlogits.0", "discriminators.0.unconditional"),
    ]


def _dfgan(config: DfGanConfig) -> Names:
    affine, ours = "netG.GBlocks.#.fuse#.affine#.fc_", "generator.blocks.#.fuse#.affines.#."
    return [
        ("netG.fc", "generator.project"),
        *(
            (f"{affine}{kind}.linear{i}", f"{ours}{kind}.{2 * i - 2}")
            for kind in ("gamma", "beta")
            for i in (1, 2)
        ),
        ("netG.GBlocks.#.c1", "generator.blocks.#.up"),
        ("netG.GBlocks.#.c2", "generator.blocks.#.convolve"),
        ("netG.GBlocks.#.c_sc", "generator.blocks.#.shortcut"),
        ("netG.to_rgb.1", "generator.to_image"),
        ("netD.conv_img", "discriminators.0.from_image"),
        ("netD.DBlocks.#.conv_r.#", "discriminators.0.blocks.#.residual.#"),
        ("netD.DBlocks.#.conv_s", "discriminators.0.blocks.#.shortcut"),
        ("netD.DBlocks.#.gamma", "discriminators.0.blocks.#.scale"),
        ("netC.joint_conv.0", "discriminators.0.joint"),
        ("netC.joint_conv.2", "discriminators.0.conditional"),
    ]


def names_of(config: Any) -> Names:
    """The names of a family's generator and discriminators. Raises UserError for one that the authors' code has not."""
    if getattr(config, "grown_from", 0) or getattr(config, "max_multiplier", 8) != 8:
        raise UserError("the authors' DF-GAN neither grows nor has other widths than 8 times `width` at most; only a "
                        "painter with gan.grown_from=0 and gan.max_multiplier=8 can be converted")  # fmt: skip
    for name in ("stage_noise", "narrow_above", "plain_stages"):
        if getattr(config, name, 0):
            raise UserError(f"{name}={getattr(config, name)}: the authors' AttnGAN has no such stages; only a painter "
                            f"with gan.{name}=0 can be converted")  # fmt: skip
    of: dict[type, Any] = {
        AttnGanConfig: _attngan, StackGanConfig: _stackgan, StackGanV2Config: _stackgan_v2, DfGanConfig: _dfgan
    }  # fmt: skip
    if type(config) not in of:
        raise UserError("the authors published no PyTorch checkpoints of this family; attngan, stackgan, stackgan_v2 "
                        "and dfgan can be converted")  # fmt: skip
    return of[type(config)](config)


def encoder_names(rnn: str = "lstm") -> Names:
    """The names of DAMSM's encoders, whose recurrent layer is called after its kind here."""
    return [
        ("text_encoder.encoder", "text_encoder.embedding"),
        ("text_encoder.rnn", f"text_encoder.{rnn}"),
        ("image_encoder.emb_features", "image_encoder.to_regions"),
        ("image_encoder.emb_cnn_code", "image_encoder.to_global"),
        ("image_encoder.*", "image_encoder.backbone.*"),
    ]


def networks_of(state: State, names: Names) -> dict[str, State]:
    """Ours by the authors' networks, with the keys and shapes of their files."""
    networks: dict[str, State] = {}
    has_second = any(key.startswith("generator.second.") for key in state)
    for key, value in state.items():
        name = renamed(key, names, back=True)
        network, own = name.split(".", 1)
        if network == "STAGE1_G" and has_second:  # Stage II's file names its Stage I itself
            network, own = "STAGE2_G", name
        # a linear map of every word, which theirs applies as a convolution
        networks.setdefault(network, {})[own] = value[:, :, None, None] if "conv_context" in own else value
    return networks


def fill(model: nn.Module, networks: dict[str, State], names: Names, source: dict[str, Path]) -> None:
    """Give `model` the tensors of the authors' networks; those that are not among `networks` stay as they are.

    Files older than PyTorch 0.4.1 have no counters of BatchNorm, which are then 0. Raises UserError naming the first
    key that is missing, of another shape or unknown.
    """
    own, filled = networks_of(model.state_dict(), names), {}
    for network, state in networks.items():
        wanted, path = own.get(network, {}), source[network]
        for key, expected in wanted.items():
            is_counter = key.endswith("num_batches_tracked")
            if key not in state and not is_counter:
                raise UserError(
                    f"{path} lacks {key} {tuple(expected.shape)}, which a {network} of its sizes has"
                )
            value = state.get(key, torch.zeros((), dtype=torch.long))
            if value.shape != expected.shape:
                raise UserError(
                    f"{path}: {key} has shape {tuple(value.shape)}, {tuple(expected.shape)} was expected from its "
                    "other tensors"
                )
            name = key if key.startswith("STAGE1_G.") else f"{network}.{key}"
            filled[renamed(name, names)] = value
        for key, value in state.items():
            if key not in wanted:
                raise UserError(
                    f"{path} has {key} {tuple(value.shape)}, which a {network} of its sizes does not have"
                )
    ours = model.state_dict()
    ours |= {key: value.reshape(ours[key].shape) for key, value in filled.items()}
    model.load_state_dict(ours, assign=True)


# ---- files ----


def read_original(path: Path) -> dict[str, State]:
    """The networks of a file by name, in float32; discriminators are numbered by their side, from netD0 of 64 px.

    Raises UserError where the file cannot be read without running code, or holds none of the known networks.
    """
    content = read_checkpoint(path)
    if (
        isinstance(content, Mapping)
        and isinstance(content.get("model"), Mapping)
        and "netG" in content["model"]
    ):
        content = content["model"]  # DF-GAN, with optimisers and epoch beside it
    if isinstance(content, Mapping) and "netG" in content:
        names = [name for name in ("netG", "netD", "netC") if name in content]
        return {name: as_float32(state_dict_in(content[name], path), path) for name in names}
    state = as_float32(state_dict_in(content, path), path)
    return {_network(state, path): state}


def stored_types(path: Path) -> str:
    """What a file's floating-point numbers are stored as, such as "float16"."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, Tensor) and value.is_floating_point():
            found.add(str(value.dtype).removeprefix("torch."))
        elif isinstance(value, Mapping):
            for inside in value.values():
                walk(inside)

    walk(read_checkpoint(path))
    return " and ".join(sorted(found))


def _network(state: State, path: Path) -> str:
    """Whose state this is, by the keys that only that network has."""
    doublings = _count(state, r"img_code_s(\d+)\.0\.weight") - 1  # of a discriminator, beyond 64 px
    for key, network in (
        ("rnn.weight_ih_l0", "text_encoder"),
        ("emb_features.weight", "image_encoder"),
        ("STAGE1_G.fc.0.weight", "STAGE2_G"),
        ("upsample1.1.weight", "STAGE1_G"),
        ("encode_img.0.weight", "netD"),
        ("h_net1.fc.0.weight", "netG"),
        ("img_code_s16.0.weight", f"netD{doublings}"),
    ):
        if key in state:
            return network
    raise UserError(
        f'{path} holds no network that is known here: its first key is "{next(iter(state), "none")}"; a generator, '
        "discriminator or encoder of AttnGAN, StackGAN, StackGAN-v2 or DF-GAN was expected"
    )


def _count(state: State, pattern: str) -> int:
    """How many different values the pattern's group has among the keys."""
    matches = (re.fullmatch(pattern, key) for key in state)
    return len({match[1] for match in matches if match})


# ---- sizes ----


@contextmanager
def sizes_told() -> Iterator[None]:
    """Raises UserError where the tensors from which sizes are read are missing or of other dimensions."""
    try:
        yield
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"the files do not tell the sizes of their networks ({error}: missing, or of another shape); give the "
            "authors' files as they published them"
        ) from error


def config_of(networks: dict[str, State]) -> Any:
    """The configuration of a family from its generator's shapes, and its discriminators' where they are given."""
    G = networks.get("netG", networks.get("STAGE1_G", networks.get("STAGE2_G", {})))
    if "STAGE1_G" in networks or "STAGE2_G" in networks:
        return _stackgan_config(G, networks.get("netD"))
    if "GBlocks.0.c1.weight" in G:
        return _dfgan_config(G, networks.get("netD"))
    Ds = [state for name, state in networks.items() if name.startswith("netD")]
    condition, width = G["ca_net.fc.weight"].shape[0] // 4, G["h_net1.fc.0.weight"].shape[0] // 512
    sizes: dict[str, int] = {
        "width": width,
        "condition": condition,
        "embedding": G["ca_net.fc.weight"].shape[1],
        "noise": G["h_net1.fc.0.weight"].shape[1] - condition,
        "stages": _count(G, r"h_net(\d+)\..*"),
        "residual_blocks": _count(G, r"h_net2\.residual\.(\d+)\..*"),
    }
    if Ds:
        sizes["discriminator_width"] = Ds[0]["img_code_s16.0.weight"].shape[0]
    if "h_net2.jointConv.0.weight" in G:
        unconditional = not Ds or "uncond_logits.0.weight" in Ds[0]
        return StackGanV2Config(**sizes, unconditional=unconditional)
    return AttnGanConfig(
        **sizes,  # type: ignore[arg-type]
        outputs="last" if "img_net.img.0.weight" in G else "every",
        unconditional=not Ds or "UNCOND_DNET.outlogits.0.weight" in Ds[0],
    )


def _stackgan_config(G: State, D: State | None) -> StackGanConfig:
    stage = 2 if "STAGE1_G.fc.0.weight" in G else 1
    first = {
        key.removeprefix("STAGE1_G."): value for key, value in G.items() if stage == 1 or "STAGE1_G." in key
    }
    condition = first["ca_net.fc.weight"].shape[0] // 2
    sizes = {
        "width": first["fc.0.weight"].shape[0] // 128,
        "condition": condition,
        "embedding": first["ca_net.fc.weight"].shape[1],
        "noise": first["fc.0.weight"].shape[1] - condition,
    }
    if stage == 2:
        sizes["residual_blocks"] = _count(G, r"residual\.(\d+)\..*")
    if D is not None:
        sizes["discriminator_width"] = D["encode_img.0.weight"].shape[0]
    return StackGanConfig(stage=stage, **sizes)


def _dfgan_config(G: State, D: State | None) -> DfGanConfig:
    noise = G["fc.weight"].shape[1]
    sizes = {
        "width": G["to_rgb.1.weight"].shape[1],
        "noise": noise,
        "embedding": G["GBlocks.0.fuse1.affine0.fc_gamma.linear1.weight"].shape[1] - noise,
        "size": 4 * 2 ** _count(G, r"GBlocks\.(\d+)\..*"),
    }
    if D is not None:
        sizes["discriminator_width"] = D["conv_img.weight"].shape[0]
    return DfGanConfig(**sizes)


def text_sizes(state: State) -> dict[str, Any]:
    """Words, sizes and kind of the text encoder that a state dict of the authors' belongs to."""
    gates, half = state["rnn.weight_ih_l0"].shape[0], state["rnn.weight_hh_l0"].shape[1]
    rnn = {4: "lstm", 3: "gru"}[gates // half]
    assert rnn in RNNS
    vocabulary_size, word_width = state["encoder.weight"].shape
    return {"vocabulary_size": vocabulary_size, "embedding": 2 * half, "word_width": word_width, "rnn": rnn}
