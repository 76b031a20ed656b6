"""The trained text and image encoders by kind: whatever reads captions for a generator."""

from pathlib import Path

from storage.errors import UserError
from storage.model_folder import model_kind
from t2i.char_cnn_rnn import CharEncoder
from t2i.damsm import Damsm

ENCODERS: dict[str, type[Damsm] | type[CharEncoder]] = {Damsm.kind: Damsm, CharEncoder.kind: CharEncoder}


def load_encoder(folder: Path | str) -> Damsm | CharEncoder:
    """A trained encoder, in eval mode. Raises UserError as `load_model` does, or for a model that is no encoder."""
    kind = model_kind(folder)
    if kind not in ENCODERS:
        raise UserError(f'{folder} holds a "{kind}" model; an encoder was expected: {", ".join(ENCODERS)}')
    return ENCODERS[kind].load(folder)
