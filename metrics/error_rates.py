"""What WER and CER share: how texts are normalised, aligned (by jiwer) and counted."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jiwer
import numpy as np

from metrics.bootstrap import Interval, ratio_interval

NORMALISATION = (
    "lower case, accents dropped, punctuation but apostrophes inside words to spaces, single spaces"
)


class ErrorRate(NamedTuple):
    value: float  # edits / length of the references; more than 1 where much is inserted
    interval: Interval  # 95 %, over utterances or speakers
    edits: int
    length: int  # words or characters (spaces included) in the references


def normalise(text: str) -> str:
    """Text as it is compared; the rule is named by NORMALISATION."""
    text = unicodedata.normalize("NFKD", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    text = "".join(letter for letter in text if not unicodedata.combining(letter)).lower()
    text = re.sub(r"[^\w']|_", " ", text)
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", text)
    return " ".join(text.split())


def error_rate(
    references: Sequence[str],
    hypotheses: Sequence[str],
    align: Callable[[str, str], jiwer.WordOutput | jiwer.CharacterOutput],
    length: Callable[[str], int],
    seed: int,
    speakers: Sequence[str] | None,
) -> ErrorRate:
    """Edits of all pairs of texts / length of all references, both normalised; `length` counts words or characters.

    The interval is drawn over `speakers` (one a text) where there are two or more, else over utterances. Raises
    ValueError where the numbers differ, or the references hold nothing.
    """
    if len(references) != len(hypotheses):
        raise ValueError(
            f"one hypothesis a reference expected, found {len(hypotheses)} for {len(references)}"
        )
    pairs = [(normalise(said), normalise(heard)) for said, heard in zip(references, hypotheses, strict=True)]
    lengths = np.array([length(said) for said, _ in pairs], dtype=np.int64)
    if not lengths.sum():
        raise ValueError("the references hold no words")
    edits = np.array([_edits(said, heard, align, length) for said, heard in pairs], dtype=np.int64)
    several = speakers is not None and len(set(speakers)) > 1
    interval = ratio_interval(
        edits, lengths, "voices" if several else "clips", speakers if several else None, seed
    )
    return ErrorRate(float(edits.sum() / lengths.sum()), interval, int(edits.sum()), int(lengths.sum()))


def _edits(said: str, heard: str, align: Callable, length: Callable[[str], int]) -> int:
    if not said or not heard:  # jiwer aligns no empty text
        return length(said) + length(heard)
    found = align(said, heard)
    return found.substitutions + found.deletions + found.insertions
