"""The text and image encoders by name: whatever learns to read captions for a generator."""

from collections.abc import Iterable
from pathlib import Path

from core.errors import UserError
from core.model_folder import model_kind
from t2i.encoders.char_cnn_rnn import CharEncoder, CharEncoderConfig
from t2i.encoders.damsm import Damsm, DamsmConfig
from t2i.vocabulary import Vocabulary

ENCODERS: dict[str, type[Damsm] | type[CharEncoder]] = {Damsm.kind: Damsm, CharEncoder.kind: CharEncoder}
ENCODER_CONFIGS: dict[str, type] = {"damsm": DamsmConfig, "char_cnn_rnn": CharEncoderConfig}


def build_encoder(config: DamsmConfig | CharEncoderConfig, captions: Iterable[str]) -> Damsm | CharEncoder:
    """An untrained encoder; a DAMSM will know the words of `captions`."""
    if isinstance(config, CharEncoderConfig):
        return CharEncoder(config)
    return Damsm(config, Vocabulary.build(captions))


def load_encoder(folder: Path | str) -> Damsm | CharEncoder:
    """A trained encoder, in eval mode. Raises UserError as `load_model` does, or for a model that is no encoder."""
    kind = model_kind(folder)
    if kind not in ENCODERS:
        raise UserError(f'{folder} holds a "{kind}" model; an encoder was expected: {", ".join(ENCODERS)}')
    return ENCODERS[kind].load(folder)
