"""The character-level text encoder of Reed et al. (CVPR 2016 and ICML 2016), which reads any text without a vocabulary.

Temporal convolutions shorten 201 characters to a few steps, a recurrent layer reads these, and a linear map of the mean
of its states is the sentence feature. It learns by making a picture's inner product with its own captions the largest.

The file reads downward: configuration, alphabet, text encoder, loss, and `CharEncoder`, the trained whole. Where it
differs from the authors' code: text is brought to lower case and blanks to single spaces; an unknown character is a
step of zeros in training and use alike (their training data ends a caption there); pairs of the same class, which their
batches do not have, are left out of the loss.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from core.model_folder import load_model, load_weights, save_model
from core.precision import at_least_float32
from t2i.encoders.image import LightImageEncoder
from t2i.encoders.lstm import TextFeatures

FORMS = ("icml", "cvpr")
PICTURES = ("light", "given")


@dataclass
class CharEncoderConfig:
    form: str = "icml"  # icml: gated units over 18 steps; cvpr: ReLU units over 8
    embedding: int = 1024  # E, of text and picture alike
    first_width: int = 384  # channels of the first convolution
    width: int = 512  # of the second; the third and the recurrent layer have as many (icml) or half (cvpr)
    pictures: str = "light"  # light: the image encoder is trained too; given: picture features of width E are
    image_width: int = 32  # channels of the light image encoder's first convolution
    image_size: int = 128  # side at which it reads pictures, px

    def __post_init__(self) -> None:
        for name, choices in (("form", FORMS), ("pictures", PICTURES)):
            if getattr(self, name) not in choices:
                known = ", ".join(choices)
                raise UserError(f'{name}="{getattr(self, name)}" is unknown; choose one of {known}')
        for name, least in (("embedding", 2), ("first_width", 1), ("width", 2)):
            if getattr(self, name) < least:
                raise UserError(f"{name}={getattr(self, name)} is too small; it must be at least {least}")


# ---- alphabet ----

CHARACTERS = 201  # of a text; what comes after is cut, what is missing is zeros
# The hyphen stands at places 37 and 60, counted from 1, and only the later one is used: 69 different characters.
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "
_NUMBERS = {character: number for number, character in enumerate(ALPHABET, 1)}


def plain(text: str) -> str:
    """As the encoder reads a text: lower case, every run of blanks one space, none at the ends."""
    return " ".join(text.lower().split())


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


def sentence_alone(sentence: Tensor) -> TextFeatures:
    """Features of sentences whose words are not known, as those of char-CNN-RNN are.

    sentence (B, E) -> TextFeatures with words (B, 1, E), the sentence itself, so that families which attend to words
    have one to attend to.
    """
    return TextFeatures(sentence[:, None], sentence.new_zeros(len(sentence), 1, dtype=torch.bool), sentence)


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


class GivenFeatures(nn.Module):
    """Stands in for an image encoder where pictures come as features, such as an ImageNet network's."""

    def __init__(self, embedding: int):
        super().__init__()
        self.embedding = embedding

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """features (B, E) -> themselves as one region (B, 1, E), and as global feature (B, E)."""
        if features.ndim != 2 or features.shape[1] != self.embedding:
            raise UserError(
                f"picture features of shape {tuple(features.shape)} were given, (pictures, {self.embedding}) was "
                "expected; set embedding to their width, or pictures=light to encode pictures"
            )
        return features[:, None], features


class CharEncoder(nn.Module):
    """Text and image encoder, as a DAMSM is, for any text."""

    kind = "char-encoder"

    def __init__(self, config: CharEncoderConfig):
        super().__init__()
        self.config = config
        self.text_encoder = CharCnnRnn(config)
        self.image_encoder = (
            LightImageEncoder(config.embedding, config.image_width, config.image_size)
            if config.pictures == "light"
            else GivenFeatures(config.embedding)
        )
        self.checksum = "untrained"
        self.training_info: dict[str, Any] = {}

    @classmethod
    def load(cls, folder: Path | str) -> "CharEncoder":
        """A trained model, in eval mode. Raises UserError as `load_model` does, or for another alphabet."""
        files = load_model(folder, cls.kind)
        if files.vocabulary != ALPHABET:
            raise UserError(f"{folder}/vocabulary.json is not this encoder's alphabet; restore the file")
        model = cls(CharEncoderConfig(**files.config))
        load_weights(model, files.state, folder)
        model.checksum, model.training_info = files.checksum, files.training
        return model.eval().requires_grad_(False)

    def save(self, folder: Path | str, card: str, training: dict[str, Any]) -> Path:
        """Write the model folder; `training` says what made it (data, steps, ...)."""
        return save_model(folder, self.kind, self.state_dict(), asdict(self.config), card, ALPHABET, training)

    def loss(
        self, images: Tensor, captions: Sequence[str], class_ids: Tensor, again: Sequence[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to be lowered, and nothing more to look at: as `Damsm.loss`."""
        image, B = self.image_encoder(images)[1], len(images)
        losses = []
        for texts in (captions, *(again[i : i + B] for i in range(0, len(again), B))):
            ids = encode_characters(texts).to(images.device)
            losses.append(joint_embedding_loss(image, self.text_encoder(ids).sentence, class_ids))
        return torch.stack(losses).mean(), {}

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> TextFeatures:
        """B texts -> TextFeatures, words (B, 1, E). Raises UserError for one without a known character."""
        return self.text_encoder(encode_characters(texts).to(self.text_encoder.to_sentence.weight.device))

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [-1, 1], or features (B, E) where given -> regions (B, R, E), global (B, E)."""
        return self.image_encoder(images)
