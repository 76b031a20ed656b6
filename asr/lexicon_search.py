"""From the phones of frames to words: a beam search through the lexicon's tree with a language model of words.

Frame-synchronous Viterbi search over one tree of pronunciations a history of words (Ney and Ortmanns, "Dynamic
programming search for continuous speech recognition", 1999, Sec. V and VI): what the language model thinks of a word is
looked ahead of as the best word that a node may become, without its history, and is exact where the word ends. The
hypotheses of a frame are rows of arrays, so that a frame is a dozen numpy calls.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from asr.lexicon import SILENCE, Lexicon
from asr.word_scores import WordScores

ROOT = 0


@dataclass
class SearchWidth:
    """What is kept of a frame."""

    beam: float = 11.0  # nats below the best
    word_beam: float = 9.0  # of hypotheses at a word's end
    most: int = 600  # hypotheses
    most_words: int = 60  # words that end


class FoundWord(NamedTuple):
    word: int  # its place in the lexicon
    first: int  # frames
    last: int


class Found(NamedTuple):
    words: list[FoundWord]
    score: float  # nats


class LexiconSearch:
    """Finds the words of one recording after another; nothing of a recording is kept."""

    def __init__(
        self,
        lexicon: Lexicon,
        scores: WordScores,
        weight: float = 1.0,
        word_bonus: float = 0.0,
        bonuses: np.ndarray | None = None,
    ):
        """weight: of the language model beside the sound. word_bonus: nats a word. bonuses (V,): nats of some words,
        by their place in the lexicon."""
        self.tree, self.scores, self.weight = lexicon.tree(), scores, weight
        places = {word: place for place, word in enumerate(scores.model.words)}
        self._place = np.array([places[word] for word in lexicon.words])
        self.gains = np.full(len(lexicon), word_bonus) + (0.0 if bonuses is None else bonuses)
        unigrams = np.log(np.maximum((scores.shares[:, None] * np.stack(scores.unigrams)).sum(axis=0), 1e-12))
        ahead = np.full(len(self.tree.phones), -np.inf)
        node_of = np.repeat(np.arange(len(self.tree.phones)), np.diff(self.tree.first_word))
        np.maximum.at(ahead, node_of, weight * unigrams[self._place[self.tree.words]] + self.gains[self.tree.words])
        for node in range(len(ahead) - 1, 0, -1):
            parent = self.tree.parents[node]
            if ahead[node] > ahead[parent]:
                ahead[parent] = ahead[node]
        ahead[ROOT] = 0.0
        self.ahead = ahead

    def __call__(self, likelihoods: np.ndarray, width: SearchWidth | None = None) -> Found:
        """likelihoods (T, P): of each frame and phone, scaled, nats."""
        width, tree, weight = width or SearchWidth(), self.tree, self.weight
        size, children, ending = len(tree.phones), np.diff(tree.first_child), np.diff(tree.first_word)
        # of the hypotheses: history, node, score, first frame of the word, the last word's place in `trace`
        history, node = np.array([WordScores.START]), np.array([ROOT])
        score, first, before = np.zeros(1), np.zeros(1, np.int64), np.array([-1])
        trace: list[tuple[int, int, int, int]] = []  # (before, word, first frame, last frame)
        for t, frame in enumerate(likelihoods):
            ends = self._ends(history, node, score, ending, width)
            if t and len(ends[0]):
                which, words, gained = ends
                grown = self.scores.extend(history[which], self._place[words])
                places = len(trace) + np.arange(len(which))
                trace += zip(before[which].tolist(), words.tolist(), first[which].tolist(), [t - 1] * len(which), strict=True)
                history, node = np.append(history, grown), np.append(node, np.full(len(grown), ROOT))
                score, first, before = np.append(score, gained), np.append(first, first[which]), np.append(before, places)
            count = children[node]
            source = np.repeat(np.arange(len(node)), count)
            offset = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
            child = tree.children[tree.first_child[node[source]] + offset]
            stay = score + frame[tree.phones[node]]
            move = score[source] + self.ahead[child] - self.ahead[node[source]] + frame[tree.phones[child]]
            every = np.concatenate([stay, move])
            keep = _best(every, every.max() - width.beam, 3 * width.most)
            moved = keep >= len(stay)
            origin = np.where(moved, 0, keep)
            origin[moved] = source[keep[moved] - len(stay)]
            place = node[origin]
            place[moved] = child[keep[moved] - len(stay)]
            begun = np.where(moved & (node[origin] == ROOT), t, first[origin])
            keep_score = every[keep]
            # of those with the same history and node only the best
            key = history[origin] * size + place
            order = np.lexsort((-keep_score, key))
            order = order[np.append(True, key[order][1:] != key[order][:-1])]
            order = order[_best(keep_score[order], -np.inf, width.most)]
            origin = origin[order]
            history, node, score = history[origin], place[order], keep_score[order]
            first, before = begun[order], before[origin]
        return self._finish(len(likelihoods), history, node, score, first, before, trace)

    def _ends(self, history, node, score, ending, width):
        """Hypotheses whose word may end: which, the word, and the score with the language model's."""
        least = score.max() - width.word_beam
        at = np.flatnonzero((ending[node] > 0) & (score > least))
        count = ending[node[at]]
        which = np.repeat(at, count)
        offset = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        words = self.tree.words[self.tree.first_word[node[which]] + offset]
        if not len(which):
            return which, words, score[which]
        gained = score[which] - self.ahead[node[which]] + self.gains[words]
        gained += self.weight * self.scores(history[which], self._place[words])
        keep = _best(gained, least, width.most_words)
        return which[keep], words[keep], gained[keep]

    def _finish(self, frames, history, node, score, first, before, trace) -> Found:
        """The best text, its end included; the empty one where no word ends at the last frame."""
        found = [Found([], -np.inf)]
        at_root = np.flatnonzero(node == ROOT)
        if len(at_root):
            total = score[at_root] + np.where(
                before[at_root] < 0, 0.0, self.weight * self.scores.end(history[at_root])
            )
            best = int(total.argmax())
            found.append(Found(_traced(trace, int(before[at_root[best]])), float(total[best])))
        wide = SearchWidth(word_beam=np.inf, most_words=10**9)
        which, words, gained = self._ends(history, node, score, np.diff(self.tree.first_word), wide)
        if len(which):
            total = gained + self.weight * self.scores.end(self.scores.extend(history[which], self._place[words]))
            best = int(total.argmax())
            last = FoundWord(int(words[best]), int(first[which[best]]), frames - 1)
            found.append(Found([*_traced(trace, int(before[which[best]])), last], float(total[best])))
        return max(found, key=lambda one: one.score)


def _traced(trace: list[tuple[int, int, int, int]], place: int) -> list[FoundWord]:
    words = []
    while place >= 0:
        place, word, first, last = trace[place]
        words.append(FoundWord(word, first, last))
    return words[::-1]


def _best(scores: np.ndarray, least: float, most: int) -> np.ndarray:
    """The places of the `most` best scores above `least`."""
    found = np.flatnonzero(scores > least)
    return found if len(found) <= most else found[np.argpartition(-scores[found], most)[:most]]
