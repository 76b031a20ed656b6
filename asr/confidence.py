"""How sure a recogniser is of each word: from the whole distributions, not their largest value alone, and calibrated.

Tsallis entropy with exponential normalisation: Laptev and Ginsburg, "Fast Entropy-Based Methods of Word-Level
Confidence Estimation for End-to-End Automatic Speech Recognition", 2022 (arXiv 2212.08703). A logistic regression over
few such scores (Platt scaling, of several) turns them into the share of words that are right.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rapidfuzz.distance import Indel

from asr.tokenizer import BLANK
from core.errors import UserError

ALPHA = 1 / 3  # of the entropy; small values heed the less likely tokens more
SMALLEST = 1e-6  # probability: keeps logarithms finite


class SpokenWord(NamedTuple):
    """A word among the tokens of a text."""

    text: str
    tokens: list[int]  # positions of those that it has letters of


def spoken_words(pieces: Sequence[str]) -> list[SpokenWord]:
    """The words that tokens spell, given the text of each token; one or more tokens, or parts of them, are a word."""
    words: list[SpokenWord] = []
    is_inside = False
    for position, piece in enumerate(pieces):
        for letter in piece:
            if letter == " ":
                is_inside = False
                continue
            if not is_inside:
                words.append(SpokenWord("", []))
            text, tokens = words[-1]
            words[-1] = SpokenWord(text + letter, tokens if position in tokens else [*tokens, position])
            is_inside = True
    return words


def certainty(log_probs: np.ndarray) -> np.ndarray:
    """1 - normalised entropy of distributions (..., V), 0 where all are equal and 1 where one is certain -> (...)."""
    V = log_probs.shape[-1]
    most = (V ** (1 - ALPHA) - 1) / (1 - ALPHA)  # entropy of the uniform distribution
    entropy = (np.exp(ALPHA * log_probs).sum(axis=-1) - 1) / (1 - ALPHA)
    return np.clip((np.exp(-entropy) - math.exp(-most)) / (1 - math.exp(-most)), 0.0, 1.0)


# --- scores of a word ---

# new ones come behind the others: `Calibration`
PHONE_SCORES = (
    "likelihood", "worst", "certainty", "language", "spelling", "length", "letters", "piece", "posterior", "neighbours",
)  # fmt: skip
MOST_ODDS = 7.0  # logarithm of odds: what is surer is as good as certain

SCORES = ("likelihood", "worst", "ctc", "attention", "agreement", "letters", "piece")


def word_scores(
    ctc: np.ndarray,
    spans: Sequence[tuple[int, int]],
    attention: np.ndarray | None,
    tokens: Sequence[int],
    words: Sequence[SpokenWord],
    likelihoods: Sequence[float],
) -> np.ndarray:
    """What speaks for each of N words of a piece, larger where it is more likely right -> (N, len(SCORES)).

    ctc (T, V), attention (L + 1, V), None without a decoder: log probabilities; spans: the frames of each of L tokens;
    likelihoods: of each token by both, nats. likelihood and worst are the mean and least of these over the word; ctc
    and attention the logarithm of the least `certainty` over its frames and tokens; agreement whether CTC's best path
    alone spells it; letters the logarithm of their number; piece the mean likelihood of all tokens.
    """
    by_ctc = certainty(ctc)
    by_attention = np.ones(len(tokens) + 1) if attention is None else certainty(attention)
    best = ctc.argmax(axis=-1).tolist()
    piece = float(np.mean(likelihoods)) if len(likelihoods) else 0.0
    found = []
    for word in words:
        first, last = spans[word.tokens[0]][0], spans[word.tokens[-1]][1]
        path = best[first : last + 1]
        spelt = [
            token for token, before in zip(path, [BLANK, *path], strict=False) if token not in (before, BLANK)
        ]
        least = min(float(by_ctc[a : b + 1].max()) for a, b in (spans[token] for token in word.tokens))
        mine = [likelihoods[token] for token in word.tokens]
        found.append(
            [
                float(np.mean(mine)),
                min(mine),
                math.log(max(least, SMALLEST)),
                math.log(max(float(by_attention[word.tokens].min()), SMALLEST)),
                float(spelt == [tokens[token] for token in word.tokens]),
                math.log(len(word.text)),
                piece,
            ]
        )
    return np.array(found).reshape(-1, len(SCORES))


def phone_scores(
    log_probs: np.ndarray,
    labels: Sequence[tuple[int, np.ndarray]],
    words: Sequence[str],
    language: Sequence[float],
    spelt: Sequence[str],
    posteriors: np.ndarray,
) -> np.ndarray:
    """The same of N words found in a lexicon -> (N, len(PHONE_SCORES)).

    log_probs (T, P): of the phones of frames; labels: of each word its first frame and the phones of its frames;
    language: log probability of each after those before it; spelt: what CTC's best path writes during it; posteriors
    (N,): of each among all that the search kept (`asr.word_posteriors`).
    likelihood and worst are the mean over the word's frames and the least of its phones' means; certainty the logarithm
    of the mean `certainty` of its frames; spelling how alike the word and CTC's are, from 0 to 1 (the longest letters
    in order that both have); length the logarithm of the frames a phone has; letters that of the number of letters;
    piece the mean likelihood of all words; posterior its log odds, at most MOST_ODDS for or against;
    neighbours the mean of those of the words before and after it, MOST_ODDS where there is none: errors come together.
    """
    sure = certainty(log_probs)
    found = []
    for word, (first, phones), gain, letters in zip(words, labels, language, spelt, strict=True):
        frames = np.arange(first, first + len(phones))
        likelihoods = log_probs[frames, phones]
        begins = np.flatnonzero(np.append(True, phones[1:] != phones[:-1]))
        means = np.add.reduceat(likelihoods, begins) / np.diff(np.append(begins, len(phones)))
        found.append(
            [
                float(likelihoods.mean()),
                float(means.min()),
                math.log(max(float(sure[frames].mean()), SMALLEST)),
                gain,
                Indel.normalized_similarity(word, letters),
                math.log(len(phones) / len(begins)),
                math.log(len(word)),
            ]
        )
    if not found:
        return np.zeros((0, len(PHONE_SCORES)))
    rows = np.array(found)
    odds = np.log(np.maximum(posteriors, SMALLEST)) - np.log(np.maximum(1 - posteriors, SMALLEST))
    piece = np.full(len(rows), rows[:, 0].mean())
    odds = np.clip(odds, -MOST_ODDS, MOST_ODDS)
    beside = np.pad(odds, 1, constant_values=MOST_ODDS)
    return np.column_stack([rows, piece, odds, (beside[:-2] + beside[2:]) / 2])


# --- calibration ---


class Calibration(NamedTuple):
    """Scores of a word -> the probability that it is right: the logistic function of a weighted sum."""

    weights: np.ndarray  # (S,)
    bias: float
    names: tuple[str, ...] = SCORES  # of the S scores

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """scores (N, S or more) -> (N,). New scores are added behind the others, so that a calibration fitted before
        them is of the first ones."""
        known = np.ascontiguousarray(scores[:, : len(self.weights)])
        return 1 / (1 + np.exp(-np.clip(known @ self.weights + self.bias, -30, 30)))

    def is_of(self, names: tuple[str, ...]) -> bool:
        """Whether it can be applied to scores of these names."""
        return self.names == names[: len(self.names)]

    def as_json(self) -> dict[str, float]:
        return {"bias": self.bias} | dict(zip(self.names, self.weights.tolist(), strict=True))

    @classmethod
    def from_json(
        cls, numbers: dict[str, float], where: str, names: tuple[str, ...] = SCORES
    ) -> "Calibration | None":
        """Of scores of these names, or of the first of them; None where there are no numbers. Raises UserError where
        they are of other scores."""
        if not numbers:
            return None
        known = names[: max(len(numbers) - 1, 1)]
        if set(numbers) != {"bias", *known} or not all(math.isfinite(n) for n in numbers.values()):
            raise UserError(
                f"{where}: confidence should hold the numbers bias, {', '.join(names)}; fit it again "
                "(python -m evaluation.calibrate)"
            )
        return cls(np.array([numbers[name] for name in known]), numbers["bias"], known)


def fit_calibration(
    scores: np.ndarray, is_right: np.ndarray, strength: float = 1.0, names: tuple[str, ...] = SCORES
) -> Calibration:
    """Logistic regression of whether N words were right on their scores (N, S), whose names are given; `strength` of
    the ridge, on scores of unit variance. Raises UserError where all are right, or all wrong."""
    if is_right.all() or not is_right.any():
        raise UserError(
            f"all of {len(is_right)} words are {'right' if is_right.all() else 'wrong'}: nothing can be "
            "told from them; give clips of which some are misheard"
        )
    from sklearn.linear_model import LogisticRegression

    mean, deviation = scores.mean(axis=0), scores.std(axis=0) + 1e-6
    model = LogisticRegression(C=1 / strength, max_iter=1000).fit((scores - mean) / deviation, is_right)
    weights = model.coef_[0] / deviation
    return Calibration(weights, float(model.intercept_[0] - weights @ mean), names)


def joined(confidences: Sequence[float], weights: Sequence[int]) -> float:
    """The geometric mean of confidences, each with its weight."""
    return float(np.exp(np.average(np.log(np.maximum(confidences, SMALLEST)), weights=weights)))
