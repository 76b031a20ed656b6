"""The contract of encoders: what an image is made from, as numbers, and one interface for whatever gives them.

A painter, a trainer and the pipeline hold a `ConditionEncoder` and ask nothing but what stands here. A new encoder is
one file with a dataclass of its sizes and a subclass of `ConditionEncoder`, and one line in `registry.py`.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from core.errors import UserError
from core.fields import build
from core.model_folder import ModelFiles, load_model, load_weights, meta_device, save_model


class TextFeatures(NamedTuple):
    """What every family is conditioned on: words (B, L, E), is_pad (B, L), sentence (B, E)."""

    words: Tensor
    is_pad: Tensor
    sentence: Tensor

    def rows(self, start: int, end: int | None = None) -> "TextFeatures":
        """The captions from `start` to before `end`."""
        return TextFeatures(*(features[start:end] for features in self))

    def to(self, device: torch.device) -> "TextFeatures":
        return TextFeatures(*(features.to(device) for features in self))


def sentence_alone(sentence: Tensor) -> TextFeatures:
    """Features of an encoder that tells no words apart, such as char-CNN-RNN.

    sentence (B, E) -> TextFeatures with words (B, 1, E), the sentence itself, so that families which attend to words
    have one to attend to.
    """
    return TextFeatures(sentence[:, None], sentence.new_zeros(len(sentence), 1, dtype=torch.bool), sentence)


class Recipe(NamedTuple):
    """How train_encoder.py trains an encoder, but for its loss, which is the encoder's own."""

    optimizer: Callable[..., torch.optim.Optimizer]
    schedule: str  # of the learning rate, one of training.encoder.SCHEDULES
    title: str  # of the model card
    about: str  # what it is and learns by, for the card; {origin} is how its weights began
    distinct_classes: bool = False  # no two images of a batch are of one class
    smallest_batch: int = 2  # the losses compare the pairs of a batch with each other
    settings: dict[str, Any] = {}  # of train_encoder.py, where its authors' differ from the defaults


class ConditionEncoder(nn.Module):
    """Turns inputs, most often captions, into TextFeatures.

    An encoder that was trained with images holds an image encoder too, which maps images into the same space; a painter
    keeps the encoder `without_images`.
    """

    kind: ClassVar[str]  # of model, in config.json
    config_class: ClassVar[type]  # dataclass of its sizes; has `embedding`, E, and is saved with the model
    renamed: ClassVar[dict[str, str]] = {}  # keys of that dataclass in older model folders -> today's
    limits: ClassVar[str]  # what it reads and what it does not, for a card, a clause without a subject
    recipe: ClassVar[Recipe | None] = None  # None for what is not trained by train_encoder.py
    can_guide: ClassVar[bool] = False  # whether `matching_loss` is there for a generator to learn from

    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.image_encoder: nn.Module | None = None
        self.checksum = "untrained"  # SHA-256 of the weights that it was loaded from
        self.training_info: dict[str, Any] = {}

    # ---- what a subclass provides ----

    @classmethod
    def from_stored(cls, config: Any, vocabulary: Any, where: str, with_images: bool = True) -> Self:
        """An encoder of the sizes of `config`, with values that loading replaces.

        vocabulary: what vocabulary.json holds, None without one. Raises UserError, naming the folder `where`, for a
        vocabulary that is none.
        """
        raise NotImplementedError

    @classmethod
    def from_captions(cls, config: Any, captions: Iterable[str]) -> Self:
        """An untrained encoder that will know whatever a training set says."""
        raise NotImplementedError

    def encode(self, inputs: Sequence[str]) -> TextFeatures:
        """B inputs -> TextFeatures of B rows. Raises UserError for an input of which nothing is known."""
        raise NotImplementedError

    def known(self, text: str, limit: int | None = None) -> list[str]:
        """What is read of an input, one item a row of the words' features; limit: most items, None for its own."""
        raise NotImplementedError

    def unknown(self, text: str) -> list[str]:
        """The words or characters of an input that have no say."""
        raise NotImplementedError

    @property
    def vocabulary_words(self) -> list[str] | None:
        """The words that it knows, the padding's first; None for an encoder that reads no list of words."""
        return None

    @property
    def max_words(self) -> int:
        """Length of the longest caption that is read whole, in items of `known`."""
        return 1

    @property
    def vocabulary_json(self) -> Any:
        """What vocabulary.json shall hold, or None for no such file."""
        return None

    def loss(
        self,
        images: Tensor,
        captions: Sequence[str],
        class_ids: Tensor,
        extra_captions: Sequence[str] = (),
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """images (B, 3, H, W) in [-1, 1], class_ids (B,), their captions and any number more that describe none of
        them -> the scalar to be lowered, and its parts.

        extra_captions: B further captions of the same images, or 2 B, ...
        """
        raise NotImplementedError

    def matching_loss(
        self, images: Tensor, text: TextFeatures, class_ids: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """How badly generated images (B, 3, H, W) fit their text, with gradients to the images; where `can_guide`."""
        raise NotImplementedError

    def word_attention(self, images: Tensor, captions: Sequence[str]) -> Tensor | None:
        """images (B, 3, H, W) in [-1, 1] and a caption of each -> how much each word takes of every region of its
        image, (B, L, R), the regions of a square map row by row; None for an encoder whose words attend to none."""
        return None

    # features that are no weights of its own, but come with a data set

    @property
    def data_root(self) -> str:
        """The data set whose features must be given by `provide` before inputs can be read; "" for none."""
        return ""

    def provide(self, texts: Sequence[str], features: Tensor) -> None:
        """texts: K captions of `data_root`; features (K, E)."""
        raise NotImplementedError

    # ---- what all have ----

    @property
    def sees_images(self) -> bool:
        return self.image_encoder is not None

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [-1, 1] -> regions (B, R, E), global (B, E). Raises UserError without an image
        encoder."""
        if self.image_encoder is None:
            raise UserError(
                f"this {self.kind} encoder came without its image encoder; name the folder of the whole"
            )
        return self.image_encoder(images)

    def without_images(self) -> Self:
        """The same encoder, weights shared, without its image encoder."""
        other = copy.copy(self)
        other._modules = {**self._modules, "image_encoder": None}
        return other

    @classmethod
    def read_config(cls, values: Any, where: str, complete: bool) -> Any:
        """The configuration that a model folder holds. Raises UserError for a key or value that is none of its."""
        return build(cls.config_class, values, where, complete, cls.renamed)

    @classmethod
    def load(cls, folder: Path | str, with_images: bool = True) -> Self:
        """A trained encoder, in eval mode. Raises UserError where the folder is missing, damaged or of another kind.

        with_images: False leaves the image encoder out, whose networks may take seconds to import.
        """
        return cls.from_files(load_model(folder, cls.kind), with_images)

    @classmethod
    def from_files(cls, files: ModelFiles, with_images: bool = True) -> Self:
        config = cls.read_config(files.config, files.config_path, complete=files.version > 1)
        with meta_device():
            model = cls.from_stored(config, files.vocabulary, str(files.folder), with_images)
        state = files.state
        if not with_images:
            state = {key: value for key, value in state.items() if not key.startswith("image_encoder.")}
        load_weights(model, state, files.folder)
        model.checksum, model.training_info = files.checksum, files.training
        return model.eval().requires_grad_(False)

    def save(self, folder: Path | str, card: str, training: dict[str, Any], half: bool = True) -> Path:
        """Write the model folder; `training` says what made it (data, steps, ...); with `half` as float16."""
        return save_model(
            folder,
            self.kind,
            self.state_dict(),
            asdict(self.config),
            card,
            self.vocabulary_json,
            training,
            half,
        )
