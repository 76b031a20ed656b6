"""The parts and colours of painted birds, and a parser that finds them in sentences.

`named_colours` is the inverse of captions.py: each must know every word of the other, so that a caption never says
more than the parser finds. A word added there is added here.
"""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

PARTS = ("head", "body", "belly", "wings", "tail", "bill")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey")

BILLS = ("straight", "cone", "dagger", "hooked")


@dataclass(frozen=True)
class Marks:
    """What a species has beside the colours of its parts."""

    bill: str = "straight"  # one of BILLS
    long_tail: bool = False
    wing_bars: bool = False  # two, white or black, see `mark_colour`
    eye_ring: bool = False
    streaks: bool = False  # on the belly
    crest: bool = False


def mark_colour(colour: str) -> str:
    """The colour of a wing bar or an eye ring on this colour: one that shows."""
    return "black" if colour in ("white", "yellow", "pink", "grey", "orange") else "white"


def _words(text: str) -> set[str]:
    return set(text.split())


COLOUR_WORDS = {colour: colour for colour in COLOURS} | {"gray": "grey", "violet": "purple"}

_PART_WORDS = {
    "head": "head crown face headed crowned",
    "body": "body back upperparts upperpart mantle bodied backed",
    "belly": "belly breast underside chest stomach abdomen underparts underbelly tummy bellied breasted chested",
    "wings": "wings wing winged primaries secondaries",
    "tail": "tail tails tailed rectrices",
    "bill": "bill beak bills beaks billed beaked",
}
PARTS_OF_WORD = {word: part for part, words in _PART_WORDS.items() for word in words.split()}

# nouns that take a colour but are no part of ours, so that "black eyes" names nothing
OTHER_NOUNS = _words(
    "eye eyes eyering eyerings eyebrow eyebrows leg legs foot feet tarsus tarsi throat nape neck crest wingbar "
    "wingbars bar bars spot spots stripe stripes ring rings cheek cheeks branch leaf leaves water sky grass"
)
# words that may stand between a colour and its noun
_FILLERS = _words(
    "small little large big short long tiny thin thick fat sharp pointy pointed curved round rounded plump stubby "
    "bright light dark pale deep vivid soft colored coloured color colour feathered fluffy broad strong neat tidy "
    "shiny sturdy slim smooth hooked streaked spotted two on over across along its the a of his her"
)


class BirdWords(NamedTuple):
    """The vocabulary of a parser: colours and parts by their words, where the bird itself is the part "body"."""

    colours: Mapping[str, str]
    parts: Mapping[str, str]
    nouns: Set[str]  # that take a colour but are no part
    fillers: Set[str]  # that may stand between a colour and its noun
    in_lists: Set[str]  # that may stand before a further noun of this colour: "a black head and small tail"

    def kind(self, token: str) -> str:
        """ "colour", a part, "noun" for one that is no part, "" for any other word."""
        if token in self.colours:
            return "colour"
        if token in ("bird", "it"):
            return "body"
        if token in self.nouns:
            return "noun"
        return self.parts.get(token, "")


PAINTED_WORDS = BirdWords(COLOUR_WORDS, PARTS_OF_WORD, OTHER_NOUNS, _FILLERS, _FILLERS - {"a"})

_COPULAS = {"is", "are", "looks", "look"}
_AFTER_COPULA = {
    "bright",
    "light",
    "dark",
    "pale",
    "deep",
    "vivid",
    "colored",
    "coloured",
    "all",
    "mostly",
    "mainly",
}


def named_colours(text: str) -> dict[str, str]:
    """The colour of every part that a sentence names, e.g. {"body": "red", "wings": "black"}.

    Understands synonyms ("beak", "breast", "crown", "gray"), a shared colour ("a black head and tail", "its wings
    and tail are blue") and the bird itself as its body ("a red bird", "this bird is red"). A part to which the
    sentence gives several colours ("a red and black wing") is left out, for no single colour is right.
    """
    found = colours_of_parts(text)
    return {part: next(iter(found[part])) for part in PARTS if len(found.get(part, ())) == 1}


def unnamed_parts(text: str) -> list[str]:
    """The parts of which a sentence says nothing, not even that they are there; the bird itself is named by its
    colour alone."""
    said = set(colours_of_parts(text)) | {
        PARTS_OF_WORD.get(word, "") for word in re.findall(r"[a-z]+", text.lower())
    }
    return [part for part in PARTS if part not in said]


def colours_of_parts(text: str, words: BirdWords = PAINTED_WORDS) -> dict[str, set[str]]:
    """All colours that a sentence gives to each part that it names."""
    tokens = re.findall(r"[a-z]+|[,;.]", text.lower().replace("bird's", "").replace("'s", ""))
    kinds = [words.kind(token) for token in tokens]
    found: dict[str, set[str]] = {}
    bound: set[int] = set()  # positions of parts that have their colour

    def bind(at: int, colour: str) -> None:
        bound.add(at)
        if kinds[at] != "noun":
            found.setdefault(kinds[at], set()).add(colour)

    # "red, small head and tail": every colour looks ahead to its noun
    taken: set[int] = set()
    for i, kind in enumerate(kinds):
        if kind != "colour":
            continue
        at = _noun_after(tokens, kinds, i, words.fillers)
        if at is None:
            continue
        bind(at, words.colours[tokens[i]])
        taken.add(i)
        if kinds[at] == "body" and tokens[at] == "bird":
            continue  # "a red bird and ..." starts another thing
        for other in _list_after(tokens, kinds, at, words.in_lists):
            bind(other, words.colours[tokens[i]])
    # "the wings and the tail are blue": what follows "is" belongs to the nouns before it
    for i, token in enumerate(tokens):
        if token not in _COPULAS:
            continue
        colours = [words.colours[tokens[j]] for j in _colours_after(tokens, kinds, i, taken)]
        for at in _list_before(tokens, kinds, i, bound, words.fillers) if colours else ():
            for colour in colours:
                bind(at, colour)
    return found


def swap_colour(text: str, part: str, colour: str) -> str | None:
    """The sentence with one colour word changed so that `part` has `colour` and nothing else changes.

    None where no single word does that: the part is not named, or shares its colour word with another part.
    """
    wanted = named_colours(text) | {part: colour}
    for word in re.finditer(r"[A-Za-z]+", text):
        if word[0].lower() not in COLOUR_WORDS:
            continue
        before, after = text[: word.start()], text[word.end() :]
        article = "an" if colour[0] in "aeiou" else "a"
        before = re.sub(r"\b(a)n? $", rf"\1{article[1:]} ", before, flags=re.IGNORECASE)  # keeps a capital
        swapped = before + colour + after
        if named_colours(swapped) == wanted and part in named_colours(text):
            return swapped
    return None


def wrong_colours(text: str, rng: np.random.Generator) -> str:
    """The sentence with its colours wrong in one place: a colour word is another, or two have changed places.

    What a picture must be told from if every named part is to count (hard negative captions as of Yuksekgonul et al.,
    ICLR 2023, section 4). A sentence without a colour word is returned as it is.
    """
    found = [word for word in re.finditer(r"[A-Za-z]+", text) if word[0].lower() in COLOUR_WORDS]
    if not found:
        return text
    one = found[rng.integers(len(found))]
    others = [word for word in found if COLOUR_WORDS[word[0].lower()] != COLOUR_WORDS[one[0].lower()]]
    changes = {}
    if others and rng.random() < 0.5:
        other = others[rng.integers(len(others))]
        changes = {one.start(): other[0], other.start(): one[0]}
    else:
        choices = [colour for colour in COLOURS if colour != COLOUR_WORDS[one[0].lower()]]
        changes = {one.start(): choices[rng.integers(len(choices))]}
    for word in reversed(found):
        if word.start() in changes:
            text = text[: word.start()] + changes[word.start()] + text[word.end() :]
    return with_articles(text)


def with_articles(text: str) -> str:
    """The sentence with "a" or "an" as the letter after it asks."""
    return re.sub(r"\ba(?=n? (\w))n?", lambda a: "an" if a[1] in "aeiou" else "a", text)


def _is_noun(kind: str) -> bool:
    return kind not in ("", "colour")


def _noun_after(tokens: list[str], kinds: list[str], i: int, fillers: Set[str]) -> int | None:
    """Position of the noun that the colour at `i` describes, through fillers and further colours; else None."""
    joined = False  # "red and black wings", but not "is red and its wings ..."
    for j in range(i + 1, len(tokens)):
        if _is_noun(kinds[j]):
            return j if tokens[j] != "it" and not joined else None
        if kinds[j] == "colour":
            # both colours describe the noun, unless the first one already ends "this bird is red, ..."
            if _ends_predicate(tokens, kinds, i):
                return None
            joined = False
        elif tokens[j] in ("and", ",", "or"):
            if joined:
                return None
            joined = True
        elif tokens[j] not in fillers or joined:
            return None
    return None


def _ends_predicate(tokens: list[str], kinds: list[str], i: int) -> bool:
    j = i - 1
    while j >= 0 and (tokens[j] in _AFTER_COPULA or kinds[j] == "colour" or tokens[j] in ("and", ",")):
        j -= 1
    return j >= 0 and tokens[j] in _COPULAS


def _list_after(tokens: list[str], kinds: list[str], at: int, in_lists: Set[str]) -> list[int]:
    """Nouns that share the colour of the noun at `at`: "black head, wings and tail", but not "... and its tail is"."""
    nouns, i = [], at + 1
    while i < len(tokens):
        j = i
        while j < len(tokens) and tokens[j] in (",", "and"):
            j += 1
        if j == i:
            break
        while j < len(tokens) and tokens[j] in in_lists:
            j += 1
        if j >= len(tokens) or not _is_noun(kinds[j]) or tokens[j] in ("bird", "it"):
            break
        nouns.append(j)
        i = j + 1
    if i < len(tokens) and (tokens[i] in _COPULAS or tokens[i : i + 2] in (["that", "is"], ["that", "are"])):
        return []  # the list is the subject of what follows
    return nouns


def _list_before(
    tokens: list[str], kinds: list[str], i: int, bound: set[int], fillers: Set[str]
) -> list[int]:
    """The nouns before the copula at `i`, back to the first one that has its colour already."""
    nouns, j = [], i - 1
    while j >= 0:
        if _is_noun(kinds[j]):
            if j in bound:
                break
            nouns.append(j)
            if tokens[j] == "bird":
                break
        elif tokens[j] not in fillers | {"and", ",", "that", "which", "feathers", "feather"}:
            break
        j -= 1
    return nouns


def _colours_after(tokens: list[str], kinds: list[str], i: int, taken: set[int]) -> list[int]:
    """Positions of the colours after the copula at `i`."""
    colours = []
    for j in range(i + 1, len(tokens)):
        if kinds[j] == "colour" and j not in taken:
            colours.append(j)
        elif tokens[j] not in _AFTER_COPULA | {"and", ",", "in"}:
            break
    return colours
