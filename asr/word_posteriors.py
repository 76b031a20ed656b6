"""How probable a word is among all that the search of a lexicon kept: the share of the texts that have it there.

The posteriors of a word's hypotheses, by forward and backward scores in the lattice, are summed over those that cover a
frame; the largest sum of a frame is C_max of Wessel, Schlüter, Macherey and Ney, "Confidence measures for
large vocabulary continuous speech recognition", 2001. The lattice is what the search remembers of the ends of words
(Ortmanns, Ney and Aubert, "A word graph algorithm for large vocabulary continuous speech recognition", 1997).
"""

from typing import NamedTuple

import numpy as np

from asr.language_model import SMALLEST
from asr.lexicon_search import PAUSE, FoundWord, Heard

SCALE = 1.0  # of the search's scores, in which the sound counts less than the language model already


class Lattice(NamedTuple):
    """N nodes, each a frame and a history of words, and E edges, each a word, in the order of their last frames.

    Node 0 is the beginning, node N - 1 the end; every path from there to there is a text that the search compared.
    """

    sources: np.ndarray  # (E,) nodes
    targets: np.ndarray  # (E,) nodes, each above its source
    words: np.ndarray  # (E,) PAUSE for silence up to the end
    firsts: np.ndarray  # (E,) frames; the silence before a word is none of its frames, but in its score
    lasts: np.ndarray  # (E,)
    scores: np.ndarray  # (E,) of sound and language model, that the text ends included where it does; nats
    nodes: int  # N


def word_lattice(heard: Heard) -> Lattice:
    """A word's score is what it adds to the best text before it, since all texts of one node go on alike."""
    before, words, firsts, lasts, histories = np.array([end[:5] for end in heard.trace], int).reshape(-1, 5).T
    scores = np.array([end.score for end in heard.trace])
    frame_and_history = lasts * (histories.max(initial=0) + 1) + histories
    kept, nodes = np.unique(frame_and_history, return_inverse=True)  # in the order of frames
    end = len(kept) + 1
    before = np.append(before, heard.before)
    # of a word that is the first, the place before is -1: the last one here
    node_at, score_at = np.append(nodes + 1, 0), np.append(scores, 0.0)
    return Lattice(
        node_at[before],
        np.append(nodes + 1, np.full(len(heard.words), end)),
        np.append(words, heard.words),
        np.append(firsts, heard.firsts),
        np.append(lasts, np.full(len(heard.words), heard.frames - 1)),
        np.append(scores, heard.scores) - score_at[before],
        end + 1,
    )


def edge_posteriors(lattice: Lattice, scale: float = SCALE) -> np.ndarray:
    """The share (E,) of all paths that each edge is on, a path's weight being exp(scale * its score)."""
    sources, targets, scores = lattice.sources, lattice.targets, scale * lattice.scores
    forward = np.full(lattice.nodes, -np.inf)
    backward = forward.copy()
    forward[0] = backward[-1] = 0.0
    frames = np.split(np.arange(len(scores)), np.flatnonzero(np.diff(lattice.lasts)) + 1)
    for edges in frames:
        np.logaddexp.at(forward, targets[edges], forward[sources[edges]] + scores[edges])
    for edges in reversed(frames):
        np.logaddexp.at(backward, sources[edges], backward[targets[edges]] + scores[edges])
    return np.exp(forward[sources] + scores + backward[targets] - forward[-1])


def frame_posteriors(lattice: Lattice, posteriors: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """posteriors (E,) -> the K words of the lattice (K,) in order, PAUSE first, and how probable each is in each of T
    frames (K, T); of PAUSE that no word is spoken."""
    words, rows = np.unique(np.append(PAUSE, lattice.words), return_inverse=True)
    is_word, rows = lattice.words != PAUSE, rows[1:]
    changes = np.zeros((len(words), frames + 1))
    np.add.at(changes, (rows[is_word], lattice.firsts[is_word]), posteriors[is_word])
    np.add.at(changes, (rows[is_word], lattice.lasts[is_word] + 1), -posteriors[is_word])
    probable = np.clip(changes.cumsum(axis=1)[:, :frames], 0.0, 1.0)
    probable[0] = np.maximum(1 - probable[1:].sum(axis=0), 0.0)
    return words, probable


def word_posteriors(
    heard: Heard, found: list[FoundWord], scale: float = SCALE
) -> tuple[np.ndarray, np.ndarray]:
    """Of each of the N words of the best text its posterior (N,), that in the most probable of its frames, and the
    entropy (N,) of all words, nats, the mean of its frames: whether few stand against it, or many."""
    if not found:
        return np.zeros(0), np.zeros(0)
    lattice = word_lattice(heard)
    words, probable = frame_posteriors(lattice, edge_posteriors(lattice, scale), heard.frames)
    entropy = -(probable * np.log(np.maximum(probable, SMALLEST))).sum(axis=0)  # (T,)
    rows = np.searchsorted(words, [one.word for one in found])
    spans = [slice(one.first, one.last + 1) for one in found]
    most = [probable[row, span].max() for row, span in zip(rows, spans, strict=True)]
    return np.array(most), np.array([entropy[span].mean() for span in spans])
