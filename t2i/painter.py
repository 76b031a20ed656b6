"""A trained generator with its text encoder: a sentence in, pictures out."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from storage.model_folder import load_model, load_weights, save_model
from t2i.attngan import AttnGanConfig, Generator, resolutions
from t2i.damsm import Damsm
from t2i.text_encoder import TextEncoder, encode_captions
from t2i.vocabulary import Vocabulary


class Paintings(NamedTuple):
    """images: (B, 3, s, s) in [-1, 1] of every stage; attention: (B, L, s, s) of every attending stage;
    tokens: the words that each caption's attention rows stand for."""

    images: tuple[Tensor, ...]
    attention: tuple[Tensor, ...]
    tokens: list[list[str]]


class Painter(nn.Module):
    """Generator (EMA weights) and frozen text encoder; its folder needs nothing else."""

    kind = "painter"

    def __init__(
        self,
        config: AttnGanConfig,
        vocabulary: Vocabulary,
        word_width: int,
        words: int,
        sentence: str = "last",
    ):
        """word_width: of the word embedding; words: longest caption; sentence: as `TextEncoder` takes it."""
        super().__init__()
        self.config, self.vocabulary, self.word_width, self.words = config, vocabulary, word_width, words
        self.generator = Generator(config)
        self.text_encoder = TextEncoder(len(vocabulary), config.embedding, word_width, sentence=sentence)
        self.checksum = "untrained"
        self.training_info: dict[str, Any] = {}

    @classmethod
    def load(cls, folder: Path | str) -> "Painter":
        """A trained painter, in eval mode. Raises UserError as `load_model` does."""
        files = load_model(folder, cls.kind)
        with torch.device("meta"):  # no time spent on initial weights that are replaced at once
            painter = cls(
                AttnGanConfig(**files.config["generator"]),
                Vocabulary(files.vocabulary),
                files.config["word_width"],
                files.config["words"],
                files.config["sentence"],
            )
        load_weights(painter.to_empty(device="cpu"), files.state, folder)
        painter.checksum, painter.training_info = files.checksum, files.training
        return painter.eval().requires_grad_(False)

    def save(self, folder: Path | str, card: str, training: dict[str, Any]) -> Path:
        """Write the model folder; `training` says what made it (encoder's checksum, data, steps, ...)."""
        config = {
            "generator": asdict(self.config),
            "word_width": self.word_width,
            "words": self.words,
            "sentence": self.text_encoder.sentence,
        }
        return save_model(folder, self.kind, self.state_dict(), config, card, self.vocabulary.words, training)

    @property
    def resolutions(self) -> list[int]:
        """The side of every stage's picture, px."""
        return resolutions(self.config)

    def unknown(self, text: str) -> list[str]:
        """The words of a sentence that are not in the vocabulary, and so have no say in the picture."""
        return self.vocabulary.unknown(text)

    @torch.inference_mode()
    def paint(self, texts: Sequence[str], seeds: Sequence[int]) -> Paintings:
        """B sentences and B seeds -> Paintings. A picture depends on its own sentence and seed alone.

        The same seed gives the same noise to every sentence. Raises UserError for a sentence without a known
        word, ValueError where the numbers differ.
        """
        if len(texts) != len(seeds):
            raise ValueError(f"{len(texts)} texts and {len(seeds)} seeds: as many of each were expected")
        ids, is_pad = encode_captions(self.vocabulary, texts, self.words)
        device = self.text_encoder.embedding.weight.device
        text = self.text_encoder(ids.to(device), is_pad.to(device))
        noise, epsilon = draw_noise(seeds, self.config)
        painting = self.generator(noise.to(device), epsilon.to(device), text)
        return Paintings(
            painting.images, painting.attention, [self.vocabulary.known(t, self.words) for t in texts]
        )


def draw_noise(seeds: Sequence[int], config: AttnGanConfig) -> tuple[Tensor, Tensor]:
    """B seeds -> noise (B, Z), epsilon (B, C), each row a function of its seed alone."""
    rows = [
        torch.randn(config.noise + config.condition, generator=torch.Generator().manual_seed(int(seed)))
        for seed in seeds
    ]
    noise, epsilon = torch.stack(rows).split([config.noise, config.condition], dim=1)
    return noise, epsilon


def painter_of(generator: Generator, damsm: Damsm) -> Painter:
    """A painter that shares a generator and the text encoder of the DAMSM it was trained with."""
    with torch.device("meta"):
        read = damsm.config
        painter = Painter(generator.config, damsm.vocabulary, read.word_width, read.words, read.sentence)
    painter.generator, painter.text_encoder = generator, damsm.text_encoder
    return painter.eval()
