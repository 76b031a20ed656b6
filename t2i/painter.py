"""A trained generator with its text encoder: captions in, images out."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from core.errors import UserError
from core.fields import shown
from core.model_folder import ModelFiles, load_model, load_weights, meta_device, save_model
from core.precision import autocast
from t2i.encoders.base import ConditionEncoder, TextFeatures
from t2i.encoders.registry import encoder_of_kind
from t2i.families.registry import build_config, family_of
from t2i.interpolation import interpolate


class Samples(NamedTuple):
    """images: (B, 3, s, s) in [-1, 1] of every stage; attention: (B, L, s, s) of every attending stage;
    tokens: the words that each caption's attention rows stand for."""

    images: tuple[Tensor, ...]
    attention: tuple[Tensor, ...]
    tokens: list[list[str]]

    def _repr_png_(self) -> bytes:
        """The images of the last stage side by side, which is how a notebook shows these samples."""
        import io

        from PIL import Image

        strip = torch.cat(list(self.images[-1].float().cpu()), dim=2)  # (3, s, B * s)
        pixels = ((strip.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()


class Painter(nn.Module):
    """Generator (EMA weights) of any family and frozen encoder of captions; its folder needs nothing else, but for an
    encoder that looks features up: `pipeline.load_painter` brings these along."""

    kind = "painter"

    def __init__(self, generator: nn.Module, encoder: ConditionEncoder):
        super().__init__()
        self.generator, self.encoder = generator, encoder.without_images()
        self.precision = "fp32"  # of products, see core.precision; shorter ones are faster, and round
        self.checksum = "untrained"
        self.training_info: dict[str, Any] = {}

    @classmethod
    def load(cls, folder: Path | str) -> "Painter":
        """A trained painter, in eval mode. Raises UserError as `load_model` does."""
        files = upgraded(load_model(folder, cls.kind))
        generator, encoder = (dict_in(files, key) for key in ("generator", "encoder"))
        where, complete = files.config_path, files.version > 1
        config = build_config(files.config.get("family"), generator, where)
        kind = encoder_of_kind(encoder.get("kind"), where)
        encoder_config = kind.read_config(encoder.get("config"), f"{where}: encoder", complete)
        with meta_device():
            text = kind.from_stored(encoder_config, files.vocabulary, str(folder), with_images=False)
            painter = cls(family_of(config).networks["generator"](config), text)
        load_weights(painter, files.state, folder)
        painter.checksum, painter.training_info = files.checksum, files.training
        painter.encoder.checksum = str(files.training.get("encoder", "untrained"))
        return painter.eval().requires_grad_(False)

    def save(self, folder: Path | str, card: str, training: dict[str, Any], half: bool = True) -> Path:
        """Write the model folder; `training` says what made it (encoder's checksum, data, steps, ...).

        With `half` the weights are stored as float16.
        """
        config = {
            "family": family_of(self.config).name,
            "generator": asdict(self.config),
            "encoder": {"kind": self.encoder.kind, "config": asdict(self.encoder.config)},
        }
        vocabulary = self.encoder.vocabulary_json
        return save_model(folder, self.kind, self.state_dict(), config, card, vocabulary, training, half)

    @property
    def config(self) -> Any:
        """The generator's configuration; its class tells the family."""
        return self.generator.config

    @property
    def resolutions(self) -> list[int]:
        """The side of every stage's image, px."""
        return family_of(self.config).resolutions(self.config)

    def known(self, text: str, limit: int | None = None) -> list[str]:
        """What is read of a caption; limit: most words, None for the encoder's own."""
        return self.encoder.known(text, limit)

    def unknown(self, text: str) -> list[str]:
        """The words (or characters) of a caption that are not known, and so have no say in the image."""
        return self.encoder.unknown(text)

    def encode(self, texts: Sequence[str]) -> TextFeatures:
        """B captions -> TextFeatures. Raises UserError for a caption of which nothing is known."""
        return self.encoder.encode(texts).to(next(self.generator.parameters()).device)

    @torch.inference_mode()
    def paint(self, texts: Sequence[str], seeds: Sequence[int]) -> Samples:
        """B captions and B seeds -> Samples. An image depends on its own caption and seed alone.

        The same seed gives the same noise to every caption. Raises UserError for a caption without a known
        word, ValueError where the numbers differ.
        """
        if len(texts) != len(seeds):
            raise ValueError(f"{len(texts)} texts and {len(seeds)} seeds: as many of each were expected")
        text = self.encode(texts)
        with autocast(text.sentence.device, self.precision):
            output = family_of(self.config).sample(self.generator, text, seeds)
        return Samples(output.images, output.attention, [self.known(t) for t in texts])

    @torch.inference_mode()
    def interpolate(self, first: str, second: str, steps: int, seed: int) -> Samples:
        """Two captions -> Samples of `steps` images of one seed from the first to the second, the ends as `paint` makes
        them; without attention, for between the two an image has no words of its own.

        Raises UserError for a caption without a known word, and as `t2i.interpolation.interpolate` does.
        """
        path = interpolate(self.encode([first]), self.encode([second]), steps)
        outputs = []
        for (
            text
        ) in path:  # one by one: they differ in length, and padding is not blind in every trained generator
            with autocast(text.sentence.device, self.precision):
                outputs.append(family_of(self.config).sample(self.generator, text, [seed]).images)
        return Samples(tuple(torch.cat(stage) for stage in zip(*outputs, strict=True)), (), [])


def painter_of(generator: nn.Module, encoder: ConditionEncoder) -> Painter:
    """A painter that shares a generator and the encoder that it was trained with."""
    return Painter(generator, encoder).eval()


# ---- folders of format version 1 ----

READERS = {"words": "damsm", "characters": "char-encoder", "given": "precomputed"}


def upgraded(files: ModelFiles) -> ModelFiles:
    """A painter's files as today's code writes them. Version 1 named what the encoder reads in place of its kind, kept
    the longest caption beside its sizes, and its weights at the top. Raises UserError for a layout of neither."""
    if files.version > 1:
        return files
    text = dict_in(files, "text")
    if text.get("reads") not in list(READERS):  # which may be something without a hash
        raise UserError(
            f"{files.config_path}: text.reads={shown(text.get('reads'))}: one of {', '.join(READERS)} was expected; "
            "restore the file"
        )
    sizes = text.get("encoder")
    if text["reads"] == "words" and isinstance(sizes, dict):
        sizes = sizes | {"max_words": text.get("words")}
    config = {key: value for key, value in files.config.items() if key != "text"}
    config["encoder"] = {"kind": READERS[text["reads"]], "config": sizes}
    state = {
        f"encoder.{key}" if key.startswith("text_encoder.") else key: value
        for key, value in files.state.items()
    }
    return files._replace(config=config, state=state)


def dict_in(files: ModelFiles, key: str) -> dict[str, Any]:
    """One of the parts of a painter's configuration. Raises UserError where it is missing or something else."""
    value = files.config.get(key)
    if not isinstance(value, dict):
        raise UserError(
            f"{files.config_path}: {key}={shown(value)}: its settings were expected; restore the file"
        )
    return value
