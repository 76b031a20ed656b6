"""Words and how they are pronounced, in the phones of CMUdict.

A lexicon is a text file, a pronunciation a line: the word, then its phones; a word may have several lines. It is what
Kaldi calls lexicon.txt. `python -m training.lexicon` makes one.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise, repeat
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
NUMBERS = {phone: number for number, phone in enumerate(PHONES) if number != SILENCE}
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
    """Words in order, each with one pronunciation or several.

    phones (M, L): all pronunciations, a row each, with SILENCE behind their ends; owners (M,): the place of each one's
    word. They are arrays, since a lexicon of 60,000 words is read whenever a recogniser is.
    """

    def __init__(self, entries: Mapping[str, Sequence[Pronunciation]]):
        rows = [(word, each) for word, pronunciations in entries.items() for each in pronunciations]
        lengths = np.array([len(each) for _, each in rows], np.int64)
        flat = np.array([phone for _, each in rows for phone in each], np.uint8)
        self._fill([word for word, _ in rows], lengths, flat)

    def _fill(self, words: Sequence[str], lengths: np.ndarray, flat: np.ndarray) -> None:
        """M words in any order, of each the phones of one pronunciation: how many (M,), and all after one another."""
        phones = np.full((len(words), lengths.max(initial=1)), SILENCE, np.uint8)
        phones[np.arange(phones.shape[1]) < lengths[:, None]] = flat
        order = sorted(range(len(words)), key=words.__getitem__)
        sorted_words = [words[row] for row in order]
        self.words = list(dict.fromkeys(sorted_words))
        is_new = np.array([a != b for a, b in pairwise(["", *sorted_words])], bool)
        self.phones, self.owners = phones[order], np.cumsum(is_new) - 1

    def __len__(self) -> int:
        return len(self.words)

    def place(self, word: str) -> int | None:
        """Of a word among the words; None where it is not there."""
        place = bisect_left(self.words, word)
        return place if self.words[place : place + 1] == [word] else None

    def pronunciations(self, word: str) -> list[Pronunciation]:
        """Of one of the words, in the order they were given. Raises KeyError."""
        place = self.place(word)
        if place is None:
            raise KeyError(word)
        first, last = np.searchsorted(self.owners, [place, place + 1])
        rows = (tuple(row[row != SILENCE].tolist()) for row in self.phones[first:last])
        return list(dict.fromkeys(rows))

    def among(self, words: Collection[str]) -> "Lexicon":
        """Without what is not among `words`."""
        known = set(words)
        if known.issuperset(self.words):
            return self
        return Lexicon({word: self.pronunciations(word) for word in self.words if word in known})

    def adding(self, entries: Mapping[str, Pronunciation]) -> "Lexicon":
        """With further words, a pronunciation each."""
        is_phone = self.phones != SILENCE
        words = [self.words[owner] for owner in self.owners.tolist()]
        more = [phone for pronunciation in entries.values() for phone in pronunciation]
        lexicon = Lexicon.__new__(Lexicon)
        lexicon._fill(
            [*words, *entries],
            np.append(is_phone.sum(axis=1), [len(pronunciation) for pronunciation in entries.values()]),
            np.append(self.phones[is_phone], np.array(more, np.uint8)),
        )
        return lexicon

    @cached_property
    def tree(self) -> Tree:
        # text sorts as its bytes do, and a shorter one before those that go on
        as_text = np.ascontiguousarray(self.phones).view(f"S{self.phones.shape[1]}")[:, 0]
        order = np.lexsort((self.owners, as_text))
        phones, words = self.phones[order], self.owners[order]
        is_same = phones[1:] == phones[:-1]
        is_twice = is_same.all(axis=1) & (words[1:] == words[:-1])
        if is_twice.any():  # a word that has a pronunciation twice
            kept = ~np.append(False, is_twice)
            phones, words = phones[kept], words[kept]
            is_same = phones[1:] == phones[:-1]
        is_phone = phones != SILENCE
        # a node is new where a pronunciation leaves that of the row before; the others are shared with it
        is_new = is_phone.copy()
        is_new[1:] &= ~np.logical_and.accumulate(is_same, axis=1)
        numbers = np.zeros(phones.shape, np.int64)
        numbers[is_new] = np.arange(1, is_new.sum() + 1)
        nodes = np.maximum.accumulate(numbers, axis=0)  # a shared one is that of the last row that was new
        before = np.concatenate([np.zeros((len(phones), 1), np.int64), nodes[:, :-1]], axis=1)
        parents = np.append(ROOT, before[is_new])
        lengths = is_phone.sum(axis=1)
        ends = nodes[np.arange(len(phones)), lengths - 1] if len(phones) else lengths
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
            for word in self.words
            for pronunciation in self.pronunciations(word)
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
        return cls.parse(lines, path)

    @classmethod
    def parse(cls, lines: Iterable[str], where: Path | str) -> "Lexicon":
        """Raises UserError for a line that is no pronunciation."""
        lines = [" ".join(line.split()) for line in lines]
        tokens = " ".join(lines).split(" ") if lines else []  # words, which are no phones, and phones
        lengths = np.array([line.count(" ") for line in lines], np.int64)
        starts = np.cumsum(lengths + 1) - lengths - 1
        numbers = np.fromiter(map(NUMBERS.get, tokens, repeat(SILENCE)), np.uint8, len(tokens))
        phones = np.delete(numbers, starts)
        if not (lengths.all() and phones.all()):
            raise UserError(f"{where}, {_fault(lines)}")
        lexicon = cls.__new__(cls)
        lexicon._fill([tokens[start] for start in starts.tolist()], lengths, phones)
        return lexicon


def _fault(lines: Iterable[str]) -> str:
    """What is wrong with the first line that is no word and its phones."""
    for number, line in enumerate(lines, start=1):
        word, *phones = line.split() or [""]
        if unknown := [phone for phone in phones if phone not in NUMBERS]:
            return f"line {number}: '{unknown[0]}' is no phone; there are {' '.join(PHONES[1:])}"
        if not phones:
            return f'line {number}: "{word}" has no phones; expected "bird B ER D"'
    return "no fault"


def _edges(counts: np.ndarray) -> np.ndarray:
    return np.append(0, np.cumsum(counts))
