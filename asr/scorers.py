"""Scorers of texts in a search: a language model, words and favoured words, and the interface for one of your own."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from asr.language_model import LanguageModel, State


class Scorer(Protocol):
    """Scores texts that grow by one token at a time, in nats.

    A state is whatever the scorer has to remember of a text; it is never changed, since several texts go on from one.
    Nothing of a search is kept in the scorer, so that one may serve several at once.
    """

    most: float  # that a token can add; 0 for probabilities. What is pruned depends on it, so it must hold

    def start(self) -> Any:
        """The state of the empty text."""
        ...

    def extend(self, state: Any, token: int) -> tuple[Any, float]:
        """The state after one more token, and what this adds to the score."""
        ...

    def end(self, state: Any) -> float:
        """What it adds to the score that the text ends here."""
        ...


class Weighted(NamedTuple):
    scorer: Scorer
    weight: float  # 0 or more


class LanguageModelScorer:
    """Log probability of a text. A recording without words is no sentence, so the empty text costs nothing."""

    most = 0.0

    def __init__(self, model: LanguageModel, pieces: Sequence[str]):
        """pieces: the text of each token."""
        self.model, self.pieces = model, pieces

    def start(self) -> State:
        return self.model.start()

    def extend(self, state: State, token: int) -> tuple[State, float]:
        return self.model.extend(state, self.pieces[token])

    def end(self, state: State) -> float:
        return 0.0 if state.is_empty else self.model.end(state)


class WordCounter:
    """The number of words of a text. With a weight it makes up for what a language model takes for each of them."""

    most = 1.0

    def __init__(self, pieces: Sequence[str]):
        self.pieces = pieces
        assert all(piece.strip().count(" ") == 0 for piece in pieces)  # a token begins one word at most

    def start(self) -> bool:
        return False

    def extend(self, state: bool, token: int) -> tuple[bool, float]:
        """state: whether the text ends within a word."""
        piece = self.pieces[token]
        begins = bool(piece.strip()) and (piece.startswith(" ") or not state)
        return not piece.endswith(" "), float(begins)

    def end(self, state: bool) -> float:
        return 0.0


class Place(NamedTuple):
    """Where a text stands among the favoured words."""

    node: int  # of the tree of letters; OUTSIDE where the word is none of them
    given: float  # for the letters of a word that is not finished


OUTSIDE = -1


class FavouredWords:
    """1 nat for every letter of a favoured word, while it is spelt; taken back where it turns out to be another.

    A phrase counts as its words.
    """

    def __init__(self, words: Sequence[str], pieces: Sequence[str]):
        """words: in the tokenizer's letters."""
        self.pieces = pieces
        self.most = float(max((len(piece) for piece in pieces), default=0))
        self.children: list[dict[str, int]] = [{}]
        self.ends = [False]  # whether a word ends at a node
        for word in sorted({part for phrase in words for part in phrase.split()}):
            node = 0
            for letter in word:
                if letter not in self.children[node]:
                    self.children[node][letter] = len(self.children)
                    self.children.append({})
                    self.ends.append(False)
                node = self.children[node][letter]
            self.ends[node] = True

    def start(self) -> Place:
        return Place(0, 0.0)

    def extend(self, state: Place, token: int) -> tuple[Place, float]:
        node, given = state
        total = 0.0
        for letter in self.pieces[token]:
            if letter == " ":
                total += self.end(Place(node, given))
                node, given = 0, 0.0
            elif node != OUTSIDE and letter in self.children[node]:
                node, given, total = self.children[node][letter], given + 1.0, total + 1.0
            else:
                node, given, total = OUTSIDE, 0.0, total - given
        return Place(node, given), total

    def end(self, state: Place) -> float:
        return -state.given if state.node != OUTSIDE and not self.ends[state.node] else 0.0
