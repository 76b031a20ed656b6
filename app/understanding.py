"""Which words of a sentence a model does not know, said on the terminal with what to write instead."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from app.console import MOST_SAID, Say, listed, short
from core.errors import UserError

if TYPE_CHECKING:
    from t2i.suggestions import Understanding


class Use(NamedTuple):
    """What is done with a sentence, in the words of the lines below."""

    done: str  # "not in the model's vocabulary, ... without"
    using: str  # "most of the sentence is not understood; ...: a red bird"
    used: str  # "only the first 18 of 20 known words are ..."


PAINTED = Use("painted", "painted from", "painted")
SEARCHED = Use("searched", "searched for", "searched for")


def say_understood(
    found: "Understanding", words: Sequence[str], text: str, use: Use, say: Say, anyway: bool, who: str = ""
) -> None:
    """Say which words of `text` have no say, and what to write instead. words: the vocabulary; who: the model's name
    and a colon, where there are several.

    Raises UserError where nothing that describes a bird was understood, unless `anyway`.
    """
    from t2i.suggestions import words_to_try

    if found.nothing and not anyway:
        instead = f' Perhaps: "{short(found.suggestion)}" (--fix).' if found.suggestion else ""
        examples = f" It knows e.g. {', '.join(words_to_try(words, 16))}." if words else ""
        raise UserError(
            f'{who}no word of "{short(text, 60)}" that describes a bird is known.{instead}{examples} Describe the bird '
            "with such words, or add --anyway"
        )
    if found.unknown:
        say("unknown", f"{who}{listed(found.unknown)}: not in the model's vocabulary, {use.done} without")
    for word, offers in list(found.offers.items())[:MOST_SAID]:
        say("", f"{word}: try {' or '.join(offers)}")
    if found.suggestion:
        say("", f'--text "{found.suggestion}"   (or add --fix)')
    if found.little:
        say("warning", f"{who}most of the sentence is not understood; {use.using}: {' '.join(found.known)}")
    for word in found.negated:
        say("warning", f'{who}"{word}" is not understood: what follows it is {use.used} all the same')
    if found.beyond:
        say("long", f"{who}only the first {len(found.known)} of {len(found.known) + len(found.beyond)} known words "
            f"are {use.used}; left out: {listed(found.beyond)}")  # fmt: skip
