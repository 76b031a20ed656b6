"""From the phones of frames to words: a beam search in the tree of a lexicon, with a language model of words.

Viterbi search, frame by frame, over a copy of the tree for every history of words (Ney and Ortmanns, "Dynamic
programming search for continuous speech recognition", 1999). Within a word the language model is looked ahead of: a
node counts as the likeliest word that it may become, whatever was said before; where the word ends, its own probability
after its history takes that one's place. Hypotheses are rows of arrays, so that a frame is a few numpy calls.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from asr.language_model import SMALLEST
from asr.lexicon import ROOT, Lexicon
from asr.word_scores import START, Histories, WordScores


@dataclass(frozen=True)
class SearchWidth:
    """What is kept of a frame."""

    most: int = 1200  # hypotheses
    most_words: int = 120  # words that end
    beam: float = 14.0  # nats below the best
    word_beam: float = 12.0  # of hypotheses at the end of a word


PAUSE = -1  # no word


class FoundWord(NamedTuple):
    word: int  # its place in the lexicon
    first: int  # frame
    last: int


class Found(NamedTuple):
    words: list[FoundWord]
    score: float  # nats


class Beam(NamedTuple):
    """N hypotheses."""

    histories: np.ndarray  # (N,) of words before the present one
    nodes: np.ndarray  # (N,) of the tree; ROOT between words
    scores: np.ndarray  # (N,) nats
    firsts: np.ndarray  # (N,) the present word's first frame
    before: np.ndarray  # (N,) the last word's place in the trace; -1 for none

    def take(self, places: np.ndarray) -> "Beam":
        return Beam(*(part[places] for part in self))


class WordEnd(NamedTuple):
    """A word that ended somewhere in the recording."""

    before: int  # the place in the trace of the word before, the best of its history and frame; -1 for none
    word: int
    first: int  # frame
    last: int
    history: int  # with this word
    score: float  # of the best text that ends so, nats


class Heard(NamedTuple):
    """What a search of T frames ends with: every word that ended before, and the M ways to end with the last frame."""

    trace: list[WordEnd]  # in the order of their last frames
    words: np.ndarray  # (M,) that end with the last frame; PAUSE where the last one ended before
    firsts: np.ndarray  # (M,) their first frames
    before: np.ndarray  # (M,) the word before, or the last one; -1 for none
    scores: np.ndarray  # (M,) of the whole text, nats
    frames: int  # T

    @classmethod
    def nothing(cls) -> "Heard":
        none = np.zeros(0, np.int64)
        return cls([], none, none, none, np.zeros(0), 0)

    @property
    def best(self) -> Found:
        if not len(self.scores):
            return Found([], -np.inf)
        best = int(self.scores.argmax())
        words, place = [], int(self.before[best])
        if self.words[best] != PAUSE:
            words.append(FoundWord(int(self.words[best]), int(self.firsts[best]), self.frames - 1))
        while place >= 0:
            end = self.trace[place]
            words.append(FoundWord(end.word, end.first, end.last))
            place = end.before
        return Found(words[::-1], float(self.scores[best]))


class LexiconSearch:
    """Finds the words of recordings; nothing of one is kept."""

    def __init__(
        self,
        lexicon: Lexicon,
        places: np.ndarray,
        scores: WordScores,
        weight: float = 1.0,
        gains: np.ndarray | float = 0.0,
    ):
        """places (W,): of the lexicon's words in the language model's vocabulary. weight: of the language model beside
        the sound. gains (W,): nats for each word that is found."""
        self.tree = tree = lexicon.tree
        self.places, self.scores, self.weight = places, scores, weight
        self.gains = np.zeros(len(lexicon)) + gains
        nodes = len(tree.phones)
        unigrams = weight * np.log(np.maximum(scores.mean_unigrams[places], SMALLEST)) + self.gains
        ahead = np.full(nodes, -np.inf)  # (N,) of the best word that a node may become
        np.maximum.at(ahead, np.repeat(np.arange(nodes), np.diff(tree.first_word)), unigrams[tree.words])
        levels = [np.array([ROOT])]  # the nodes by how many phones they are from the root
        while len(levels[-1]):
            levels.append(_each(tree.first_child, tree.children, levels[-1])[1])
        for level in reversed(levels[1:]):
            np.maximum.at(ahead, tree.parents[level], ahead[level])
        ahead[ROOT] = 0.0
        self.ahead = ahead

    def hear(self, likelihoods: np.ndarray, width: SearchWidth | None = None) -> Heard:
        """The likeliest words, none where that is likelier, and all that competed with them: likelihoods (T, P) of each
        frame and phone, nats."""
        width, histories = width or SearchWidth(), Histories(self.scores)
        trace: list[WordEnd] = []
        none = np.zeros(1, np.int64)
        beam = Beam(none + START, none + ROOT, np.zeros(1), none, none - 1)
        for t, frame in enumerate(likelihoods):
            if t:
                beam = self._end_words(beam, histories, trace, t - 1, width)
            beam = self._next(beam, frame, t, width)
        return self._finish(beam, histories, trace, len(likelihoods))

    def _next(self, beam: Beam, frame: np.ndarray, t: int, width: SearchWidth) -> Beam:
        """Stay in the phone, or in silence, or go on to any of the next ones: frame (P,)."""
        tree, nodes = self.tree, beam.nodes
        source, children = _each(tree.first_child, tree.children, nodes)
        stay = beam.scores + frame[tree.phones[nodes]]
        ahead = self.ahead[children] - self.ahead[nodes[source]]
        scores = np.append(stay, beam.scores[source] + ahead + frame[tree.phones[children]])
        kept = _best(scores, scores.max() - width.beam, 3 * width.most)
        origin = np.append(np.arange(len(nodes)), source)[kept]
        grown = Beam(
            beam.histories[origin],
            np.append(nodes, children)[kept],
            scores[kept],
            np.where((nodes[origin] == ROOT) & (kept >= len(nodes)), t, beam.firsts[origin]),
            beam.before[origin],
        )
        # of those with the same history and node only the best
        key = grown.histories * len(tree.phones) + grown.nodes
        order = np.lexsort((-grown.scores, key))
        order = order[np.append(True, key[order][1:] != key[order][:-1])]
        return grown.take(order[_best(grown.scores[order], -np.inf, width.most)])

    def _end_words(
        self, beam: Beam, histories: Histories, trace: list[WordEnd], t: int, width: SearchWidth
    ) -> Beam:
        """The beam, and those of its hypotheses whose word ends with frame t anew at the root."""
        least = beam.scores.max() - width.word_beam
        source, words, scores = self._words(beam, histories, np.flatnonzero(beam.scores > least))
        kept = _best(scores, least, width.most_words)
        source, words = source[kept], words[kept]
        places = len(trace) + np.arange(len(kept))
        ended = beam.take(source)
        extended, scores = histories.extend(ended.histories, self.places[words]), scores[kept]
        columns = (ended.before, words, ended.firsts, np.full(len(kept), t), extended, scores)
        trace += map(WordEnd, *(column.tolist() for column in columns))
        after = Beam(extended, np.full(len(kept), ROOT), scores, ended.firsts, places)
        return Beam(*(np.append(*parts) for parts in zip(beam, after, strict=True)))

    def _words(
        self, beam: Beam, histories: Histories, chosen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The words that may end at the nodes of the chosen hypotheses: whose they are, which, and the score with what
        the language model says of them."""
        source, words = _each(self.tree.first_word, self.tree.words, beam.nodes[chosen])
        source = chosen[source]
        scores = beam.scores[source] - self.ahead[beam.nodes[source]] + self.gains[words]
        return source, words, scores + self.weight * histories(beam.histories[source], self.places[words])

    def _finish(self, beam: Beam, histories: Histories, trace: list[WordEnd], frames: int) -> Heard:
        """The texts that may end with the last frame: with a word that does, or in silence."""
        source, words, scores = self._words(beam, histories, np.arange(len(beam.nodes)))
        if len(words):
            after = histories.extend(beam.histories[source], self.places[words])
            scores = scores + self.weight * histories.end(after)
        pausing = beam.take(np.flatnonzero(beam.nodes == ROOT))
        if len(pausing.nodes):
            ends = self.weight * histories.end(pausing.histories)
            pausing = pausing._replace(scores=pausing.scores + np.where(pausing.before < 0, 0.0, ends))
        return Heard(
            trace,
            np.append(words, np.full(len(pausing.nodes), PAUSE)),
            np.append(beam.firsts[source], pausing.firsts),
            np.append(beam.before[source], pausing.before),
            np.append(scores, pausing.scores),
            frames,
        )


def _each(first: np.ndarray, items: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The items first[g] to first[g + 1] - 1 of each group g of G: the place (N,) of each one's group among `groups`,
    and the item (N,)."""
    count = first[groups + 1] - first[groups]
    source = np.repeat(np.arange(len(groups)), count)
    offset = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
    return source, items[first[groups][source] + offset]


def _best(scores: np.ndarray, least: float, most: int) -> np.ndarray:
    """The places of the `most` best scores above `least`."""
    found = np.flatnonzero(scores > least)
    return found if len(found) <= most else found[np.argpartition(-scores[found], most)[:most]]
