"""The families of generators by name. A family is one file: the module in which its configuration is defined.

Each exports `Generator`, `resolutions`, `build_discriminators`, `discriminator_loss` and `generator_loss` of the same
signatures, so that the trainer and the painter need not ask which family they have.
"""

import sys
from types import ModuleType
from typing import Any

from core.errors import UserError, suggest
from t2i.families.attngan import AttnGanConfig
from t2i.families.dfgan import DfGanConfig
from t2i.families.gan_int_cls import GanIntClsConfig
from t2i.families.projected import ProjectedConfig
from t2i.families.stackgan import StackGanConfig
from t2i.families.stackgan_v2 import StackGanV2Config

FAMILIES: dict[str, type] = {
    "attngan": AttnGanConfig,
    "stackgan": StackGanConfig,
    "stackgan_v2": StackGanV2Config,
    "gan_int_cls": GanIntClsConfig,
    "dfgan": DfGanConfig,
    "projected": ProjectedConfig,
}


def family_of(config: Any) -> ModuleType:
    """The file whose configuration this is, with all that it exports."""
    return sys.modules[type(config).__module__]


def family_name(config: Any) -> str:
    return next(name for name, known in FAMILIES.items() if type(config) is known)


def build_config(name: str, values: dict[str, Any]) -> Any:
    """The configuration of a family from its stored values. Raises UserError for a family or value that is unknown."""
    if name not in FAMILIES:
        raise UserError(
            f'family "{name}" is unknown{suggest(name, FAMILIES)}; there are {", ".join(FAMILIES)}'
        )
    return FAMILIES[name](**values)
