"""Captions of painted birds: a grammar that sounds like CUB's annotators. Its inverse is grammar.py."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from data.painted_birds.grammar import COLOUR_WORDS, PARTS, Marks, mark_colour

CAPTIONS_A_PICTURE = 10
MIN_WORDS, MAX_WORDS = 5, 18

_SYNONYMS: dict[str, Sequence[str]] = {
    "head": ("head", "head", "crown"),
    "body": ("body", "body", "back", "upperparts"),
    "belly": ("belly", "belly", "breast", "underside"),
    "wings": ("wings", "wings", "wings", "wing"),
    "tail": ("tail",),
    "bill": ("bill", "bill", "beak"),
}
_PLURAL = {"wings", "upperparts"}
BILL_WORDS: dict[str, Sequence[str]] = {
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
    shapes = {"bill|beak": BILL_WORDS[marks.bill], "tail": ("long",) if marks.long_tail else ("short",)}
    if marks.streaks:
        shapes["belly|breast|underside"] = ("streaked",)
    for nouns, words in shapes.items():
        word = _pick(rng, words)
        if rng.random() < 0.3:
            text = re.sub(rf"\b(an? )?({'|'.join(COLOUR_WORDS)}) (?={nouns})", lambda said: (
                (_article(word) if said[1] else "") + f"{word} {said[2]} "  # noqa: B023
            ), text, count=1)  # fmt: skip
    extras = [f"{mark_colour(colours['wings'])} wingbars", "two wingbars"] if marks.wing_bars else []
    extras += [f"a {mark_colour(colours['head'])} eyering"] if marks.eye_ring else []
    extras += ["a crest"] if marks.crest else []
    if extras and rng.random() < 0.35:
        predicate = text.split()[-1] in COLOUR_WORDS
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
