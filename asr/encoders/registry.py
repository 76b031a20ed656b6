"""Encoders by name. A new one is a class (see `base.Encoder`) and one line here, or `register` from outside."""

from collections.abc import Callable

from torch import nn

from asr.encoders.base import Encoder, ModelConfig
from asr.encoders.conformer import ConformerEncoder
from asr.encoders.transformer import TransformerEncoder
from core.errors import UserError, suggest

ENCODERS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "transformer": TransformerEncoder,
    "conformer": ConformerEncoder,
}


def register(name: str, build: Callable[[ModelConfig], nn.Module]) -> None:
    """Make `model.encoder=<name>` mean `build(config)`. Raises ValueError where the name is taken by another."""
    if ENCODERS.setdefault(name, build) is not build:
        raise ValueError(f'an encoder "{name}" is registered already: {ENCODERS[name]}')


def build_encoder(config: ModelConfig) -> Encoder:
    """The encoder that the config names. Raises UserError for an unknown name."""
    if config.encoder not in ENCODERS:
        raise UserError(
            f'no speech encoder "{config.encoder}"{suggest(config.encoder, ENCODERS)}: there is '
            f"{', '.join(ENCODERS)}; one of your own is registered by importing its file"
        )
    encoder = ENCODERS[config.encoder](config)
    if not isinstance(encoder, Encoder):
        raise TypeError(f'the encoder "{config.encoder}" does not say its subsampling: see asr.encoders.base')
    return encoder
