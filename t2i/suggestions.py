"""What a text encoder's vocabulary makes of a sentence: the words it knows, and what to say instead of the others.

Pure functions of a text and a vocabulary, without torch: the terminal, a page and tests ask them alike.
Spelling is compared by difflib, inflections by the endings below: a stemmer of nltk would take seconds to import.
"""

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from t2i.vocabulary import tokens


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words without a content of their own: articles, pronouns, auxiliaries, prepositions, conjunctions, polite requests.
FUNCTION_WORDS = _words(
    """a an the this that these those there here it its itself he his him she her hers they their them we our us you
    your i me my is am are was were be been being has have had having do does did will would can could shall should may
    might must and or but nor so yet if then than as of in on at to from by for with without about into onto over under
    up down out off between among through during both each every either neither some any all no not never just also too
    very quite rather really more most much many few which who whom whose what when where while how like please show
    draw paint make give want see s t"""
)
# They say that there is a bird, which is always painted, and not which.
GENERIC_WORDS = _words(
    "bird birds animal animals creature look looks looking picture photo image painting kind sort type color colour "
    "colored coloured"
)
NEGATIONS = _words("no not without never neither nor none lacking lacks except isn't hasn't doesn't aren't")

COMMON = 1000  # words of a vocabulary that a misspelt word may stand for

# Everyday words of one kind and what to say instead, the best first; only words that the vocabulary has are offered.
_INSTEAD: dict[str, tuple[tuple[str, str], ...]] = {
    "colour": (
        ("crimson scarlet ruby cherry vermilion maroon burgundy ginger", "red"),
        ("golden gold lemon blond mustard canary", "yellow"),
        ("amber peach apricot tangerine", "orange"),
        ("turquoise teal cyan aqua aquamarine", "blue green"),
        ("navy azure cobalt sapphire indigo", "blue"),
        ("emerald olive lime jade khaki", "green"),
        ("violet lilac lavender mauve plum", "purple"),
        ("magenta rose salmon coral fuchsia", "pink"),
        ("tan beige chestnut rust rusty russet cinnamon chocolate bronze copper hazel buff tawny", "brown"),
        ("gray grey silver silvery slate charcoal ash ashy", "grey gray"),
        ("ebony jet inky", "black"),
        ("ivory cream snow snowy pearl", "white"),
    ),
    "part": (
        ("bill beak nib", "beak bill"),
        ("chest bosom", "breast"),
        ("tummy stomach abdomen underbelly", "belly underside"),
        ("cap hat forehead", "crown head"),
        ("face throat neck nape", "head"),
        ("feet foot leg claws", "legs"),
        ("plumage fur", "feathers"),
        ("tuft mohawk", "crest"),
    ),
    "size": (
        ("tiny wee petite", "small little"),
        ("big huge giant enormous", "large"),
    ),
    "shape": (
        ("chubby fat", "plump round"),
        ("slim slender skinny", "thin"),
        ("stripy striped", "streaked"),
    ),
}
SYNONYMS: dict[str, tuple[str, ...]] = {
    meant: tuple(instead.split())
    for lines in _INSTEAD.values()
    for line, instead in lines
    for meant in line.split()
}
# What one may say in place of another word of the kind: colours, parts, sizes, shapes.
KINDS = {kind: frozenset(" ".join(map(" ".join, lines)).split()) for kind, lines in _INSTEAD.items()}
PHRASES = {  # of two words, which captions write as one
    ("wing", "bar"): "wingbars", ("wing", "bars"): "wingbars", ("eye", "ring"): "eyering",
    ("eye", "rings"): "eyering", ("upper", "parts"): "upperparts", ("under", "side"): "underside",
}  # fmt: skip


@dataclass(frozen=True)
class Understanding:
    """What is read of a sentence, and what is not."""

    known: list[str]  # what the encoder reads, in order
    beyond: list[str]  # known words after the longest caption it reads, which are left out
    descriptive: list[str]  # of `known`, those that describe the bird
    unknown: list[str]  # words with a content that the vocabulary has not, each once
    negated: list[str]  # words that deny, which no generator here obeys
    offers: dict[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # unknown word or phrase -> what to say instead
    suggestion: str = ""  # the sentence with the first of every offer, "" without any

    @property
    def nothing(self) -> bool:
        """Nothing that describes a bird was understood, though something was said."""
        return not self.descriptive and (bool(self.unknown) or not set(self.known) & GENERIC_WORDS)

    @property
    def little(self) -> bool:
        """Less than half of what was said about the bird was understood."""
        return self.nothing or len(self.descriptive) + len(self.beyond) < len(self.unknown)


def understand(text: str, vocabulary: Sequence[str], max_words: int) -> Understanding:
    """A sentence, the vocabulary (the commonest words first) and the longest caption that is read -> Understanding."""
    has, said = set(vocabulary), tokens(text)
    read = [word for word in said if word in has]
    known = read[:max_words]
    unknown = list(dict.fromkeys(w for w in said if w not in has and w not in FUNCTION_WORDS))
    descriptive = [w for w in known if w not in FUNCTION_WORDS | GENERIC_WORDS]
    replaced = _phrases(said, has)
    for word in unknown:
        if not any(word in phrase.split() for phrase in replaced):
            offer = offers(word, vocabulary)
            if offer:
                replaced[word] = offer
    denied = re.findall(r"[\w']+", text.lower().replace("’", "'"))
    return Understanding(
        known,
        read[max_words:],
        descriptive,
        unknown,
        [word for word in dict.fromkeys(denied) if word in NEGATIONS],
        replaced,
        apply_offers(text, replaced) if replaced else "",
    )


def offers(word: str, vocabulary: Sequence[str]) -> tuple[str, ...]:
    """What to say instead of an unknown word: an inflection, an everyday synonym or the nearest spelling; or ()."""
    has = set(vocabulary) - FUNCTION_WORDS
    inflected = next((form for form in inflections(word) if form in has), None)
    if inflected:
        return (inflected,)
    for form in (word, *inflections(word)):
        instead = tuple(other for other in SYNONYMS.get(form, ()) if other in has and other != word)
        if instead:
            return instead[:2]
    if len(word) < 4:  # every short word is near to some other
        return ()
    # a word of four letters may have two of them exchanged; of more, about one in four may differ
    near = difflib.get_close_matches(
        word, [w for w in vocabulary if w in has and len(w) > 2], n=1, cutoff=0.75
    )
    return tuple(near)


def inflections(word: str) -> list[str]:
    """Other forms of an English word, not all of which exist: birds -> bird, reddish -> red, feather -> feathers."""
    stems = [word]
    for ending in ("s", "es", "ed", "d", "ing", "ish", "y", "ly", "er", "est"):
        if word.endswith(ending) and len(word) - len(ending) > 2:
            stem = word.removesuffix(ending)
            stems += [stem, f"{stem}e", *([stem[:-1]] if stem[-1] == stem[-2] else [])]
    if word.endswith("ies"):
        stems.append(f"{word[:-3]}y")
    if "colour" in word:
        stems.append(word.replace("colour", "color"))
    forms = [stem + ending for stem in stems for ending in ("", "s", "es", "ed", "d", "y")]
    return [form for form in dict.fromkeys(forms) if form != word]


def apply_offers(text: str, replaced: dict[str, tuple[str, ...]]) -> str:
    """The sentence with the first offer in place of every word or phrase that has one."""
    for word, instead in replaced.items():
        pattern = r"\W+".join(map(re.escape, word.split()))
        text = re.sub(rf"(?<!\w){pattern}(?!\w)", instead[0], text, flags=re.IGNORECASE)
    return text


def words_to_try(vocabulary: Sequence[str], count: int = 24) -> list[str]:
    """The commonest words of a vocabulary that describe something."""
    return [w for w in vocabulary if w.isalpha() and w not in FUNCTION_WORDS | GENERIC_WORDS][:count]


def _phrases(said: Sequence[str], has: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Pairs of words in `said` that the vocabulary writes as one."""
    return {
        " ".join(pair): (PHRASES[pair],)
        for pair in zip(said, said[1:], strict=False)
        if pair in PHRASES and PHRASES[pair] in has and pair[1] not in has
    }
