"""How probable a word is among all that the search of a lexicon kept: the share of the texts that have it there.

The posteriors of a word's hypotheses, by forward and backward scores in the lattice, are summed over those that cover a
frame; the largest sum of a frame is C_max of Wessel, Schlüter, Macherey and Ney, "Confidence measures for large
vocabulary continuous speech recognition", 2001. The lattice is what the search remembers of the ends of words
(Ortmanns, Ney and Aubert, "A word graph algorithm for large vocabulary continuous speech recognition", 1997).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asr.lexicon_search import FoundWord, Heard

# of the search's scores, in which the sound counts less than the language model already; the best of 0.1 to 2 on
# validation clips
SCALE = 1.0


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


def word_posteriors(heard: Heard, words: Sequence[FoundWord], scale: float = SCALE) -> np.ndarray:
    """How probable each of N words is in the most probable of its frames (N,), 0 to 1."""
    if not words:
        return np.zeros(0)
    lattice = word_lattice(heard)
    posteriors = edge_posteriors(lattice, scale)
    found = []
    for word, first, last in words:
        mine = lattice.words == word
        changes = np.zeros(heard.frames + 1)
        np.add.at(changes, lattice.firsts[mine], posteriors[mine])
        np.add.at(changes, lattice.lasts[mine] + 1, -posteriors[mine])
        found.append(changes.cumsum()[first : last + 1].max())
    return np.clip(found, 0.0, 1.0)
