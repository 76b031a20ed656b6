"""The posteriors of words among all that the search of a lexicon kept, and the confidences made of them."""

import itertools
from collections import defaultdict

import numpy as np
import pytest

from asr.alignment import align_phones, pronunciation_graph
from asr.confidence import MOST_ODDS, PHONE_SCORES, SCORES, Calibration, phone_scores
from asr.language_model import LanguageModel
from asr.lexicon import PHONES, SILENCE, Lexicon
from asr.lexicon_search import PAUSE, FoundWord, Heard, LexiconSearch, SearchWidth
from asr.word_posteriors import Lattice, edge_posteriors, word_lattice, word_posteriors
from asr.word_scores import START, Histories, WordScores
from core.errors import UserError
from training import language_model as language_model_command

TEXTS = ["he read the red red", "the red he", "read he the", "he was the"] * 2
LEXICON = Lexicon.parse(["he HH IY", "read R EH D", "red R EH D", "the DH AH"], "here")
SEVERAL = Lexicon.parse(
    ["he HH IY", "read R EH D", "read R IY D", "red R EH D", "the DH AH", "the DH IY"], "here"
)
WIDE = SearchWidth(beam=1e9, word_beam=1e9, most=10**6, most_words=10**6)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return language_model_command.train({"all": TEXTS}, order=4, prune=0.0)


def search_of(lexicon: Lexicon, model: LanguageModel, weight: float = 1.0) -> LexiconSearch:
    return LexiconSearch(lexicon, np.searchsorted(model.words, lexicon.words), WordScores(model), weight)


def clear(spoken: str) -> np.ndarray:
    """Likelihoods of frames, three of each of the phones `spoken`."""
    phones = [PHONES.index(phone) for phone in spoken.split()]
    likelihoods = np.full((3 * len(phones), len(PHONES)), -6.0)
    likelihoods[np.arange(len(likelihoods)), np.repeat(phones, 3)] = 0.0
    return likelihoods


# ---- against all texts ----


@pytest.mark.parametrize(("seed", "scale"), [(0, 1.0), (1, 1.0), (2, 0.3)])
def test_posteriors_are_shares_of_all_texts(model, seed, scale):
    """All that fit into seven frames, each at its best alignment that ends with a word and at its best in silence: the
    language model's history is the whole text, so that the search compares just these."""
    search = search_of(LEXICON, model, weight=0.7)
    likelihoods = np.random.default_rng(seed).standard_normal((7, len(PHONES))) * 2
    heard = search.hear(likelihoods, WIDE)
    weights, spans = [], []
    for text in (words for size in range(4) for words in itertools.product(range(4), repeat=size)):
        spoken = [LEXICON.pronunciations(LEXICON.words[word]) for word in text]
        graph, gain = pronunciation_graph(spoken), language(search, text)
        for last in [[end] for end in graph.last]:
            labels = align_phones(likelihoods, graph._replace(last=last))
            if labels is not None:
                score = gain + likelihoods[np.arange(7), labels].sum()
                weights.append(np.exp(scale * score))
                spans.append(words_of(labels, text, [len(one[0]) for one in spoken]))
    expected = np.zeros((4, 7))
    for weight, words in zip(weights, spans, strict=True):
        for word, first, last in words:
            expected[word, first : last + 1] += weight / sum(weights)
    each = [FoundWord(word, frame, frame) for word in range(4) for frame in range(7)]
    np.testing.assert_allclose(word_posteriors(heard, each, scale).reshape(4, 7), expected, atol=1e-9)
    found = heard.best.words
    assert found == spans[int(np.argmax(weights))]
    most = [expected[word, first : last + 1].max() for word, first, last in found]
    assert word_posteriors(heard, found, scale) == pytest.approx(most)


def language(search: LexiconSearch, text: tuple[int, ...]) -> float:
    histories, history, total = Histories(search.scores), np.array([START]), 0.0
    for word in text:
        total += float(histories(history, search.places[[word]])[0])
        history = histories.extend(history, search.places[[word]])
    return search.weight * (total + float(histories.end(history)[0]) if text else 0.0)


def words_of(labels: np.ndarray, text: tuple[int, ...], lengths: list[int]) -> list[FoundWord]:
    """Where the words of a text, of so many phones each, are among the phones of frames; no phone follows itself."""
    begins = np.flatnonzero(np.append(True, labels[1:] != labels[:-1]))
    runs = [
        (begin, end - 1)
        for begin, end in zip(begins, np.append(begins[1:], len(labels)), strict=True)
        if labels[begin] != SILENCE
    ]
    ends = np.cumsum(lengths)
    return [
        FoundWord(word, int(runs[end - length][0]), int(runs[end - 1][1]))
        for word, length, end in zip(text, lengths, ends, strict=True)
    ]


# ---- of a lattice ----


def noise_heard(model: LanguageModel, seed: int) -> Heard:
    likelihoods = np.random.default_rng(seed).standard_normal((11, len(PHONES))) * 1.5
    return search_of(SEVERAL, model).hear(
        likelihoods, SearchWidth(beam=8.0, word_beam=8.0, most=60, most_words=5)
    )


def paths_of(lattice: Lattice) -> list[list[int]]:
    """The edges of every path from the beginning to the end."""
    leaving = defaultdict(list)
    for edge, source in enumerate(lattice.sources.tolist()):
        leaving[source].append(edge)

    def onward(node: int):
        if node == lattice.nodes - 1:
            yield []
        for edge in leaving[node]:
            for rest in onward(int(lattice.targets[edge])):
                yield [edge, *rest]

    return list(onward(0))


@pytest.mark.parametrize("seed", range(4))
def test_a_word_follows_the_best_of_those_that_ended_with_the_same_frame_and_history(model, seed):
    """So that a word's score is what it adds, whichever of them it follows."""
    trace = noise_heard(model, seed).trace
    best = defaultdict(lambda: -np.inf)
    for end in trace:
        best[end.last, end.history] = max(best[end.last, end.history], end.score)
    assert len(best) < len(trace)  # some share both
    for end in trace:
        if end.before >= 0:
            before = trace[end.before]
            assert before.last < end.first <= end.last
            assert before.score == best[before.last, before.history]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_posteriors_are_shares_of_all_paths(model, seed, scale):
    heard = noise_heard(model, seed)
    lattice = word_lattice(heard)
    paths = paths_of(lattice)
    assert 10 < len(paths) < 100_000
    scores = np.array([lattice.scores[path].sum() for path in paths])
    weights = np.exp(scale * (scores - scores.max()))
    expected = np.zeros(len(lattice.words))
    for path, weight in zip(paths, weights / weights.sum(), strict=True):
        expected[path] += weight
    found = edge_posteriors(lattice, scale)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found[lattice.targets == lattice.nodes - 1].sum() == pytest.approx(1)  # every text ends once
    for frame in range(heard.frames):  # and has a word in a frame, or silence
        covers = (lattice.words != PAUSE) & (lattice.firsts <= frame) & (frame <= lattice.lasts)
        assert found[covers].sum() <= 1 + 1e-9
    best = heard.best
    assert scores.max() == pytest.approx(best.score)
    spoken = [edge for edge in paths[int(scores.argmax())] if lattice.words[edge] != PAUSE]
    assert [(lattice.words[e], lattice.firsts[e], lattice.lasts[e]) for e in spoken] == best.words


# ---- what they say ----


def test_what_is_clear_is_certain_and_what_sounds_alike_is_shared():
    model = language_model_command.train({"all": ["he red the", "he read the"] * 3}, order=3, prune=0.0)
    heard = search_of(LEXICON, model).hear(clear("SIL HH IY R EH D DH AH SIL"))
    found = heard.best.words
    assert [LEXICON.words[one.word] for one in found] in (["he", "red", "the"], ["he", "read", "the"])
    assert word_posteriors(heard, found) == pytest.approx([1, 0.5, 1], abs=0.01)


def test_where_nothing_is_said_there_are_no_posteriors(model):
    for frames in (clear("SIL SIL"), np.zeros((0, len(PHONES)))):
        heard = search_of(LEXICON, model).hear(frames)
        assert heard.best.words == [] and word_posteriors(heard, []).shape == (0,)


def test_scores_of_words_have_the_posteriors_log_odds():
    log_probs = np.log(np.full((6, len(PHONES)), 1 / len(PHONES)))
    labels = [(0, np.zeros(2, int)), (2, np.zeros(2, int)), (4, np.zeros(2, int))]
    scores = phone_scores(
        log_probs, labels, ["a", "b", "c"], [0.0] * 3, [""] * 3, np.array([0.9, 1.0, 0.0])
    )  # fmt: skip
    named = dict(zip(PHONE_SCORES, scores.T, strict=True))
    assert named["posterior"] == pytest.approx([np.log(9), MOST_ODDS, -MOST_ODDS])
    assert named["neighbours"] == pytest.approx([MOST_ODDS, (np.log(9) - MOST_ODDS) / 2, MOST_ODDS])
    assert named["piece"] == pytest.approx(named["likelihood"])
    none = phone_scores(log_probs, [], [], [], [], np.zeros(0))
    assert none.shape == (0, len(PHONE_SCORES))


# ---- a calibration from before ----


def test_a_calibration_of_the_first_scores_is_still_applied_to_them():
    first = PHONE_SCORES[:8]
    assert first == ("likelihood", "worst", "certainty", "language", "spelling", "length", "letters", "piece")
    rng = np.random.default_rng(0)
    numbers = {"bias": 0.4} | {name: float(rng.standard_normal()) for name in first[::-1]}
    calibration = Calibration.from_json(numbers, "config.json", PHONE_SCORES)
    assert calibration is not None and calibration.names == first and calibration.as_json() == numbers
    scores = rng.standard_normal((40, len(PHONE_SCORES)))
    before = scores[:, :8].copy() @ np.array([numbers[name] for name in first]) + 0.4
    assert np.array_equal(calibration(scores), 1 / (1 + np.exp(-before)))
    assert calibration.is_of(PHONE_SCORES) and not calibration.is_of(SCORES)
    every = numbers | {name: 0.1 for name in PHONE_SCORES}
    fresh = Calibration.from_json(every, "config.json", PHONE_SCORES)
    assert fresh is not None and fresh.names == PHONE_SCORES and not fresh.is_of(first)
    for wrong in (numbers | {"ctc": 1.0}, {name: n for name, n in every.items() if name != "piece"}):
        with pytest.raises(
            UserError, match="confidence should hold the numbers bias, likelihood, .*, neighbours"
        ):
            Calibration.from_json(wrong, "config.json", PHONE_SCORES)
