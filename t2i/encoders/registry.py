"""The encoders by name. A new one is a file of this folder and one line here, or `register` from outside."""

from pathlib import Path

from core.errors import UserError
from core.model_folder import load_model, model_kind
from t2i.encoders.base import ConditionEncoder
from t2i.encoders.char_cnn_rnn import CharEncoder
from t2i.encoders.damsm import Damsm
from t2i.encoders.precomputed import PrecomputedSentences

ENCODERS: dict[str, type[ConditionEncoder]] = {
    "damsm": Damsm,
    "char_cnn_rnn": CharEncoder,
    "precomputed": PrecomputedSentences,
}


def register(name: str, encoder: type[ConditionEncoder]) -> None:
    """Make an encoder known to the trainers, and to whoever loads a model of its kind. Raises ValueError where the name
    is taken by another."""
    if ENCODERS.setdefault(name, encoder) is not encoder:
        raise ValueError(f'an encoder "{name}" is registered already: {ENCODERS[name]}')


def trainable_encoders() -> dict[str, type[ConditionEncoder]]:
    """Those that train_encoder.py trains, by the name that `encoder=` takes."""
    return {name: encoder for name, encoder in ENCODERS.items() if encoder.recipe is not None}


def encoder_of(config: object) -> type[ConditionEncoder]:
    """The encoder whose configuration this is."""
    return next(encoder for encoder in ENCODERS.values() if type(config) is encoder.config_class)


def encoder_of_kind(kind: object, where: str) -> type[ConditionEncoder]:
    """The encoder of a kind of model. Raises UserError, naming the folder `where`, for a kind that is none."""
    for encoder in ENCODERS.values():
        if encoder.kind == kind:
            return encoder
    known = ", ".join(encoder.kind for encoder in ENCODERS.values() if encoder.recipe is not None)
    raise UserError(f'{where} holds a "{kind!s:.40}" model; an encoder was expected: {known}')


def load_encoder(folder: Path | str, with_images: bool = True) -> ConditionEncoder:
    """A trained encoder, in eval mode; with_images as in `ConditionEncoder.load`.

    Raises UserError as `load_model` does, or for a model that is no encoder.
    """
    encoder = encoder_of_kind(model_kind(folder), str(folder))
    return encoder.from_files(load_model(folder, encoder.kind), with_images)
