"""When each phone of a known text was spoken: the frame labels that a phone classifier learns.

Classifiers of frames learn from few hours what CTC needs many for, since every frame has a label and none has to be
found; hybrid recognisers are trained so (Hinton et al., "Deep neural networks for acoustic modeling in speech
recognition", 2012, Sec. III; Lüscher et al., "RWTH ASR systems for LibriSpeech: hybrid vs attention", 2019). The labels
come from the network itself, as in Viterbi training: first from CTC's alignment of the letters, the phones of a word
spread evenly over its frames, then from its own phones.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from asr.lexicon import SILENCE, Pronunciation

if TYPE_CHECKING:
    from torch import Tensor

# of the prior that posteriors are divided by; below 1, since rare phones are estimated badly
PRIOR_SCALE = 0.8


class Graph(NamedTuple):
    """The ways to pronounce a text, S states: of its words any pronunciation, between them silence or none."""

    phones: np.ndarray  # (S,)
    before: np.ndarray  # (S, K): the states from which each is reached, itself among them; S for none
    first: np.ndarray  # (S,) bool: where one may begin
    last: list[int]  # where one may end


def pronunciation_graph(words: Sequence[Sequence[Pronunciation]]) -> Graph:
    """words: the pronunciations of each word of a text; one without any is left out."""
    phones, before = [SILENCE], [[0]]
    first, ends = [0], [0]
    for pronunciations in words:
        finals = []
        for pronunciation in pronunciations:
            for place, phone in enumerate(pronunciation):
                state = len(phones)
                phones.append(phone)
                before.append([state, *(ends if place == 0 else [state - 1])])
                if place == 0 and ends == [0]:
                    first.append(state)
            finals.append(len(phones) - 1)
        if not finals:
            continue
        state = len(phones)
        phones.append(SILENCE)
        before.append([state, *finals])
        ends = [*finals, state]
    table = np.full((len(phones), max(map(len, before))), len(phones))
    for row, states in zip(table, before, strict=True):
        row[: len(states)] = states
    begins = np.zeros(len(phones), bool)
    begins[first] = True
    return Graph(np.array(phones), table, begins, ends)


Array = TypeVar("Array", np.ndarray, "Tensor")


def phone_likelihoods(posteriors: Array, log_prior: Array) -> Array:
    """Log probabilities of phones (..., P), and of their prior (P,), nats -> how likely the sound is under each phone,
    up to a constant of the frame."""
    return posteriors - PRIOR_SCALE * log_prior


def search_scores(posteriors: Array, log_prior: Array, frames: int, weight: float) -> Array:
    """Of phones in each encoder frame, which has `frames` of those of the posteriors (..., T * frames, P), what the
    search of a lexicon adds (..., T, P), nats: `weight` times how likely the sound is under each."""
    *clips, T, P = posteriors.shape
    likelihoods = phone_likelihoods(posteriors, log_prior)
    return weight * likelihoods.reshape(*clips, T // frames, frames, P).sum(-2)


def align_phones(likelihoods: np.ndarray, graph: Graph) -> np.ndarray | None:
    """The most likely phone of every frame (T,) on the way through the graph, by Viterbi's algorithm; None where the
    frames are too few.

    likelihoods (T, P): log likelihood of each frame under each phone, up to a constant of the frame.
    """
    T, S = len(likelihoods), len(graph.phones)
    emitted = likelihoods[:, graph.phones]  # (T, S)
    score = np.full(S + 1, -np.inf)  # the last one of no state
    score[:S][graph.first] = emitted[0, graph.first]
    came = np.zeros((T, S), np.int32)
    every = np.arange(S)
    for t in range(1, T):
        candidates = score[graph.before]  # (S, K)
        best = candidates.argmax(axis=1)
        came[t] = graph.before[every, best]
        score[:S] = candidates[every, best] + emitted[t]
    state = max(graph.last, key=lambda last: score[last])
    if not np.isfinite(score[state]):
        return None
    path = np.empty(T, np.int64)
    for t in range(T - 1, -1, -1):
        path[t] = state
        state = came[t, state]
    return graph.phones[path]
