"""Words and how they are pronounced, in the phones of CMUdict.

A lexicon is a text file, a pronunciation a line: the word, then its phones; a word may have several lines. It is what
Kaldi calls lexicon.txt. `python -m training.lexicon` makes one.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import UserError
from core.files import write_bytes

SILENCE = 0  # the label of a frame in which nobody speaks
PHONES = (
    "SIL AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
).split()  # ARPABET without stress (Weide, "The CMU pronouncing dictionary"); a phone's number is its place
FILE = "lexicon.txt"  # beside the weights of a recogniser

Pronunciation = tuple[int, ...]


class Tree(NamedTuple):
    """Pronunciations by their first phones: N nodes, the root first, parents before children.

    The children of node n are children[first_child[n] : first_child[n + 1]], the words that end there, by their place
    among the lexicon's, words[first_word[n] : first_word[n + 1]].
    """

    phones: np.ndarray  # (N,) of each node, SILENCE of the root
    parents: np.ndarray  # (N,), 0 of the root
    first_child: np.ndarray  # (N + 1,)
    children: np.ndarray  # (N - 1,)
    first_word: np.ndarray  # (N + 1,)
    words: np.ndarray


class Lexicon:
    """Words in order, each with one pronunciation or several."""

    def __init__(self, entries: Mapping[str, Sequence[Pronunciation]]):
        self.words = sorted(entries)
        self.pronunciations = [list(dict.fromkeys(entries[word])) for word in self.words]

    def __len__(self) -> int:
        return len(self.words)

    def tree(self) -> Tree:
        children: list[dict[int, int]] = [{}]
        phones, parents, ends = [SILENCE], [0], [[]]
        for word, pronunciations in enumerate(self.pronunciations):
            for pronunciation in pronunciations:
                node = 0
                for phone in pronunciation:
                    child = children[node].get(phone)
                    if child is None:
                        child = children[node][phone] = len(phones)
                        children.append({})
                        phones.append(phone)
                        parents.append(node)
                        ends.append([])
                    node = child
                ends[node].append(word)
        return Tree(
            np.array(phones),
            np.array(parents),
            _ends([len(each) for each in children]),
            np.array([child for each in children for child in each.values()], np.int64),
            _ends([len(each) for each in ends]),
            np.array([word for each in ends for word in each], np.int64),
        )

    def as_text(self) -> str:
        return "".join(
            f"{word} {' '.join(PHONES[phone] for phone in pronunciation)}\n"
            for word, pronunciations in zip(self.words, self.pronunciations, strict=True)
            for pronunciation in pronunciations
        )

    def save(self, path: Path | str) -> None:
        write_bytes(path, self.as_text().encode())

    @classmethod
    def load(cls, path: Path | str) -> "Lexicon":
        """Raises UserError where the file is missing or no lexicon."""
        try:
            lines = Path(path).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the lexicon {path} ({error}); python -m training.lexicon makes one") from error
        return cls(parse(lines, path))


def parse(lines: Iterable[str], where: Path | str) -> dict[str, list[Pronunciation]]:
    """The entries of a lexicon's lines. Raises UserError for a line that is none."""
    numbers = {phone: number for number, phone in enumerate(PHONES) if number != SILENCE}
    entries: dict[str, list[Pronunciation]] = {}
    for number, line in enumerate(lines, start=1):
        word, *phones = line.split()
        try:
            pronunciation = tuple(numbers[phone] for phone in phones)
        except KeyError as error:
            raise UserError(
                f"{where}, line {number}: {error} is no phone; there are {' '.join(PHONES[1:])}"
            ) from error
        if not pronunciation:
            raise UserError(f'{where}, line {number}: "{word}" has no phones; expected "bird B ER D"')
        entries.setdefault(word, []).append(pronunciation)
    return entries


def _ends(counts: Sequence[int]) -> np.ndarray:
    return np.append(0, np.cumsum(counts))
