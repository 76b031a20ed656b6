"""Words and how they are pronounced, in the phones of CMUdict.

A lexicon is a text file, a pronunciation a line: the word, then its phones; a word may have several lines. It is what
Kaldi calls lexicon.txt. `python -m training.lexicon` makes one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import UserError
from core.files import write_bytes

SILENCE = 0  # the label of a frame in which nobody speaks
PHONES = (  # ARPABET without stress (Weide, "The CMU pronouncing dictionary"); a phone's number is its place
    "SIL", "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH",
    "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
FILE = "lexicon.txt"  # beside the weights of a recogniser
ROOT = 0  # the node of a tree that is no phone yet

Pronunciation = tuple[int, ...]


class Tree(NamedTuple):
    """Pronunciations that begin alike share their first nodes: N of them, the root first, parents before children.

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

    def among(self, words: Collection[str]) -> "Lexicon":
        """Without what is not among `words`."""
        known = set(words)
        if known.issuperset(self.words):
            return self
        return Lexicon(
            {word: each for word, each in zip(self.words, self.pronunciations, strict=True) if word in known}
        )

    @cached_property
    def tree(self) -> Tree:
        rows = sorted(
            (pronunciation, word)
            for word, pronunciations in enumerate(self.pronunciations)
            for pronunciation in pronunciations
        )
        lengths = np.array([len(pronunciation) for pronunciation, _ in rows], np.int64)
        phones = np.zeros((len(rows), lengths.max(initial=0)), np.int64)  # (M, L), sorted
        phones[np.arange(phones.shape[1]) < lengths[:, None]] = [p for row, _ in rows for p in row]
        # a node is new where a pronunciation leaves that of the row before; the others are shared with it
        is_shared = np.zeros_like(phones, bool)
        is_shared[1:] = np.logical_and.accumulate(phones[1:] == phones[:-1], axis=1)
        is_new = ~is_shared & (np.arange(phones.shape[1]) < lengths[:, None])
        numbers = np.zeros_like(phones)
        numbers[is_new] = np.arange(1, is_new.sum() + 1)
        nodes = np.maximum.accumulate(
            numbers, axis=0
        )  # of the shared ones that of the last row that had it anew
        before = np.concatenate([np.zeros((len(rows), 1), np.int64), nodes[:, :-1]], axis=1)
        parents = np.append(ROOT, before[is_new])
        words = np.array([word for _, word in rows], np.int64)
        ends = nodes[np.arange(len(rows)), lengths - 1] if len(rows) else lengths
        by_end = np.argsort(ends, kind="stable")
        count = len(parents)
        return Tree(
            np.append(SILENCE, phones[is_new]),
            parents,
            _edges(np.bincount(parents[1:], minlength=count)),
            1 + np.argsort(parents[1:], kind="stable"),
            _edges(np.bincount(ends, minlength=count)),
            words[by_end],
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
            raise UserError(
                f"cannot read the lexicon {path} ({error}); python -m training.lexicon makes one"
            ) from error
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


def _edges(counts: np.ndarray) -> np.ndarray:
    return np.append(0, np.cumsum(counts))
