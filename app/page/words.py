"""The words of a sentence that one may change, what may stand in their place, and what a sentence leaves open."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from data.painted_birds.captions import BILL_WORDS
from data.painted_birds.grammar import (
    COLOUR_WORDS,
    OTHER_NOUNS,
    PARTS_OF_WORD,
    unnamed_parts,
    with_articles,
)
from t2i.suggestions import KINDS
from t2i.vocabulary import tokens

MOST_CHOICES = 12  # offered for a word, the commonest of the vocabulary first
# kinds of words: those of everyday English, and those of the captions that the models learn from
ALIKE = [
    KINDS["colour"] | COLOUR_WORDS.keys(),
    KINDS["part"] | PARTS_OF_WORD.keys() | OTHER_NOUNS,
    KINDS["size"],
    KINDS["shape"] | {word for words in BILL_WORDS.values() for word in words},
]


class Piece(NamedTuple):
    """A stretch of a sentence. word: its number, None between words; choices: what may be said in its place."""

    text: str
    word: int | None
    choices: tuple[str, ...] = ()


def pieces(text: str, vocabulary: Sequence[str] | None) -> list[Piece]:
    """The sentence in pieces, which together are the sentence. vocabulary: of the painter, None where it reads
    letters."""
    found, end, count = [], 0, 0
    for word in re.finditer(r"\w+", text):
        if word.start() > end:
            found.append(Piece(text[end : word.start()], None))
        found.append(Piece(word[0], count, choices(word[0], vocabulary)))
        end, count = word.end(), count + 1
    return [*found, Piece(text[end:], None)] if end < len(text) else found


def choices(word: str, vocabulary: Sequence[str] | None) -> tuple[str, ...]:
    """What may stand in place of a known word: others of its kind and number, the commonest first."""
    said = "".join(tokens(word))
    kind: set[str] | frozenset[str] = next((words for words in ALIKE if said in words), set())
    known = sorted(kind) if vocabulary is None else vocabulary
    if said not in known:
        return ()
    same = (other for other in known if other in kind and ending(other) == ending(said))
    return tuple(other for other in same if meaning(other) != meaning(said))[:MOST_CHOICES]


def meaning(word: str) -> str:
    """The word itself, but one spelling of grey."""
    return COLOUR_WORDS.get(word, word)


def ending(word: str) -> str:
    """What tells wings from a wing, and a winged bird from both; "" also for short words, such as red."""
    return next((end for end in ("ss", "s", "ed") if word.endswith(end) and len(word) > len(end) + 2), "")


def change(text: str, number: int, by: str) -> str:
    """The sentence with another word in place of the one of that number, and "a" or "an" as it asks; as it is where
    there is no such word."""
    found = list(re.finditer(r"\w+", text))
    if not 0 <= number < len(found):
        return text
    word = found[number]
    return with_articles(text[: word.start()] + by + text[word.end() :])


def left_open(text: str, vocabulary: Sequence[str] | None) -> list[str]:
    """What a sentence says nothing of though the painter knows words for it: parts of the bird, and its size."""
    known = None if vocabulary is None else set(vocabulary)
    said = set(tokens(text))
    names = [
        part
        for part in unnamed_parts(text)
        if known is None or any(word in known for word, of in PARTS_OF_WORD.items() if of == part)
    ]
    sizes = KINDS["size"] if known is None else KINDS["size"] & known
    return [*names, *(["size"] if sizes and not said & KINDS["size"] else [])]
