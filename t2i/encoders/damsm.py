"""The deep attentional multimodal similarity model (AttnGAN, section 3.2): encoders, scores and losses.

The originals score a batch caption by caption in a loop; here all pairs are one batched contraction, with
losses and gradients equal within rounding.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import UserError
from core.fields import bounded, check, one_of
from core.precision import at_least_float32
from t2i.encoders.base import ConditionEncoder, Recipe, TextFeatures
from t2i.encoders.image import IMAGE_ENCODERS, ImageEncoder
from t2i.encoders.lstm import RNNS, SENTENCES, TextEncoder, encode_captions
from t2i.vocabulary import Vocabulary


@dataclass
class DamsmConfig:
    embedding: int = bounded(256, 2, 4096)  # E, words and regions alike; even, half of it for each direction
    word_width: int = bounded(300, 1, 4096)  # of the word embedding
    dropout: float = bounded(0.5, 0, 0.99)  # on the word embedding
    # last: hidden states of both directions (the paper); mean: of the words' features
    sentence: str = one_of("last", SENTENCES)
    rnn: str = one_of("lstm", tuple(RNNS))
    # light: from nothing on two cores; inception: the paper's, of 299 px
    image: str = one_of("light", tuple(IMAGE_ENCODERS))
    image_width: int = bounded(32, 1, 1024)  # channels of the light image encoder's first convolution
    image_size: int = bounded(128, 32, 1024)  # side at which images are read, px
    max_words: int = bounded(18, 1, 512)  # longest caption, in words
    gamma1: float = bounded(4.0, 0, 1000)  # sharpness of a word's attention over regions, Eq. (9)
    gamma2: float = bounded(5.0, 0, 1000, above=True)  # how much the best words count, Eq. (10)
    gamma3: float = bounded(10.0, 0, 1000)  # sharpness of the softmax over the batch, Eq. (11)

    def __post_init__(self) -> None:
        check(self, prefix="encoder.")
        if self.embedding % 2:
            raise UserError(
                f"encoder.embedding={self.embedding}: an even number was expected, half a direction"
            )


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


class Damsm(ConditionEncoder):
    """Text and image encoder with the vocabulary that they were trained on."""

    kind = "damsm"
    config_class = DamsmConfig
    renamed = {"words": "max_words"}
    limits = "knows the words of its vocabulary only"
    can_guide = True
    recipe = Recipe(
        optimizer=partial(torch.optim.Adam, betas=(0.5, 0.999), fused=True),
        schedule="warmup_cosine",
        title="DAMSM text and image encoder",
        about="A bidirectional {rnn} over words and {image}, trained together {origin} "
        "with the deep attentional multimodal similarity loss of AttnGAN (section 3.2)",
    )

    def __init__(self, config: DamsmConfig, vocabulary: Vocabulary, with_images: bool = True):
        super().__init__(config)
        self.vocabulary = vocabulary
        self.text_encoder = TextEncoder(
            len(vocabulary), config.embedding, config.word_width, config.dropout, config.sentence, config.rnn
        )
        self.image_encoder: ImageEncoder | None = None
        if with_images:
            self.image_encoder = IMAGE_ENCODERS[config.image](
                config.embedding, config.image_width, config.image_size
            )

    @classmethod
    def from_stored(cls, config: Any, vocabulary: Any, where: str, with_images: bool = True) -> Self:
        return cls(config, Vocabulary.from_json(vocabulary, where), with_images)

    @classmethod
    def from_captions(cls, config: Any, captions: Iterable[str]) -> Self:
        return cls(config, Vocabulary.build(captions))

    @property
    def vocabulary_words(self) -> list[str]:
        return self.vocabulary.words

    @property
    def max_words(self) -> int:
        return self.config.max_words

    @property
    def vocabulary_json(self) -> Any:
        return self.vocabulary.words

    def encode(self, inputs: Sequence[str]) -> TextFeatures:
        """B captions -> TextFeatures. Raises UserError for one without a known word."""
        ids, is_pad = encode_captions(self.vocabulary, inputs, self.config.max_words)
        device = self.text_encoder.embedding.weight.device
        return self.text_encoder(ids.to(device), is_pad.to(device))

    def known(self, text: str, limit: int | None = None) -> list[str]:
        return self.vocabulary.known(text, self.config.max_words if limit is None else limit)

    def unknown(self, text: str) -> list[str]:
        return self.vocabulary.unknown(text)

    def loss(
        self,
        images: Tensor,
        captions: Sequence[str],
        class_ids: Tensor,
        extra_captions: Sequence[str] = (),
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As the contract has it; the sentence loss is the mean over the captions of an image."""
        assert self.image_encoder is not None
        text = self.encode(captions)
        regions, image = self.image_encoder(images)
        words, sentence = damsm_loss(regions, image, text, class_ids, self.config)
        if extra_captions:
            more = self.encode(extra_captions).sentence.split(len(images))
            others = [sentence_loss(image, s, class_ids, self.config) for s in more]
            sentence = torch.stack([sentence, *others]).mean()
        return words + sentence, {"words": words, "sentence": sentence}

    def word_attention(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """As the contract has it, Eq. (9); of a word of the padding, what the padding's features take."""
        assert self.image_encoder is not None
        regions, _ = self.image_encoder(images)
        _, weights = attend_regions(regions, self.encode(captions), self.config.gamma1)  # (B, B, L, R)
        return weights.diagonal().permute(2, 0, 1)

    def matching_loss(
        self, images: Tensor, text: TextFeatures, class_ids: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As the contract has it: text has the B captions of the images, and any number more."""
        assert self.image_encoder is not None
        regions, image = self.image_encoder(images)
        words, sentence = damsm_loss(regions, image, text, class_ids, self.config)
        return words + sentence, {"damsm_words": words, "damsm_sentence": sentence}
