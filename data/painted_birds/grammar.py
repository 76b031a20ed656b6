"""What people say about a painted bird: a grammar that sounds like CUB's annotators, and its inverse.

`write_captions` turns the colours of a species into sentences; `named_colours` reads a sentence back. The two are
kept in one file because each must know every word of the other: a caption never says more than the parser finds.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


CAPTIONS_A_PICTURE = 10
MIN_WORDS, MAX_WORDS = 5, 18

# --- reading ---------------------------------------------------------------------------------------------------


def _words(text: str) -> set[str]:
    return set(text.split())


_COLOUR_WORDS = {colour: colour for colour in COLOURS} | {"gray": "grey", "violet": "purple"}

_PART_WORDS = {
    "head": "head crown face headed crowned",
    "body": "body back upperparts upperpart mantle bodied backed",
    "belly": "belly breast underside chest stomach abdomen underparts underbelly tummy bellied breasted chested",
    "wings": "wings wing winged primaries secondaries",
    "tail": "tail tails tailed rectrices",
    "bill": "bill beak bills beaks billed beaked",
}
_PARTS_OF_WORD = {word: part for part, words in _PART_WORDS.items() for word in words.split()}

# nouns that take a colour but are no part of ours, so that "black eyes" names nothing
_OTHER_NOUNS = _words(
    "eye eyes eyering eyerings eyebrow eyebrows leg legs foot feet tarsus tarsi throat nape neck crest wingbar "
    "wingbars bar bars spot spots stripe stripes ring rings cheek cheeks branch leaf leaves water sky grass"
)
# words that may stand between a colour and its noun
_FILLERS = _words(
    "small little large big short long tiny thin thick fat sharp pointy pointed curved round rounded plump stubby "
    "bright light dark pale deep vivid soft colored coloured color colour feathered fluffy broad strong neat tidy "
    "shiny sturdy slim smooth hooked streaked spotted two on over across along its the a of his her"
)
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
    tokens = re.findall(r"[a-z]+|[,;.]", text.lower().replace("bird's", "").replace("'s", ""))
    kinds = [_kind(token) for token in tokens]
    found: dict[str, set[str]] = {}
    bound: set[int] = set()  # positions of parts that have their colour

    def bind(at: int, colour: str) -> None:
        bound.add(at)
        if kinds[at] in PARTS:
            found.setdefault(kinds[at], set()).add(colour)

    # "red, small head and tail": every colour looks ahead to its noun
    taken: set[int] = set()
    for i, kind in enumerate(kinds):
        if kind != "colour":
            continue
        at = _noun_after(tokens, kinds, i)
        if at is None:
            continue
        bind(at, _COLOUR_WORDS[tokens[i]])
        taken.add(i)
        if kinds[at] == "body" and tokens[at] == "bird":
            continue  # "a red bird and ..." starts another thing
        for other in _list_after(tokens, kinds, at):
            bind(other, _COLOUR_WORDS[tokens[i]])
    # "the wings and the tail are blue": what follows "is" belongs to the nouns before it
    for i, token in enumerate(tokens):
        if token not in _COPULAS:
            continue
        colours = _colours_after(tokens, kinds, i, taken)
        for at in _list_before(tokens, kinds, i, bound) if colours else ():
            for colour in colours:
                bind(at, colour)
    return {part: next(iter(found[part])) for part in PARTS if len(found.get(part, ())) == 1}


def swap_colour(text: str, part: str, colour: str) -> str | None:
    """The sentence with one colour word changed so that `part` has `colour` and nothing else changes.

    None where no single word does that: the part is not named, or shares its colour word with another part.
    """
    wanted = named_colours(text) | {part: colour}
    for word in re.finditer(r"[A-Za-z]+", text):
        if word[0].lower() not in _COLOUR_WORDS:
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
    found = [word for word in re.finditer(r"[A-Za-z]+", text) if word[0].lower() in _COLOUR_WORDS]
    if not found:
        return text
    one = found[rng.integers(len(found))]
    others = [word for word in found if _COLOUR_WORDS[word[0].lower()] != _COLOUR_WORDS[one[0].lower()]]
    changes = {}
    if others and rng.random() < 0.5:
        other = others[rng.integers(len(others))]
        changes = {one.start(): other[0], other.start(): one[0]}
    else:
        choices = [colour for colour in COLOURS if colour != _COLOUR_WORDS[one[0].lower()]]
        changes = {one.start(): choices[rng.integers(len(choices))]}
    for word in reversed(found):
        if word.start() in changes:
            text = text[: word.start()] + changes[word.start()] + text[word.end() :]
    return re.sub(r"\ba(?=n? (\w))n?", lambda a: "an" if a[1] in "aeiou" else "a", text)


def _kind(token: str) -> str:
    if token in _COLOUR_WORDS:
        return "colour"
    if token in ("bird", "it"):
        return "body"
    if token in _OTHER_NOUNS:
        return "noun"
    return _PARTS_OF_WORD.get(token, "")


def _is_noun(kind: str) -> bool:
    return kind in PARTS or kind == "noun"


def _noun_after(tokens: list[str], kinds: list[str], i: int) -> int | None:
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
        elif tokens[j] not in _FILLERS or joined:
            return None
    return None


def _ends_predicate(tokens: list[str], kinds: list[str], i: int) -> bool:
    j = i - 1
    while j >= 0 and (tokens[j] in _AFTER_COPULA or kinds[j] == "colour" or tokens[j] in ("and", ",")):
        j -= 1
    return j >= 0 and tokens[j] in _COPULAS


def _list_after(tokens: list[str], kinds: list[str], at: int) -> list[int]:
    """Nouns that share the colour of the noun at `at`: "black head, wings and tail", but not "... and its tail is"."""
    nouns, i = [], at + 1
    while i < len(tokens):
        j = i
        while j < len(tokens) and tokens[j] in (",", "and"):
            j += 1
        if j == i:
            break
        while j < len(tokens) and tokens[j] in _FILLERS - {"a"}:
            j += 1
        if j >= len(tokens) or not _is_noun(kinds[j]) or tokens[j] in ("bird", "it"):
            break
        nouns.append(j)
        i = j + 1
    if i < len(tokens) and (tokens[i] in _COPULAS or tokens[i : i + 2] in (["that", "is"], ["that", "are"])):
        return []  # the list is the subject of what follows
    return nouns


def _list_before(tokens: list[str], kinds: list[str], i: int, bound: set[int]) -> list[int]:
    """The nouns before the copula at `i`, back to the first one that has its colour already."""
    nouns, j = [], i - 1
    while j >= 0:
        if _is_noun(kinds[j]):
            if j in bound:
                break
            nouns.append(j)
            if tokens[j] == "bird":
                break
        elif tokens[j] not in _FILLERS | {"and", ",", "that", "which", "feathers", "feather"}:
            break
        j -= 1
    return nouns


def _colours_after(tokens: list[str], kinds: list[str], i: int, taken: set[int]) -> list[str]:
    colours = []
    for j in range(i + 1, len(tokens)):
        if kinds[j] == "colour" and j not in taken:
            colours.append(_COLOUR_WORDS[tokens[j]])
        elif tokens[j] not in _AFTER_COPULA | {"and", ",", "in"}:
            break
    return colours


# --- writing ---------------------------------------------------------------------------------------------------

_SYNONYMS: dict[str, Sequence[str]] = {
    "head": ("head", "head", "crown"),
    "body": ("body", "body", "back", "upperparts"),
    "belly": ("belly", "belly", "breast", "underside"),
    "wings": ("wings", "wings", "wings", "wing"),
    "tail": ("tail",),
    "bill": ("bill", "bill", "beak"),
}
_PLURAL = {"wings", "upperparts"}
_BILL_WORDS: dict[str, Sequence[str]] = {
    "straight": ("sharp", "pointed"),
    "cone": ("short", "thick"),
    "dagger": ("long", "thin"),
    "hooked": ("hooked", "curved"),
}
_SIZES = ("", "", "", "small ", "little ")
# parts named, and how often: some captions are vague, but most tell a bird from the other 99 of R-precision
_HOW_MANY = {0: 0.005, 1: 0.01, 2: 0.025, 3: 0.17, 4: 0.35, 5: 0.29, 6: 0.15}
_VAGUE = (
    "this is a small bird with a round body and thin legs",
    "a little bird with a plump body and thin legs",
    "this bird has a large eye and a round head",
    "the bird has a round head and smooth feathers",
    "a small bird that looks calm and healthy",
    "this small bird has neat feathers and a bright eye",
    "a pretty bird with smooth feathers and thin legs",
    "this bird has a small head and thin legs",
    "the little bird is resting and looks to the side",
    "a plump bird with a rounded breast and short legs",
    "this is a bird with neat wings and a round belly",
    "small bird with thin legs and neat wings",
)


def write_captions(
    colours: Mapping[str, str],
    marks: Marks,
    rng: np.random.Generator,
    count: int = CAPTIONS_A_PICTURE,
) -> list[str]:
    """`count` different sentences about a bird with these part colours and marks."""
    captions: list[str] = []
    while len(captions) < count:
        text, _ = write_caption(colours, marks, rng)
        if text not in captions:
            captions.append(text)
    return captions


def write_caption(
    colours: Mapping[str, str], marks: Marks, rng: np.random.Generator
) -> tuple[str, dict[str, str]]:
    """One sentence of 5 to 18 words and the part colours that it names; never anything untrue."""
    # once: long drafts are often refused
    count = int(rng.choice(list(_HOW_MANY), p=list(_HOW_MANY.values())))
    while True:
        text, named = _draft(colours, count, rng)
        text = _with_marks(text, colours, marks, rng)
        if MIN_WORDS <= len(text.split()) <= MAX_WORDS:
            end = "." if rng.random() < 0.6 else ""
            return text + end, {part: named[part] for part in PARTS if part in named}


def _draft(colours: Mapping[str, str], count: int, rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    if count == 0:
        return _pick(rng, _VAGUE), {}
    parts = [PARTS[i] for i in rng.permutation(len(PARTS))[:count]]
    named = {part: colours[part] for part in parts}
    spoken = {part: "gray" if c == "grey" and rng.random() < 0.4 else c for part, c in named.items()}
    if "body" in parts and rng.random() < 0.65:
        text = _about_the_bird(spoken, [p for p in parts if p != "body"], rng)
    else:
        text = _about_its_parts(spoken, parts, rng)
    return re.sub(r"\ba (?=orange)", "an ", text), named


def _with_marks(text: str, colours: Mapping[str, str], marks: Marks, rng: np.random.Generator) -> str:
    """The sentence, sometimes with the shape of a part that it names, or a mark at its end."""
    shapes = {"bill|beak": _BILL_WORDS[marks.bill], "tail": ("long",) if marks.long_tail else ("short",)}
    if marks.streaks:
        shapes["belly|breast|underside"] = ("streaked",)
    for nouns, words in shapes.items():
        word = _pick(rng, words)
        if rng.random() < 0.3:
            text = re.sub(rf"\b(an? )?({'|'.join(_COLOUR_WORDS)}) (?={nouns})", lambda said: (
                (_article(word) if said[1] else "") + f"{word} {said[2]} "  # noqa: B023
            ), text, count=1)  # fmt: skip
    extras = [f"{mark_colour(colours['wings'])} wingbars", "two wingbars"] if marks.wing_bars else []
    extras += [f"a {mark_colour(colours['head'])} eyering"] if marks.eye_ring else []
    extras += ["a crest"] if marks.crest else []
    if extras and rng.random() < 0.35:
        predicate = text.split()[-1] in _COLOUR_WORDS
        text += f"{' with' if predicate or ' with ' not in text else ' and'} {_pick(rng, extras)}"
    return text


def _about_the_bird(colours: Mapping[str, str], rest: list[str], rng: np.random.Generator) -> str:
    """The body's colour said of the bird: "a red bird with ..."."""
    c, size = colours["body"], _pick(rng, _SIZES)
    if not rest:
        return _pick(
            rng,
            (
                f"this is a {size}{c} bird with thin legs",
                f"a {size}{c} bird with smooth feathers",
                f"this {size}bird is {c} and has short legs",
                f"the {size}bird is mostly {c} in color",
                f"a {size}{c} bird that looks to the side",
            ),
        )
    things = _things(colours, rest, rng)
    openings = [
        f"a {size}{c} bird with {things}",
        f"this {size}bird is {c} with {things}",
        f"this is a {size}{c} bird with {things}",
        f"the {size}bird is {c} and has {things}",
        f"{size}{c} bird with {things}",
        f"this {size}{c} bird has {things}",
        f"a {size}bird that is {c} with {things}",
    ]
    if len(rest) == 1:
        openings.append(f"this {size}bird is {c} and {_statement(colours, rest[0], 'its', rng)}")
    return _pick(rng, openings)


def _about_its_parts(colours: Mapping[str, str], parts: list[str], rng: np.random.Generator) -> str:
    size, first, rest = _pick(rng, _SIZES), parts[0], parts[1:]
    things = _things(colours, parts, rng)
    openings = [
        f"this {size}bird has {things}",
        f"a {size}bird with {things}",
        f"the {size}bird has {things}",
        f"this is a {size}bird with {things}",
        f"{size or 'this is a '}bird with {things}",
        f"this {size}bird has {things}",
    ]
    if rest:
        name = _pick(rng, _SYNONYMS[first])
        that = f"{name if name in _PLURAL else 'a ' + name} that {_is(name)} {colours[first]}"
        openings.append(f"this {size}bird has {that} and has {_things(colours, rest, rng)}")
        openings.append(f"a {size}bird with {that} and {_things(colours, rest, rng)}")
        openings.append(
            f"{_statement(colours, first, 'the', rng)} and the {size}bird has {_things(colours, rest, rng)}"
        )
        shared = [part for part in rest if colours[part] == colours[first]]
        if shared and len(rest) > 1:
            pair = [first, shared[0]]
            others = [part for part in rest if part != shared[0]]
            openings += [
                f"its {_names(pair, rng)} are {colours[first]} and it has {_things(colours, others, rng)}"
            ] * 3
    if len(parts) == 2:
        openings.append(
            f"the {size}bird has {_thing(colours, first, rng)} and {_statement(colours, rest[0], 'its', rng)}"
        )
        openings.append(
            f"{_statement(colours, first, 'the', rng)} and {_statement(colours, rest[0], 'the', rng)}"
        )
    if len(parts) == 1:
        openings.append(f"the {size}bird has thin legs and {_thing(colours, first, rng)}")
        openings.append(f"{_statement(colours, first, 'the', rng)} on this {size}bird")
    return _pick(rng, openings)


def _things(colours: Mapping[str, str], parts: Sequence[str], rng: np.random.Generator) -> str:
    """ "a red head, black wings and a white tail"; parts of one colour are sometimes joined: "a red head and tail"."""
    left, things = list(parts), []
    with_articles = rng.random() < 0.8
    while left:
        part = left.pop(0)
        same = [other for other in left if colours[other] == colours[part]]
        # joined only at the end of the list, or the shared colour could run on into the next part
        if same and len(left) == 1 and rng.random() < 0.6:
            article = "" if not with_articles or part == "wings" else _article(colours[part])
            things.append(f"{article}{colours[part]} {_names([part, same[0]], rng)}")
            left.remove(same[0])
        else:
            things.append(_thing(colours, part, rng, with_articles))
    if len(things) == 1:
        return things[0]
    comma = "," if len(things) > 2 and rng.random() < 0.5 else ""
    return ", ".join(things[:-1]) + f"{comma} and {things[-1]}"


def _thing(colours: Mapping[str, str], part: str, rng: np.random.Generator, with_article: bool = True) -> str:
    name, colour = _pick(rng, _SYNONYMS[part]), colours[part]
    article = _article(colour) if with_article and name not in _PLURAL else ""
    return f"{article}{colour} {name}"


def _statement(colours: Mapping[str, str], part: str, determiner: str, rng: np.random.Generator) -> str:
    name = _pick(rng, _SYNONYMS[part])
    return f"{determiner} {name} {_is(name)} {colours[part]}"


def _names(parts: Sequence[str], rng: np.random.Generator) -> str:
    # "wing" in the singular reads oddly beside another part
    return " and ".join("wings" if part == "wings" else _pick(rng, _SYNONYMS[part]) for part in parts)


def _is(name: str) -> str:
    return "are" if name in _PLURAL else "is"


def _article(word: str) -> str:
    return "an " if word[0] in "aeiou" else "a "


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
