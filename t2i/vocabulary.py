"""Words and their numbers."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from core.errors import UserError

END = "<end>"  # number 0, used only as padding, as in AttnGAN


def tokens(text: str) -> list[str]:
    r"""Lower-case words by the expression \w+, non-ASCII characters removed (AttnGAN's rule)."""
    words = re.findall(r"\w+", text.replace("\ufffd\ufffd", " ").lower())
    plain = (word.encode("ascii", "ignore").decode() for word in words)
    return [word for word in plain if word]


def plain(text: str) -> str:
    """Lower case, every run of blanks one space, none at the ends."""
    return " ".join(text.lower().split())


class Vocabulary:
    """A list of words; a word's number is its place in the list, number 0 is padding."""

    def __init__(self, words: list[str]):
        if not words or words[0] != END:
            raise ValueError(f"a vocabulary starts with {END!r}, this one with {words[:1]}")
        self.words = words
        self._numbers = {word: number for number, word in enumerate(words)}

    @classmethod
    def from_json(cls, words: Any, folder: str) -> "Vocabulary":
        """The words that a model folder holds. Raises UserError where they are no list of words."""
        is_list = (
            isinstance(words, list) and words[:1] == [END] and all(isinstance(word, str) for word in words)
        )
        if not is_list or len(set(words)) < len(words):
            raise UserError(
                f'{folder}/vocabulary.json is no vocabulary: a list of different words was expected, "{END}" the '
                "first; restore the file"
            )
        return cls(words)

    @classmethod
    def build(cls, captions: Iterable[str]) -> "Vocabulary":
        """All words of `captions`, the commonest first, equally common ones in alphabetical order."""
        counts = Counter(word for caption in captions for word in tokens(caption))
        return cls([END] + sorted(counts, key=lambda word: (-counts[word], word)))

    def __len__(self) -> int:
        return len(self.words)

    def known(self, text: str, limit: int) -> list[str]:
        """The words of `text` that have a number, at most the first `limit`, in training and in use alike.

        The originals draw a random subset of a long caption's words, at test time too.
        """
        return [word for word in tokens(text) if word in self._numbers][:limit]

    def unknown(self, text: str) -> list[str]:
        """The words of `text` that have none, each once, in order."""
        return list(dict.fromkeys(word for word in tokens(text) if word not in self._numbers))

    def encode(self, text: str, limit: int) -> list[int]:
        """The numbers of `known(text, limit)`; unknown words are left out."""
        return [self._numbers[word] for word in self.known(text, limit)]
