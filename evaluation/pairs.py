"""What is measured: pairs of a picture of a split and one of its captions, a function of the set and the seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from data.captioned_images import CaptionedImages

# torch and the models are imported once the command is known to be right: --help and mistakes answer at once


@dataclass(frozen=True)
class Pairs:
    """N pairs: indices (N,) of the split's pictures, a caption of each, the text that an image is generated from, and
    the seed of its noise."""

    real: "CaptionedImages"
    indices: "np.ndarray"
    captions: list[str]
    texts: list[str]
    noise: list[int]
    protocol: dict[str, Any]

    def __len__(self) -> int:
        return len(self.indices)

    def only(self, rows: "Sequence[int] | np.ndarray") -> "Pairs":
        """The pairs of these rows, which may repeat."""

        def of(values: list[Any]) -> list[Any]:
            return [values[row] for row in rows]

        return replace(
            self,
            indices=self.indices[rows],
            captions=of(self.captions),
            texts=of(self.texts),
            noise=of(self.noise),
        )


def draw_pairs(real: "CaptionedImages", samples: int | None, seed: int) -> Pairs:
    """`samples` pictures of a split (every one once for None), a caption of each and a seed for its noise."""
    import numpy as np

    indices = choose(len(real), samples, seed)
    captions, noise = [], []
    for pair, i in enumerate(indices):
        rng = np.random.default_rng([seed, pair, 1])
        captions.append(real.captions[i][rng.integers(len(real.captions[i]))])
        noise.append(int(rng.integers(2**31)))
    return Pairs(real, indices, captions, captions, noise, {})


def choose(count: int, samples: int | None, seed: int) -> "np.ndarray":
    """`samples` of `count` items (all of them once, in order, for None), in shuffled passes over the set."""
    import numpy as np

    if samples is None:
        return np.arange(count)
    passes = [np.random.default_rng([seed, n]).permutation(count) for n in range(-(-samples // count))]
    return np.concatenate(passes)[:samples]


def with_known_words(texts: Sequence[str], known: Callable[[str], list[str]]) -> list[str]:
    """The texts; one of which nothing is known (nothing was heard, say) becomes a word that means nothing."""
    nothing = next(iter([*known("bird"), *(word for text in texts for word in known(text))]), "bird")
    return [text if known(text) else nothing for text in texts]
