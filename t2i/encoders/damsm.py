"""The deep attentional multimodal similarity model (AttnGAN, section 3.2): encoders, scores and losses.

The originals score a batch caption by caption in a loop; here all pairs are one batched contraction, with
losses and gradients equal within rounding.
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
from t2i.encoders.image import InceptionImageEncoder, LightImageEncoder, PretrainedImageEncoder
from t2i.encoders.lstm import TextEncoder, TextFeatures, encode_captions
from t2i.vocabulary import Vocabulary
from vision.backbones import TAPS


@dataclass
class DamsmConfig:
    embedding: int = 256  # E, words and regions alike
    word_width: int = 300  # of the word embedding
    dropout: float = 0.5  # on the word embedding
    sentence: str = "last"  # hidden states of both directions (the paper), or the mean of the words' features
    rnn: str = "lstm"  # or gru
    image: str = (
        "light"  # from nothing on two cores; mobilenet_v2, squeezenet1_1; inception, the paper's, of 299 px
    )
    image_width: int = 32  # channels of the light image encoder's first convolution, from which all follow
    image_size: int = 128  # side at which pictures are read, px
    words: int = 18  # longest caption, in words
    gamma1: float = 4.0  # sharpness of a word's attention over regions, Eq. (9)
    gamma2: float = 5.0  # how much the best words count, Eq. (10)
    gamma3: float = 10.0  # sharpness of the softmax over the batch, Eq. (11)

    def __post_init__(self) -> None:
        if self.image not in (known := ("light", "inception", *TAPS)):
            raise UserError(f'image="{self.image}" is unknown; choose one of {", ".join(known)}')


def attend_regions(regions: Tensor, text: TextFeatures, gamma1: float) -> tuple[Tensor, Tensor]:
    """What every word sees in every picture, Eq. (7) to (9): regions (B, R, E), words (C, L, E) ->
    context (B, C, L, E) and the weights of its regions (B, C, L, R)."""
    similarity = at_least_float32(torch.einsum("bre,cle->bclr", regions, text.words))  # (B, C, L, R)
    over_words = similarity.masked_fill(text.is_pad[None, :, :, None], -torch.inf).softmax(dim=2)  # Eq. (8)
    over_regions = (gamma1 * over_words).softmax(dim=3)  # Eq. (9)
    return at_least_float32(
        torch.einsum("bclr,bre->bcle", over_regions.to(regions.dtype), regions)
    ), over_regions


def word_scores(regions: Tensor, text: TextFeatures, gamma1: float, gamma2: float) -> Tensor:
    """R(Q, D) of every picture with every caption, Eq. (10): regions (B, R, E), words (C, L, E) -> (B, C).

    The paper raises the sum to 1/gamma2 before the logarithm; the authors' code does not, nor do we.
    """
    context, _ = attend_regions(regions, text, gamma1)
    words = at_least_float32(text.words)
    # F.cosine_similarity would first enlarge the words to (B, C, L, E)
    norms = context.norm(dim=3) * words.norm(dim=2)
    relevance = (context * words).sum(3) / norms.clamp(min=1e-8)  # (B, C, L)
    return (gamma2 * relevance).masked_fill(text.is_pad[None], -torch.inf).logsumexp(dim=2)  # Eq. (10)


def sentence_scores(image: Tensor, sentence: Tensor) -> Tensor:
    """Cosine of every picture's global feature (B, E) with every sentence feature (C, E) -> (B, C)."""
    return F.normalize(image, dim=1, eps=1e-8) @ F.normalize(sentence, dim=1, eps=1e-8).T


def matching_loss(scores: Tensor, class_ids: Tensor) -> Tensor:
    """Cross entropy of scores (B, B + N) against their diagonal, of rows and of columns, Eq. (11) and (12).

    Other pictures of the same class (class_ids (B,)) are no mismatches and are left out. Each picture must also be
    told from N captions more that describe none of the pictures; they have no picture of their own, so no column.
    """
    B = len(scores)
    same = class_ids[:, None] == class_ids[None]
    same.fill_diagonal_(False)
    scores = scores.masked_fill(F.pad(same, (0, scores.shape[1] - B)), -torch.inf)
    target = torch.arange(B, device=scores.device)
    return F.cross_entropy(scores, target) + F.cross_entropy(scores[:, :B].T, target)


def damsm_loss(
    regions: Tensor, image: Tensor, text: TextFeatures, class_ids: Tensor, config: DamsmConfig
) -> tuple[Tensor, Tensor]:
    """(word loss, sentence loss), scalars, Eq. (13): regions (B, R, E), image (B, E), class_ids (B,).

    text: the B captions of the pictures, and any number more that describe none of them.
    """
    words = config.gamma3 * word_scores(regions, text, config.gamma1, config.gamma2)
    return matching_loss(words, class_ids), sentence_loss(image, text.sentence, class_ids, config)


def sentence_loss(image: Tensor, sentence: Tensor, class_ids: Tensor, config: DamsmConfig) -> Tensor:
    """The second of `damsm_loss`, for image (B, E) and sentence (B + N, E)."""
    scores = sentence_scores(at_least_float32(image), at_least_float32(sentence))
    return matching_loss(config.gamma3 * scores, class_ids)


def build_image_encoder(
    config: DamsmConfig,
) -> LightImageEncoder | PretrainedImageEncoder | InceptionImageEncoder:
    sizes = (config.embedding, config.image_width, config.image_size)
    if config.image == "light":
        return LightImageEncoder(*sizes)
    if config.image == "inception":
        return InceptionImageEncoder(config.embedding)
    return PretrainedImageEncoder(config.image, *sizes)


class Damsm(nn.Module):
    """Text and image encoder with the vocabulary that they were trained on."""

    kind = "damsm"

    def __init__(self, config: DamsmConfig, vocabulary: Vocabulary):
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        self.text_encoder = TextEncoder(
            len(vocabulary), config.embedding, config.word_width, config.dropout, config.sentence, config.rnn
        )
        self.image_encoder = build_image_encoder(config)
        self.checksum = "untrained"
        self.training_info: dict[str, Any] = {}

    @classmethod
    def load(cls, folder: Path | str) -> "Damsm":
        """A trained model, in eval mode. Raises UserError as `load_model` does."""
        files = load_model(folder, cls.kind)
        model = cls(DamsmConfig(**files.config), Vocabulary(files.vocabulary))
        load_weights(model, files.state, folder)
        model.checksum, model.training_info = files.checksum, files.training
        return model.eval().requires_grad_(False)

    def save(self, folder: Path | str, card: str, training: dict[str, Any], half: bool = True) -> Path:
        """Write the model folder; `training` says what made it (data, steps, ...); with `half` as float16."""
        words = self.vocabulary.words
        return save_model(
            folder, self.kind, self.state_dict(), asdict(self.config), card, words, training, half
        )

    def loss(
        self, images: Tensor, captions: Sequence[str], class_ids: Tensor, again: Sequence[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """images (B, 3, H, W) in [-1, 1], class_ids (B,), their captions and any number more that describe none of
        them -> the scalar to be lowered, and its parts.

        again: B further captions of the same pictures, or 2 B, ...; the sentence loss is the mean over all of them.
        """
        text = self.read(captions)
        regions, image = self.image_encoder(images)
        words, sentence = damsm_loss(regions, image, text, class_ids, self.config)
        if again:
            more = self.read(again).sentence.split(len(images))
            others = [sentence_loss(image, s, class_ids, self.config) for s in more]
            sentence = torch.stack([sentence, *others]).mean()
        return words + sentence, {"words": words, "sentence": sentence}

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> TextFeatures:
        """As `read`, without gradients."""
        return self.read(texts)

    def read(self, texts: Sequence[str]) -> TextFeatures:
        """B sentences -> TextFeatures. Raises UserError for one without a known word."""
        ids, is_pad = encode_captions(self.vocabulary, texts, self.config.words)
        device = self.text_encoder.embedding.weight.device
        return self.text_encoder(ids.to(device), is_pad.to(device))

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [-1, 1] -> regions (B, R, E), global (B, E)."""
        return self.image_encoder(images)
