"""A trained generator with its text encoder: a sentence in, pictures out."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from core.model_folder import load_model, load_weights, save_model
from t2i.encoders.char_cnn_rnn import (
    ALPHABET,
    CharCnnRnn,
    CharEncoder,
    CharEncoderConfig,
    encode_characters,
    plain,
    sentence_alone,
    unknown_characters,
)
from t2i.encoders.damsm import Damsm
from t2i.encoders.lstm import TextEncoder, TextFeatures, encode_captions
from t2i.encoders.precomputed import GivenConfig, GivenSentences
from t2i.families.registry import build_config, family_of
from t2i.vocabulary import Vocabulary


class Paintings(NamedTuple):
    """images: (B, 3, s, s) in [-1, 1] of every stage; attention: (B, L, s, s) of every attending stage;
    tokens: the words that each caption's attention rows stand for."""

    images: tuple[Tensor, ...]
    attention: tuple[Tensor, ...]
    tokens: list[list[str]]


class Painter(nn.Module):
    """Generator (EMA weights) of any family and frozen text encoder; its folder needs nothing else.

    But for one that reads the given captions of a set: `pipeline.load_painter` brings their features along.
    """

    kind = "painter"

    def __init__(
        self,
        generator: nn.Module,
        text_encoder: TextEncoder | CharCnnRnn | GivenSentences,
        vocabulary: Vocabulary | None = None,
        words: int = 0,
    ):
        """vocabulary: of a text encoder that reads words; words: longest caption that it reads."""
        super().__init__()
        self.generator, self.text_encoder = generator, text_encoder
        self.vocabulary, self.words = vocabulary, words
        self.bf16 = False  # products in bfloat16: faster, and not the same to the last bit
        self.checksum = "untrained"
        self.training_info: dict[str, Any] = {}

    @classmethod
    def load(cls, folder: Path | str) -> "Painter":
        """A trained painter, in eval mode. Raises UserError as `load_model` does."""
        files = load_model(folder, cls.kind)
        config, text = build_config(files.config["family"], files.config["generator"]), files.config["text"]
        with torch.device("meta"):  # no time spent on initial weights that are replaced at once
            generator = family_of(config).networks["generator"](config)
            if text["reads"] == "characters":
                painter = cls(generator, CharCnnRnn(CharEncoderConfig(**text["encoder"])))
            elif text["reads"] == "given":
                painter = cls(generator, GivenSentences(GivenConfig(**text["encoder"])))
            else:
                encoder = TextEncoder(len(files.vocabulary), **text["encoder"])
                painter = cls(generator, encoder, Vocabulary(files.vocabulary), text["words"])
        load_weights(painter, files.state, folder)
        painter.checksum, painter.training_info = files.checksum, files.training
        return painter.eval().requires_grad_(False)

    def save(self, folder: Path | str, card: str, training: dict[str, Any], half: bool = True) -> Path:
        """Write the model folder; `training` says what made it (encoder's checksum, data, steps, ...).

        With `half` the weights are stored as float16.
        """
        encoder = self.text_encoder
        text: dict[str, Any] = {"reads": self.reads}
        vocabulary: Any = ALPHABET if self.reads == "characters" else None
        if isinstance(encoder, CharCnnRnn | GivenSentences):
            text["encoder"] = asdict(encoder.config)
        else:
            assert self.vocabulary is not None
            vocabulary, text["words"] = self.vocabulary.words, self.words
            text["encoder"] = {
                "embedding": encoder.width,
                "word_width": encoder.embedding.embedding_dim,
                "sentence": encoder.sentence,
                "rnn": encoder.rnn,
            }
        config = {"family": family_of(self.config).name, "generator": asdict(self.config), "text": text}
        return save_model(folder, self.kind, self.state_dict(), config, card, vocabulary, training, half)

    @property
    def config(self) -> Any:
        """The generator's configuration; its class tells the family."""
        return self.generator.config

    @property
    def reads(self) -> str:
        """What its text encoder takes: "words" of a vocabulary, "characters", or "given" captions of a set only."""
        if isinstance(self.text_encoder, GivenSentences):
            return "given"
        return "characters" if self.vocabulary is None else "words"

    @property
    def resolutions(self) -> list[int]:
        """The side of every stage's picture, px."""
        return family_of(self.config).resolutions(self.config)

    def known(self, text: str, limit: int | None = None) -> list[str]:
        """What is read of a sentence: its known words, or the sentence where characters are read.

        A given caption is all or nothing, and it is an error where it is nothing, so it counts as known here.
        """
        if self.reads == "given":
            return [plain(text)]
        if self.vocabulary is None:
            return [plain(text)] if set(plain(text)) & set(ALPHABET) else []
        return self.vocabulary.known(text, self.words if limit is None else limit)

    def unknown(self, text: str) -> list[str]:
        """The words (or characters) of a sentence that are not known, and so have no say in the picture."""
        if self.reads == "given":
            return []
        return unknown_characters(text) if self.vocabulary is None else self.vocabulary.unknown(text)

    def encode(self, texts: Sequence[str]) -> TextFeatures:
        """B sentences -> TextFeatures. Raises UserError for a sentence of which nothing is known."""
        device = next(self.generator.parameters()).device
        if self.reads == "given":
            return sentence_alone(self.text_encoder(texts).to(device))
        if self.vocabulary is None:
            return self.text_encoder(encode_characters(texts).to(device))
        ids, is_pad = encode_captions(self.vocabulary, texts, self.words)
        return self.text_encoder(ids.to(device), is_pad.to(device))

    @torch.inference_mode()
    def paint(self, texts: Sequence[str], seeds: Sequence[int]) -> Paintings:
        """B sentences and B seeds -> Paintings. A picture depends on its own sentence and seed alone.

        The same seed gives the same noise to every sentence. Raises UserError for a sentence without a known
        word, ValueError where the numbers differ.
        """
        if len(texts) != len(seeds):
            raise ValueError(f"{len(texts)} texts and {len(seeds)} seeds: as many of each were expected")
        text = self.encode(texts)
        with torch.autocast(text.sentence.device.type, torch.bfloat16, enabled=self.bf16):
            output = family_of(self.config).sample(self.generator, text, seeds)
        return Paintings(output.images, output.attention, [self.known(t) for t in texts])


def painter_of(generator: nn.Module, encoder: Damsm | CharEncoder | GivenSentences | Painter) -> Painter:
    """A painter that shares a generator and the text encoder of the model that it was trained with."""
    if isinstance(encoder, Painter):
        return Painter(generator, encoder.text_encoder, encoder.vocabulary, encoder.words).eval()
    if isinstance(encoder, GivenSentences):
        return Painter(generator, encoder).eval()
    if isinstance(encoder, CharEncoder):
        return Painter(generator, encoder.text_encoder).eval()
    return Painter(generator, encoder.text_encoder, encoder.vocabulary, encoder.config.words).eval()
