"""Lattice-free MMI: the sums over ways to say a text, and anything, against their enumeration."""

import itertools

import numpy as np
import pytest
import torch

from asr.alignment import pronunciation_graph
from asr.lexicon import PHONES, SILENCE
from asr.mmi import PhoneLanguage, TextStates, forward_backward, mmi_loss, phone_trigrams

P = len(PHONES)
TEXT = [[(1, 2)], [(3,), (4, 5)]]  # a word, and one that is said in two ways
GRAPHS = [pronunciation_graph(TEXT), pronunciation_graph([[(6,)]])]
FRAMES = torch.tensor([5, 3])


@pytest.fixture
def scores() -> torch.Tensor:
    return torch.randn(2, 5, P, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(scope="module")
def trigrams() -> torch.Tensor:
    return phone_trigrams([TEXT, [[(5, 6)], [(7,)]]]).double()


def ways(graph, frames):
    """All paths of states through a graph."""
    for path in itertools.product(range(len(graph.phones)), repeat=frames):
        follow = all(a in graph.before[b] for a, b in itertools.pairwise(path))
        if graph.first[path[0]] and path[-1] in graph.last and follow:
            yield path


def test_the_ways_to_say_a_text_are_summed_and_each_phone_has_its_share(scores):
    found = forward_backward(scores, FRAMES, TextStates(GRAPHS))
    for b, (graph, frames) in enumerate(zip(GRAPHS, FRAMES.tolist(), strict=True)):
        paths = np.array([graph.phones[list(path)] for path in ways(graph, frames)])  # (N, T)
        clip = scores[b].numpy()
        weights = np.exp(clip[np.arange(frames), paths].sum(axis=1))
        assert found.total[b].item() == pytest.approx(np.log(weights.sum()))
        for t in range(5):
            expected = np.bincount(paths[:, t], weights, P) / weights.sum() if t < frames else np.zeros(P)
            assert found.occupancy[t, b].numpy() == pytest.approx(expected)


def test_anything_may_be_said_as_the_trigram_has_it(scores, trigrams):
    found = forward_backward(scores, FRAMES, PhoneLanguage(trigrams, 2))
    for b, frames in enumerate(FRAMES.tolist()):
        # the same in the log domain, state by state: (before, present)
        state = torch.full((P, P), -torch.inf, dtype=torch.float64)
        state[SILENCE] = trigrams[SILENCE, SILENCE].log() + scores[b, 0]
        for t in range(1, frames):
            moved = torch.logsumexp(state[:, :, None] + trigrams.log(), dim=0)
            state = torch.logaddexp(state, moved) + scores[b, t]
        assert found.total[b].item() == pytest.approx(torch.logsumexp(state.flatten(), 0).item())
    assert torch.allclose(found.occupancy.sum(dim=2)[:3], torch.ones(3, 2, dtype=torch.float64))
    assert (found.occupancy[3:, 1] == 0).all()


def test_the_gradient_is_that_of_the_loss(scores, trigrams):
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mmi_loss(x, FRAMES, GRAPHS, trigrams), scores)


def test_padding_changes_nothing_and_a_text_that_cannot_fit_costs_nothing(scores, trigrams):
    both = mmi_loss(scores, FRAMES, GRAPHS, trigrams)
    alone = mmi_loss(scores[1:, :3], FRAMES[1:], GRAPHS[1:], trigrams)
    assert both[1].item() == pytest.approx(alone.item())
    short = scores[:1].clone().requires_grad_()
    loss = mmi_loss(short, torch.tensor([2]), GRAPHS[:1], trigrams)  # three phones at least
    loss.sum().backward()
    assert loss.item() == 0.0 and short.grad is not None and (short.grad == 0).all()


def test_a_long_recording_that_sounds_unlike_its_text_stays_finite(trigrams):
    graph = pronunciation_graph([[(1, 2, 3, 4)]] * 40)
    scores = torch.zeros(1, 600, P).index_fill(2, torch.tensor([1, 2, 3, 4]), -4.0).requires_grad_()
    loss = mmi_loss(scores, torch.tensor([600]), [graph], trigrams.float())
    loss.sum().backward()
    # silence is as likely as anything for all but the text's 160 phones
    assert 4 * 100 < loss.item() < 4 * 600 and scores.grad is not None and scores.grad.isfinite().all()


def test_trigrams_are_what_texts_hold():
    trigrams = phone_trigrams([[[(1, 2)], [(3,)]]] * 100)
    assert torch.allclose(trigrams.sum(dim=2), torch.ones(P, P))
    # after 1 and 2 comes 3, or a pause before it in a fifth of the gaps
    assert trigrams[1, 2, 3].item() == pytest.approx(0.8, abs=0.02)
    assert trigrams[1, 2, SILENCE].item() == pytest.approx(0.2, abs=0.02)
    assert (trigrams[SILENCE, SILENCE].argmax() == 1) and trigrams[5, 5, 5] < trigrams[5, 5, 1]
