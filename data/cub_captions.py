"""The colours of parts that captions of photographs name, in the words of CUB's annotators (Reed et al., CVPR 2016).

The parser is that of painted birds (painted_birds/grammar.py); only the vocabulary is another.
"""

import re

from data.painted_birds.grammar import COLOURS, BirdWords, colours_of_parts

PARTS = ("head", "crown", "nape", "throat", "breast", "belly", "back", "wing", "tail", "bill")

_SHADES = {  # of one of the eleven colours; two colour words of one noun name no single colour
    "gray": "grey", "greyish": "grey", "grayish": "grey", "violet": "purple", "brownish": "brown", "reddish": "red",
    "yellowish": "yellow", "blackish": "black", "whitish": "white", "bluish": "blue", "blueish": "blue",
    "greenish": "green", "orangish": "orange", "pinkish": "pink", "purplish": "purple", "scarlet": "red",
    "crimson": "red",
}  # fmt: skip
# colours that are none of the eleven: they are read, so that what they describe takes no other colour, and left out
_OTHERS = "tan beige cream buff gold golden olive silver teal turquoise rufous chestnut rust rusty maroon ivory tawny"

_PART_WORDS = {
    "head": "head heads headed",
    "crown": "crown crowned",
    "nape": "nape",
    "throat": "throat throated",
    "breast": "breast breasts breasted chest chested",
    "belly": "belly bellied stomach abdomen underbelly tummy",
    "back": "back backed mantle",
    "wing": "wings wing winged primaries secondaries",
    "tail": "tail tails tailed rectrices",
    "bill": "bill beak bills beaks billed beaked",
    "body": "body bodied feathers feather plumage upperparts underparts underside",  # of no one place
}
_NOUNS = (
    "eye eyes eyed eyering eyerings eyebrow eyebrows leg legs legged foot feet footed tarsus tarsi thigh thighs neck "
    "crest face cheek cheeks patch patches malar side sides flank flanks vent rump superciliary supercilium coverts "
    "wingbar wingbars bar bars spot spots stripe stripes streak streaks ring rings line lines band bands mask collar "
    "forehead chin shoulder shoulders marking markings mark marks tip tips edge edges edging branch leaf leaves water"
)
_FILLERS = (
    "small little large big short long tiny thin thick fat sharp pointy pointed curved round rounded plump stubby "
    "bright light dark darker lighter pale deep vivid soft colored coloured color colour feathered fluffy slender "
    "shiny glossy sturdy slim smooth hooked straight conical very on over across along its the a of his her"
)
_WORDS = BirdWords(
    {colour: colour for colour in COLOURS} | _SHADES | {word: word for word in _OTHERS.split()},
    {word: part for part, words in _PART_WORDS.items() for word in words.split()},
    frozenset(_NOUNS.split()),
    # words of patterns ("speckled") are not among them: what they describe has more than one colour
    frozenset(_FILLERS.split()),
    # people leave the colour of a next thing unsaid: "a black head, long beak" says nothing of the beak's
    frozenset(),
)
# "white wing bars" are no white wings, "a black eye ring" no black eye
_MARKS = re.compile(
    r"\b(?:wing|tail|head|crown|breast|chest|belly|back|throat|nape|eye|bill|beak|neck|cheek)[\s-]+"
    r"(?:bar|stripe|streak|spot|tip|patch|edge|ring|marking|mark|line|band|brow|covert)(?:s|es)?\b"
)
# "spots of white on its belly" is no white belly
_TOUCHES = re.compile(
    r"\b(?:spot|stripe|streak|patch|bar|ring|line|band|mark|marking|hint|touch|fleck|speck|speckle|splash|tint|shade|tinge)"
    r"(?:s|es)? of (?:\w+ and )?\w+"
)


def named_colours(text: str) -> dict[str, str]:
    """The one colour of every part that a caption names, e.g. {"crown": "red", "wing": "black"}; a part of PARTS to
    which it gives several, or a colour that is none of COLOURS ("tan"), is left out."""
    found = colours_of_parts(_TOUCHES.sub("marking", _MARKS.sub("marking", text.lower())), _WORDS)
    single = {part: next(iter(found[part])) for part in PARTS if len(found.get(part, ())) == 1}
    return {part: colour for part, colour in single.items() if colour in COLOURS}
