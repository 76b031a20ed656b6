"""What a language model says of many words at once, each after a history of its own."""

from collections.abc import Sequence

import numpy as np

from asr.language_model import BOUNDARY, SMALLEST, SWITCH, LanguageModel, Ngrams

NONE = -1  # no such n-gram
START = 0  # the history of a text without words


class WordScores:
    """A language model's n-grams, those of an order in one sorted table of (context, word).

    `LanguageModel` answers for one text at a time and letter by letter; here hundreds of questions are looked up
    together. The model's spelling of words says nothing here: a word without a place in the vocabulary has the place
    `unknown`, and is as likely as the rarest that has one.
    """

    def __init__(self, model: LanguageModel):
        self.order, self.unknown = model.order, len(model.words)
        self.shares = np.array([part.share for part in model.components])
        self.unigrams: list[np.ndarray] = []  # (V + 1,) of each component
        self.tables = [_Tables(part.ngrams, self.unknown + 1) for part in model.components]
        for part, tables in zip(model.components, self.tables, strict=True):
            unigrams = tables.first.copy()
            if part.base is not None:
                unigrams += tables.first_rest * self.unigrams[model.components.index(part.base)]
            self.unigrams.append(unigrams)
        self.mean_unigrams = (self.shares[:, None] * np.stack(self.unigrams)).sum(axis=0)  # (V + 1,)
        self._words = np.array(model.words)

    def places(self, words: Sequence[str]) -> np.ndarray:
        """Of words (N,) in the vocabulary, `unknown` of those that are not."""
        wanted = np.array(words, self._words.dtype.type)
        found = np.minimum(np.searchsorted(self._words, wanted), self.unknown - 1)
        return np.where(self._words[found] == wanted, found, self.unknown)


class Histories:
    """The histories of one search, each a number: START, or one that `extend` gives.

    Texts with the same last words are one, whose mixture weights are those of the text that came first.
    """

    def __init__(self, scores: WordScores):
        self.scores = scores
        parts, contexts = len(scores.tables), scores.order - 1
        self._words: list[tuple[int, ...]] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        self._rows = np.full(
            (64, parts, contexts), NONE
        )  # of a history: its last 1, 2, ... words in the tables
        self._weights = np.zeros((64, parts))  # of the components
        rows = np.full((parts, contexts), NONE)
        for k, tables in enumerate(scores.tables):
            rows[k, 0] = BOUNDARY if tables.continues(1, np.array([BOUNDARY]))[0] else NONE
        self._add((BOUNDARY,), rows, scores.shares)

    def __call__(self, histories: np.ndarray, words: np.ndarray) -> np.ndarray:
        """Log probability (N,) of each word (N,) after its history (N,), nats."""
        return np.log(self._mass(self._probabilities(histories, words)[0], histories))

    def end(self, histories: np.ndarray) -> np.ndarray:
        """Log probability (N,) that the text ends after each history (N,)."""
        return self(histories, np.full(len(histories), BOUNDARY))

    def extend(self, histories: np.ndarray, words: np.ndarray) -> np.ndarray:
        """The histories (N,) that one more word makes of each."""
        found = np.zeros(len(words), np.int64)
        fresh: list[tuple[int, tuple[int, ...]]] = []
        for i, (history, word) in enumerate(zip(histories.tolist(), words.tolist(), strict=True)):
            last = (*self._words[history], word)[-(self.scores.order - 1) :]
            number = self._numbers.get(last)
            if number is None:
                number = self._numbers[last] = len(self._words) + len(fresh)
                fresh.append((i, last))
            found[i] = number
        if fresh:
            chosen = np.array([i for i, _ in fresh])
            each, rows = self._probabilities(histories[chosen], words[chosen])  # (N, K), (N, K, C)
            weights = self._weights[histories[chosen]] * each / self._mass(each, histories[chosen])[:, None]
            weights = (1 - SWITCH) * weights + SWITCH * self.scores.shares
            for (_, last), row, weight in zip(fresh, rows, weights, strict=True):
                self._add(last, row, weight)
        return found

    def _add(self, words: tuple[int, ...], rows: np.ndarray, weights: np.ndarray) -> None:
        number = len(self._words)
        if number == len(self._rows):
            self._rows = np.concatenate([self._rows, np.full_like(self._rows, NONE)])
            self._weights = np.concatenate([self._weights, np.zeros_like(self._weights)])
        self._numbers[words] = number
        self._words.append(words)
        self._rows[number], self._weights[number] = rows, weights

    def _mass(self, each: np.ndarray, histories: np.ndarray) -> np.ndarray:
        return np.maximum((each * self._weights[histories]).sum(axis=1), SMALLEST)

    def _probabilities(self, histories: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each component (N, K), and where the history and the word, without its first words, are (N, K, C)."""
        rows = self._rows[histories]  # (N, K, C)
        each = np.empty(rows.shape[:2])
        after = np.full_like(rows, NONE)
        for k, tables in enumerate(self.scores.tables):
            p = self.scores.unigrams[k][words]
            after[:, k, 0] = np.where(tables.continues(1, words), words, NONE)
            for length in range(1, tables.order):
                row = rows[:, k, length - 1]
                known, place, probability = tables.find(length, row, words)
                p = np.where(known, probability + tables.rest[length - 1][row] * p, p)
                if length < rows.shape[2]:
                    after[:, k, length] = np.where(tables.continues(length + 1, place), place, NONE)
            each[:, k] = p
        return each, after


class _Tables:
    """The n-grams of a component, those of an order in one sorted table.

    rest[c - 1] (R,): what a context of c words leaves to the order below.
    """

    def __init__(self, ngrams: Ngrams, size: int):
        """size: of the vocabulary, and one for what is not in it."""
        items, cumulated, starts = (
            [np.asarray(part) for part in parts] for parts in (ngrams.items, ngrams.cumulated, ngrams.starts)
        )
        self.order = len(items)
        first = np.diff(cumulated[0])
        self.first = np.append(first, first[first > 0].min(initial=1.0))
        self.first_rest = max(1.0 - float(cumulated[0][-1]), SMALLEST)
        self.keys, self.probabilities, self.rest, self._follow = [], [], [], []
        self._size = size
        for order in range(1, self.order):
            counts = np.diff(starts[order])
            contexts = np.repeat(np.arange(len(counts)), counts)
            self.keys.append(contexts * size + items[order])
            self.probabilities.append(np.diff(cumulated[order]))
            given = cumulated[order][starts[order][1:]] - cumulated[order][starts[order][:-1]]
            self.rest.append(np.maximum(1.0 - given, SMALLEST))
            self._follow.append(np.append(counts > 0, False))

    def continues(self, length: int, rows: np.ndarray) -> np.ndarray:
        """Whether any word follows the n-grams (N,) of so many words; none follows NONE."""
        if length >= self.order:
            return np.zeros(len(rows), bool)
        return self._follow[length - 1][rows] & (rows != NONE)

    def find(
        self, length: int, rows: np.ndarray, words: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Words (N,) after contexts (N,) of `length` words: which contexts there are, the place of the n-gram or NONE,
        its discounted probability or 0."""
        keys = self.keys[length - 1]
        wanted = rows * self._size + words
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        known = rows != NONE
        hit = known & (keys[place] == wanted)
        return known, np.where(hit, place, NONE), np.where(hit, self.probabilities[length - 1][place], 0.0)
