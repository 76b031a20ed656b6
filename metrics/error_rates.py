"""Word and character error rates of a corpus, aligned by jiwer."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jiwer
import numpy as np

from metrics.bootstrap import ratio_interval

NORMALISATION = (
    "lower case, accents dropped, punctuation but apostrophes inside words to spaces, single spaces"
)


class ErrorRate(NamedTuple):
    value: float  # edits / length of the references; more than 1 where much is inserted
    low: float  # 95 % bootstrap interval over utterances
    high: float
    edits: int
    length: int  # words or characters (spaces included) in the references


def normalise(text: str) -> str:
    """Text as it is compared; the rule is named by NORMALISATION."""
    text = unicodedata.normalize("NFKD", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    text = "".join(letter for letter in text if not unicodedata.combining(letter)).lower()
    text = re.sub(r"[^\w']|_", " ", text)
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", text)
    return " ".join(text.split())


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str], seed: int = 0) -> ErrorRate:
    """Normalised texts, one hypothesis a reference -> corpus WER. Raises ValueError without a word of reference."""
    return _error_rate(references, hypotheses, jiwer.process_words, lambda text: len(text.split()), seed)


def character_error_rate(references: Sequence[str], hypotheses: Sequence[str], seed: int = 0) -> ErrorRate:
    """Normalised texts, one hypothesis a reference -> corpus CER; a space counts as a character."""
    return _error_rate(references, hypotheses, jiwer.process_characters, len, seed)


def _error_rate(
    references: Sequence[str],
    hypotheses: Sequence[str],
    align: Callable[[str, str], jiwer.WordOutput | jiwer.CharacterOutput],
    measure: Callable[[str], int],
    seed: int,
) -> ErrorRate:
    if len(references) != len(hypotheses):
        raise ValueError(
            f"one hypothesis a reference expected, found {len(hypotheses)} for {len(references)}"
        )
    pairs = [(normalise(said), normalise(heard)) for said, heard in zip(references, hypotheses, strict=True)]
    lengths = np.array([measure(said) for said, _ in pairs], dtype=np.int64)
    if not lengths.sum():
        raise ValueError("the references hold no words")
    edits = np.array([_edits(said, heard, align, measure) for said, heard in pairs], dtype=np.int64)
    low, high = ratio_interval(edits, lengths, seed=seed)
    return ErrorRate(float(edits.sum() / lengths.sum()), low, high, int(edits.sum()), int(lengths.sum()))


def _edits(said: str, heard: str, align: Callable, measure: Callable[[str], int]) -> int:
    if not said or not heard:  # jiwer aligns no empty text
        return measure(said) + measure(heard)
    found = align(said, heard)
    return found.substitutions + found.deletions + found.insertions
