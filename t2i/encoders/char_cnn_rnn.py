"""The character-level text encoder of Reed et al. (CVPR 2016 and ICML 2016), which reads any text without a vocabulary.

Temporal convolutions shorten 201 characters to a few steps, a recurrent layer reads these, and a linear map of the mean
of its states is the sentence feature. It learns by making a picture's inner product with its own captions the largest.

The file reads downward: configuration, alphabet, text encoder, loss, and `CharEncoder`, the trained whole. Where it
differs from the authors' code: text is brought to lower case and blanks to single spaces; an unknown character is a
step of zeros in training and use alike (their training data ends a caption there); pairs of the same class, which their
batches do not have, are left out of the loss.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from core.fields import bounded, check, one_of
from core.precision import at_least_float32
from t2i.encoders.base import ConditionEncoder, Recipe, TextFeatures, sentence_alone
from t2i.encoders.image import ImageEncoder, LightImageEncoder
from t2i.vocabulary import plain

FORMS = ("icml", "cvpr")
IMAGES = ("light", "precomputed")


@dataclass
class CharEncoderConfig:
    form: str = one_of("icml", FORMS)  # icml: gated units over 18 steps; cvpr: ReLU units over 8
    embedding: int = bounded(1024, 2, 8192)  # E, of text and image alike
    first_width: int = bounded(384, 1, 4096)  # channels of the first convolution
    # of the second; the third and the recurrent layer have as many (icml) or half (cvpr)
    width: int = bounded(512, 2, 4096)
    # light: the image encoder is trained too; precomputed: image features of width E are
    image: str = one_of("light", IMAGES)
    image_width: int = bounded(32, 1, 1024)  # channels of the light image encoder's first convolution
    image_size: int = bounded(128, 32, 1024)  # side at which it reads images, px

    def __post_init__(self) -> None:
        check(self, prefix="encoder.")


# ---- alphabet ----

CHARACTERS = 201  # of a text; what comes after is cut, what is missing is zeros
# The hyphen stands at places 37 and 60, counted from 1, and only the later one is used: 69 different characters.
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "
_NUMBERS = {character: number for number, character in enumerate(ALPHABET, 1)}


def unknown_characters(text: str) -> list[str]:
    """The characters that are not in the alphabet, and so have no say, each once, in order."""
    return [character for character in dict.fromkeys(plain(text)) if character not in _NUMBERS]


def encode_characters(texts: Sequence[str]) -> Tensor:
    """B texts -> ids (B, 201), places in the alphabet from 1; 0 is an unknown character or none.

    Raises UserError for a text without any known character.
    """
    ids = torch.zeros(len(texts), CHARACTERS, dtype=torch.long)
    for row, text in enumerate(texts):
        numbers = [_NUMBERS.get(character, 0) for character in plain(text)[:CHARACTERS]]
        if not any(numbers):
            found = f'"{text}" has only unknown characters' if text.strip() else "the caption is empty"
            raise UserError(f"{found}; describe a bird in letters from a to z")
        ids[row, : len(numbers)] = torch.tensor(numbers)
    return ids


# ---- text encoder ----


class ReluUnits(nn.Module):
    """h_t = relu(A x_t + B h_{t-1}), both maps with their bias, the first step without B."""

    def __init__(self, width: int):
        super().__init__()
        self.from_input, self.from_state = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, steps: Tensor) -> Tensor:
        """steps (B, T, W) -> states (B, T, W)."""
        inputs = self.from_input(steps)
        states = [F.relu(inputs[:, 0])]
        for x in inputs[:, 1:].unbind(1):
            states.append(F.relu(x + self.from_state(states[-1])))
        return torch.stack(states, 1)


class GatedUnits(nn.Module):
    """Gated recurrent units in the authors' form, which is not `nn.GRU`'s.

    The first state is tanh(W x) without gates, the reset gate acts before the recurrent map, the update gate weighs the
    candidate rather than the old state, and each of the six maps has a bias.
    """

    def __init__(self, width: int):
        super().__init__()
        self.from_input = nn.Linear(width, 3 * width)  # candidate, update gate, reset gate
        self.to_gates = nn.Linear(width, 2 * width)  # update, reset
        self.to_candidate = nn.Linear(width, width)

    def forward(self, steps: Tensor) -> Tensor:
        """steps (B, T, W) -> states (B, T, W)."""
        W = steps.shape[2]
        inputs = self.from_input(steps)  # (B, T, 3W)
        state = inputs[:, 0, :W].tanh()
        states = [state]
        for x in inputs[:, 1:].unbind(1):
            update, reset = (x[:, W:] + self.to_gates(state)).sigmoid().chunk(2, dim=1)
            candidate = (x[:, :W] + self.to_candidate(reset * state)).tanh()
            state = update * candidate + (1 - update) * state
            states.append(state)
        return torch.stack(states, 1)


class CharCnnRnn(nn.Module):
    """Three convolutions over characters, a recurrent layer, the mean of its states (CVPR 2016, section 4).

    The zeros after a text's end are read like characters, as in the originals: every text is 201 long.
    """

    def __init__(self, config: CharEncoderConfig):
        super().__init__()
        self.config = config
        icml = config.form == "icml"
        last = config.width if icml else config.width // 2
        layers: list[nn.Module] = [
            nn.Conv1d(len(ALPHABET), config.first_width, 4), nn.ReLU(), nn.MaxPool1d(3),  # 201 -> 198 -> 66
            nn.Conv1d(config.first_width, config.width, 4), nn.ReLU(), nn.MaxPool1d(3),  # 63 -> 21
            nn.Conv1d(config.width, last, 4), nn.ReLU(),  # 18
        ]  # fmt: skip
        if not icml:
            layers.append(nn.MaxPool1d(3, 2))  # 8
        self.convolutions = nn.Sequential(*layers)
        self.recurrent = GatedUnits(last) if icml else ReluUnits(last)
        self.to_sentence = nn.Linear(last, config.embedding)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.08, 0.08)

    def forward(self, ids: Tensor) -> TextFeatures:
        """ids (B, 201) as `encode_characters` gives them -> TextFeatures with the sentence as the only word."""
        one_hot = F.one_hot(ids, len(ALPHABET) + 1)[:, :, 1:]  # (B, 201, 70), zeros where ids are 0
        steps = self.convolutions(one_hot.transpose(1, 2).to(self.to_sentence.weight.dtype))  # (B, W, T)
        with torch.autocast(ids.device.type, enabled=False):  # states add up over the steps; exact in float32
            states = self.recurrent(at_least_float32(steps).transpose(1, 2))  # (B, T, W)
            return sentence_alone(self.to_sentence(states.mean(1)))


# ---- loss ----


def joint_embedding_loss(
    image: Tensor, sentence: Tensor, class_ids: Tensor | None = None, margin: float = 1.0
) -> Tensor:
    """Symmetric structured joint embedding loss (CVPR 2016, section 3; ICML 2016, section 3.2); a scalar.

    image (B, E), sentence (B + N, E) of B pairs, whose inner products are the scores, and of N sentences more that
    describe none of the pictures. Each picture's own sentence shall lead every other by `margin`, and each pair's
    sentence's own picture every other; the sum of what is missing over B * B. Pairs of the same class (class_ids (B,))
    are no mismatches; without class_ids all classes differ.
    """
    # bfloat16 would round scores near 10 to sixteenths, and the margin is 1
    with torch.autocast(image.device.type, enabled=False):
        scores = at_least_float32(image) @ at_least_float32(sentence).T  # (B, B + N), pictures by sentences
    B, own = len(scores), scores.diagonal()
    if class_ids is None:
        class_ids = torch.arange(B, device=scores.device)
    differ = class_ids[:, None] != class_ids[None]  # (B, B)
    of_images = F.relu(margin + scores - own[:, None]) * F.pad(differ, (0, scores.shape[1] - B), value=True)
    of_sentences = F.relu(margin + scores[:, :B] - own[None]) * differ
    return (of_images.sum() + of_sentences.sum()) / B**2


# ---- the trained whole ----


class PrecomputedImages(ImageEncoder):
    """Stands in for an image encoder where images come as features, such as an ImageNet network's."""

    title = "image features computed beforehand"

    def __init__(self, embedding: int):
        super().__init__()
        self.embedding, self.backbone = embedding, None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images: features (B, E) -> themselves as one region (B, 1, E), and as global feature (B, E)."""
        if images.ndim != 2 or images.shape[1] != self.embedding:
            raise UserError(
                f"image features of shape {tuple(images.shape)} were given, (images, {self.embedding}) was "
                "expected; set embedding to their width, or image=light to encode images"
            )
        return images[:, None], images


class CharEncoder(ConditionEncoder):
    """Text and image encoder, as a DAMSM is, for any text."""

    kind = "char-encoder"
    config_class = CharEncoderConfig
    renamed = {"pictures": "image"}
    limits = (
        "reads the first 201 characters of a text; of words that it was not trained on it makes what it can"
    )
    recipe = Recipe(
        optimizer=torch.optim.RMSprop,
        schedule="every_epoch",
        title="char-CNN-RNN text encoder, and an image encoder",
        about="Convolutions and a recurrent layer over characters and {image}, trained together {origin} "
        "with the structured joint embedding loss of Reed et al. (CVPR 2016, section 3)",
        distinct_classes=True,
        settings={"batch": 40, "lr": 7e-4, "clip": 0.0},
    )

    def __init__(self, config: CharEncoderConfig, with_images: bool = True):
        super().__init__(config)
        self.text_encoder = CharCnnRnn(config)
        self.image_encoder: ImageEncoder | None = None
        if with_images and config.image == "light":
            self.image_encoder = LightImageEncoder(config.embedding, config.image_width, config.image_size)
        elif with_images:
            self.image_encoder = PrecomputedImages(config.embedding)

    @classmethod
    def read_config(cls, values: Any, where: str, complete: bool) -> Any:
        if isinstance(values, dict) and values.get("pictures") == "given":  # format version 1
            values = values | {"pictures": "precomputed"}
        return super().read_config(values, where, complete)

    @classmethod
    def from_stored(cls, config: Any, vocabulary: Any, where: str, with_images: bool = True) -> Self:
        if vocabulary != ALPHABET:
            raise UserError(f"{where}/vocabulary.json is not this encoder's alphabet; restore the file")
        return cls(config, with_images)

    @classmethod
    def from_captions(cls, config: Any, captions: Iterable[str]) -> Self:
        return cls(config)

    @property
    def vocabulary_json(self) -> Any:
        return ALPHABET

    def encode(self, inputs: Sequence[str]) -> TextFeatures:
        """B texts -> TextFeatures, words (B, 1, E). Raises UserError for one without a known character."""
        return self.text_encoder(encode_characters(inputs).to(self.text_encoder.to_sentence.weight.device))

    def known(self, text: str, limit: int | None = None) -> list[str]:
        """The text as it is read, which is one item, or nothing."""
        return [plain(text)] if set(plain(text)[:CHARACTERS]) & _NUMBERS.keys() else []

    def unknown(self, text: str) -> list[str]:
        return unknown_characters(text)

    def loss(
        self,
        images: Tensor,
        captions: Sequence[str],
        class_ids: Tensor,
        extra_captions: Sequence[str] = (),
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As the contract has it, and nothing more to look at."""
        assert self.image_encoder is not None
        image, B = self.image_encoder(images)[1], len(images)
        losses = []
        for texts in (captions, *(extra_captions[i : i + B] for i in range(0, len(extra_captions), B))):
            losses.append(joint_embedding_loss(image, self.encode(texts).sentence, class_ids))
        return torch.stack(losses).mean(), {}
