"""A text encoder in one file: each word is a vector, and a caption the mean of its words, in whatever order they stand.

It trains with an image encoder by the contrastive loss of CLIP (Radford et al., ICML 2021, Fig. 3). Once this file is
imported, `training.encoder.train(TrainEncoder(encoder=BagConfig(), ...))` trains it, and whatever takes a DAMSM's model
folder takes its. In `t2i/encoders/` it would be a file like this one and a line in `t2i/encoders/registry.py`, and then
`train_encoder.py encoder=bag` trains it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from core.fields import bounded, check
from t2i.encoders.base import ConditionEncoder, Recipe, TextFeatures
from t2i.encoders.damsm import matching_loss, sentence_scores
from t2i.encoders.image import LightImageEncoder
from t2i.encoders.lstm import encode_captions
from t2i.encoders.registry import register
from t2i.vocabulary import Vocabulary


@dataclass
class BagConfig:
    embedding: int = bounded(256, 2, 4096)  # E
    max_words: int = bounded(18, 1, 512)  # longest caption, in words
    temperature: float = bounded(0.07, 0, 10, above=True)  # of the softmax over a batch
    image_width: int = bounded(32, 1, 1024)  # channels of the image encoder's first convolution
    image_size: int = bounded(64, 32, 1024)  # side at which images are read, px

    def __post_init__(self) -> None:
        check(self, prefix="encoder.")


class BagOfWords(ConditionEncoder):
    kind = "bag-of-words"
    config_class = BagConfig
    limits = "knows the words of its vocabulary only, and not their order"
    recipe = Recipe(
        optimizer=partial(torch.optim.Adam, fused=True),
        schedule="warmup_cosine",
        title="Bag-of-words text encoder, and an image encoder",
        about="The mean of a caption's word vectors and {image}, trained together {origin} with CLIP's loss",
    )

    def __init__(self, config: BagConfig, vocabulary: Vocabulary, with_images: bool = True):
        super().__init__(config)
        self.vocabulary = vocabulary
        self.vectors = nn.Embedding(len(vocabulary), config.embedding)
        if with_images:
            self.image_encoder = LightImageEncoder(config.embedding, config.image_width, config.image_size)

    @classmethod
    def from_stored(cls, config: Any, vocabulary: Any, where: str, with_images: bool = True) -> Self:
        return cls(config, Vocabulary.from_json(vocabulary, where), with_images)

    @classmethod
    def from_captions(cls, config: Any, captions: Iterable[str]) -> Self:
        return cls(config, Vocabulary.build(captions))

    def encode(self, inputs: Sequence[str]) -> TextFeatures:
        """B captions -> TextFeatures. Raises UserError for one without a known word."""
        device = self.vectors.weight.device
        ids, is_pad = (part.to(device) for part in encode_captions(self.vocabulary, inputs, self.max_words))
        words = self.vectors(ids).masked_fill(is_pad[..., None], 0.0)  # (B, L, E)
        return TextFeatures(words, is_pad, words.sum(dim=1) / (~is_pad).sum(dim=1, keepdim=True))

    def known(self, text: str, limit: int | None = None) -> list[str]:
        return self.vocabulary.known(text, self.max_words if limit is None else limit)

    def unknown(self, text: str) -> list[str]:
        return self.vocabulary.unknown(text)

    @property
    def vocabulary_words(self) -> list[str]:
        return self.vocabulary.words

    @property
    def max_words(self) -> int:
        return self.config.max_words

    @property
    def vocabulary_json(self) -> Any:
        return self.vocabulary.words

    def loss(
        self, images: Tensor, captions: Sequence[str], class_ids: Tensor, extra_captions: Sequence[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Each image shall find its caption in the batch, and each caption its image; images of a class are no
        mismatches."""
        assert self.image_encoder is not None
        image, B = self.image_encoder(images)[1], len(images)  # (B, E)
        losses = []
        for texts in (captions, *(extra_captions[i : i + B] for i in range(0, len(extra_captions), B))):
            scores = sentence_scores(image, self.encode(texts).sentence)  # (B, B + N)
            losses.append(matching_loss(scores / self.config.temperature, class_ids))
        return torch.stack(losses).mean(), {}


register("bag", BagOfWords)


def main() -> None:
    from data.sets import ImageData
    from t2i.encoders.registry import load_encoder
    from training.config import RunConfig
    from training.encoder import TrainEncoder, train

    run = RunConfig(name="example_bag", steps=20, sample_every=10)
    train(TrainEncoder(data=ImageData(), run=run, encoder=BagConfig(image_width=16)))
    print(load_encoder("runs/example_bag/model").encode(["a red bird with black wings"]).sentence[0, :4])


if __name__ == "__main__":
    main()
