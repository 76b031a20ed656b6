"""The families by name. To add one: write its file, and add it to the line that registers them all."""

from collections.abc import Iterable
from typing import Any

from core.errors import UserError, suggest
from core.fields import build
from t2i.families import attngan, dfgan, gan_int_cls, projected, stackgan, stackgan_v2
from t2i.families.base import Family

FAMILIES: dict[str, Family] = {}
SETTINGS: dict[str, type] = {}  # of a training, by the same names


def register(families: Iterable[Family]) -> None:
    """Make families known to the trainer, and to whoever loads a model of theirs."""
    for family in families:
        FAMILIES[family.name], SETTINGS[family.name] = family, family.settings


register(module.FAMILY for module in (attngan, stackgan, stackgan_v2, gan_int_cls, dfgan, projected))


def family_of(config: Any) -> Family:
    """The family of an architecture's configuration, or of a training's settings."""
    return next(family for family in FAMILIES.values() if type(config) in (family.config, family.settings))


def build_config(name: Any, values: Any, where: str = "") -> Any:
    """The architecture's configuration of a family from its stored values; `where` is their file, for messages.

    Raises UserError for a family, key or value that is unknown.
    """
    if not isinstance(name, str) or name not in FAMILIES:
        raise UserError(
            f'family "{name}" is unknown{suggest(str(name), FAMILIES)}; there are {", ".join(FAMILIES)}'
        )
    return build(FAMILIES[name].config, upgraded(values), where, renamed=RENAMED)


# ---- models of earlier releases ----

RENAMED = {  # keys of an architecture
    "most": "max_multiplier",
    "said": "text_width",
    "network": "backbone",
    "network_size": "backbone_size",
    "mixed": "mixing_width",
    "paints": "outputs",
    "attend_from": "first_attention",
    "discriminator_cap": "discriminator_max_channels",
}
FORMER = {  # keys of the losses, which were stored with the architecture
    "adversarial", "kl_weight", "damsm_weight", "penalty_weight", "penalty_power", "penalty_every", "shift", "cut",
    "interpolate", "mismatched", "unconditional_weight", "colour_weight",
}  # fmt: skip


def upgraded(values: Any) -> Any:
    """Stored values without what earlier releases stored of the losses."""
    if not isinstance(values, dict):
        return values
    kept = {key: value for key, value in values.items() if key not in FORMER}
    if "unconditional_weight" in values:  # of StackGAN-v2, which had no such heads where it was 0
        kept.setdefault("unconditional", values["unconditional_weight"] != 0)
    return kept
