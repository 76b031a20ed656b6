"""A word n-gram language model that scores any beginning of a text, letter by letter.

Kneser and Ney, "Improved backing-off for m-gram language modeling", 1995, interpolated and with the three discounts of
Chen and Goodman 1998, Sec. 3. Interpolation gives the probability that the next word begins with some letters as
easily as that of a word: words are sorted, so both are ranges of them, and a difference of cumulated probabilities at
each order. A search that spells words by letters or pieces of words therefore knows at every letter, not only at the
end of a word, what the model thinks of it, and the scores of all texts sum to one. A word that was never seen is spelt
by an n-gram model of letters.

The model is a mixture of such models, one a kind of text (captions, read books), whose weights follow the text.
`python -m training.language_model` makes the file.
"""

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save

from core.arrays import read_arrays
from core.errors import UserError, printable
from core.files import sha256, write_bytes

FILE = "language_model.safetensors"  # beside the weights of a recogniser
FORMAT = "word n-grams 1"
BOUNDARY = (
    0  # the beginning of a text as context, its end as what follows; a word without letters, so the first
)
UNKNOWN = -1  # a word of a context that the vocabulary lacks
LAST = "\U0010ffff"  # sorts behind every letter
STEPS = 3000.0  # a nat, in stored logarithms
VALUES = np.append(np.exp(np.arange(2**16 - 1) / -STEPS), 0.0)  # of the stored codes, the last one for none
SMALLEST = 1e-30  # of a probability
MOST_KEPT = 100_000  # answers kept for the next question
SWITCH = 0.02  # probability that a text goes on as another kind, at each word


# items (n,), their discounted probabilities (n,), and how many follow each n-gram of the order below
Table = tuple[np.ndarray, np.ndarray, np.ndarray]


class Context(NamedTuple):
    """Where the words that follow a context lie in its order's table, and what is left to lower orders."""

    order: int
    first: int
    last: int
    rest: float


class Ngrams:
    """P(next | context) over sorted items, interpolated: each order's discounted probabilities and what they leave.

    tables: one an order, the n-grams sorted; those of order 1 are all items, which follow the empty one.
    """

    def __init__(self, tables: Sequence[Table]):
        self.items: list[memoryview] = []
        self.cumulated: list[memoryview] = []
        self.starts: list[memoryview] = []
        for items, probabilities, counts in tables:
            # memory views: bisect asks for single values, which they give fastest
            self.items.append(np.ascontiguousarray(items).data)
            self.cumulated.append(np.append(0.0, np.cumsum(probabilities, dtype=np.float64)).data)
            self.starts.append(np.append(0, np.cumsum(counts, dtype=np.int64)).data)
        self.order = len(tables)
        self._contexts: dict[tuple[int, ...], list[Context]] = {}

    def contexts(self, history: tuple[int, ...]) -> list[Context]:
        """The contexts of the last items, the shortest first; those that nothing follows are left out."""
        history = history[max(len(history) - self.order + 1, 0) :]
        found = self._contexts.get(history)
        if found is None:
            if len(self._contexts) >= MOST_KEPT:
                self._contexts.clear()
            every = (self._context(history[i:]) for i in range(len(history), -1, -1))
            found = self._contexts[history] = [context for context in every if context]
        return found

    def _context(self, history: tuple[int, ...]) -> Context | None:
        row = 0
        for order, item in enumerate(history):
            items, starts = self.items[order], self.starts[order]
            first, last = starts[row], starts[row + 1]
            row = bisect_left(items, item, first, last)
            if row == last or items[row] != item:
                return None
        order = len(history)
        first, last = self.starts[order][row], self.starts[order][row + 1]
        if first == last:
            return None
        cumulated = self.cumulated[order]
        return Context(order, first, last, max(1.0 - (cumulated[last] - cumulated[first]), SMALLEST))

    def probability(self, contexts: list[Context], low: int, high: int, base: float) -> float:
        """That one of the items low to high - 1 follows; base: what the order below the first says of them."""
        total = base
        for order, first, last, rest in contexts:
            items, cumulated = self.items[order], self.cumulated[order]
            begin = bisect_left(items, low, first, last)
            end = bisect_left(items, high, begin, last)
            total = cumulated[end] - cumulated[begin] + rest * total
        return total


@dataclass(frozen=True)
class Component:
    """The model of a kind of text. base: the component whose order 1 says what this one's leaves over; None for the
    spelling of words."""

    name: str
    share: float  # of texts that are of this kind, before any word is known
    ngrams: Ngrams
    base: "Component | None" = None


class State(NamedTuple):
    """A text so far: whole words, and the letters of one that may go on."""

    histories: tuple[int, ...]  # ids of the last words, BOUNDARY before the first
    weights: tuple[float, ...]  # of the components, by how well they foretold the words
    letters: str
    mass: float  # that the next word begins with these letters
    is_empty: bool  # whether there is no word yet


class LanguageModel:
    """P(text) = a product over words of the components' weighted mean, see the module; texts in lower case."""

    def __init__(
        self,
        words: Sequence[str],
        alphabet: str,
        spelling: Ngrams,
        components: Sequence[Component],
        about: dict[str, object] | None = None,
    ):
        """words: sorted, "" first. alphabet: sorted letters; `spelling` counts them from 1, BOUNDARY is a word's end.
        about: the texts it was made of, and whatever else its file is to tell."""
        self.words, self.alphabet, self.spelling, self.components = (
            list(words),
            alphabet,
            spelling,
            components,
        )
        self.about, self.checksum = about or {}, ""
        self.file: Path | None = None  # that it was read from, of which the checksum is
        self._letters = {letter: i for i, letter in enumerate(alphabet, start=1)}
        self._spelt: dict[str, float] = {}
        self.order = max(component.ngrams.order for component in components)

    # --- texts ---------------------------------------------------------------------------------------------------

    def start(self) -> State:
        return State((BOUNDARY,), tuple(component.share for component in self.components), "", 1.0, True)

    def extend(self, state: State, text: str) -> tuple[State, float]:
        """The state after some more letters and spaces, and what they add to the log probability, nats."""
        run, *others = text.split(" ")
        total = 0.0
        if run:
            state, total = self._spell(state, state.letters + run)
        for run in others:
            state, gain = self._finish(state)
            total += gain
            if run:
                state, gain = self._spell(state, run)
                total += gain
        return state, total

    def end(self, state: State) -> float:
        """What the text's end adds to its log probability."""
        total = 0.0
        if state.letters:
            state, total = self._finish(state)
        return total + log(max(self._mass(state, 0, 1, 0.0), SMALLEST))

    def log_probability(self, text: str) -> float:
        """Of a whole text, nats."""
        state, total = self.extend(self.start(), text)
        return total + self.end(state)

    def _spell(self, state: State, letters: str) -> tuple[State, float]:
        low, high = bisect_left(self.words, letters), bisect_left(self.words, letters + LAST)
        mass = self._mass(state, low, high, self._spelling(letters))
        return state._replace(letters=letters, mass=mass, is_empty=False), log(mass / state.mass)

    def _finish(self, state: State) -> tuple[State, float]:
        """The word ends with a space. A space at the beginning is nothing; a second one ends a word without letters."""
        if state.is_empty:
            return state, 0.0
        if not state.letters:
            return state, log(SMALLEST)
        word = bisect_left(self.words, state.letters)
        known = word < len(self.words) and self.words[word] == state.letters
        spelt = self._spelling(state.letters) * self._letter(state.letters, BOUNDARY)
        low, high = (word, word + 1) if known else (0, 0)
        each = self._masses(state, low, high, spelt)
        mass = max(sum(weight * p for weight, p in zip(state.weights, each, strict=True)), SMALLEST)
        weights = tuple(
            (1 - SWITCH) * weight * p / mass + SWITCH * part.share
            for weight, p, part in zip(state.weights, each, self.components, strict=True)
        )
        histories = (*state.histories, word if known else UNKNOWN)[-(self.order - 1) :]
        return State(histories, weights, "", 1.0, False), log(mass / state.mass)

    def _mass(self, state: State, low: int, high: int, spelt: float) -> float:
        each = self._masses(state, low, high, spelt)
        return max(sum(weight * p for weight, p in zip(state.weights, each, strict=True)), SMALLEST)

    def _masses(self, state: State, low: int, high: int, spelt: float) -> list[float]:
        """Each component's P(the next word is low to high - 1, or an unknown one that is spelt so)."""
        found = []
        for part in self.components:
            base = spelt
            if part.base is not None:
                base = part.base.ngrams.probability(part.base.ngrams.contexts(()), low, high, spelt)
            found.append(part.ngrams.probability(part.ngrams.contexts(state.histories), low, high, base))
        return found

    # --- spelling ------------------------------------------------------------------------------------------------

    def _spelling(self, letters: str) -> float:
        """P(a new word begins with these letters)."""
        if not letters:
            return 1.0
        found = self._spelt.get(letters)
        if found is None:
            before = letters[:-1]
            found = self._spelling(before) * self._letter(before, self._letters.get(letters[-1], UNKNOWN))
            if len(self._spelt) >= MOST_KEPT:
                self._spelt.clear()
            self._spelt[letters] = found
        return found

    def _letter(self, before: str, letter: int) -> float:
        """P(letter | the letters before), BOUNDARY for the word's end; every word has a letter."""
        if letter == UNKNOWN:
            return SMALLEST
        history = (BOUNDARY, *(self._letters.get(other, UNKNOWN) for other in before))
        contexts = self.spelling.contexts(history[-(self.spelling.order - 1) :])
        base = 1.0 / (len(self.alphabet) + 1)
        found = self.spelling.probability(contexts, letter, letter + 1, base)
        if before:
            return found
        return found / (1.0 - self.spelling.probability(contexts, BOUNDARY, BOUNDARY + 1, base))


# --- the file ----------------------------------------------------------------------------------------------------


def save_language_model(model: LanguageModel, path: Path | str) -> None:
    """Write the file that `load_language_model` reads.

    Probabilities are stored as logarithms of 1/3000 nat, rounded down, so that no context gives away more than all. A
    model that was read is copied, since what is cumulated has lost their last digits.
    """
    if model.file is not None:
        write_bytes(path, model.file.read_bytes())
        return
    names = [component.name for component in model.components]
    header = {
        "format": FORMAT,
        "alphabet": model.alphabet,
        "components": [
            {"name": c.name, "share": c.share, "base": names.index(c.base.name) if c.base else None}
            for c in model.components
        ],
        "about": model.about,
    }
    arrays = {"header": _bytes(json.dumps(header)), "words": _bytes("\n".join(model.words))}
    for name, ngrams in [("spelling", model.spelling), *((c.name, c.ngrams) for c in model.components)]:
        for order in range(ngrams.order):
            probabilities = np.maximum(np.diff(ngrams.cumulated[order]), SMALLEST)
            codes = np.minimum(np.ceil(-STEPS * np.log(probabilities)), len(VALUES) - 1).astype(np.uint16)
            arrays[f"{name}.{order + 1}.probabilities"] = codes
            arrays[f"{name}.{order + 1}.followers"] = _small(np.diff(ngrams.starts[order]))
            if order:
                arrays[f"{name}.{order + 1}.items"] = _small(np.asarray(ngrams.items[order]))
    write_bytes(path, save(arrays))


def load_language_model(path: Path | str) -> LanguageModel:
    """Raises UserError where the file is missing, damaged or something else."""
    arrays = read_arrays(path)
    try:
        header = json.loads(arrays["header"].tobytes())
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']!r}")
        words = arrays["words"].tobytes().decode().split("\n")
        if words[0] != "" or any(a >= b for a, b in zip(words, words[1:], strict=False)):
            raise ValueError("its words are not sorted")
        spelling = _ngrams(arrays, "spelling", len(header["alphabet"]) + 1)
        components: list[Component] = []
        for each in header["components"]:
            base = None if each["base"] is None else components[each["base"]]
            ngrams = _ngrams(arrays, each["name"], len(words))
            components.append(Component(str(each["name"]), float(each["share"]), ngrams, base))
        model = LanguageModel(words, str(header["alphabet"]), spelling, components, dict(header["about"]))
        model.checksum, model.file = sha256(path), Path(path)
        return model
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no language model, or damaged ({printable(error)[:80]}); expected a file that "
            "python -m training.language_model writes"
        ) from error


def _ngrams(arrays: dict[str, np.ndarray], name: str, items: int) -> Ngrams:
    """Raises KeyError or ValueError where the tables do not fit together: nothing reads beyond its end later."""
    tables: list[Table] = []
    below = 1
    while f"{name}.{len(tables) + 1}.probabilities" in arrays or not tables:
        prefix = f"{name}.{len(tables) + 1}"
        codes, followers = arrays[f"{prefix}.probabilities"], arrays[f"{prefix}.followers"].astype(np.int64)
        follow = arrays[f"{prefix}.items"] if tables else np.arange(items)
        ends = np.cumsum(followers)
        starts_anew = np.zeros(len(follow), bool)
        starts_anew[ends[ends < len(follow)]] = True
        if (
            len(followers) != below
            or ends[-1] != len(follow)
            or len(codes) != len(follow)
            or (followers < 0).any()
            or follow.min(initial=0) < 0
            or follow.max(initial=0) >= items
            or ((follow[1:] <= follow[:-1]) & ~starts_anew[1:]).any()
        ):
            raise ValueError(f"{prefix} does not fit")
        probabilities = VALUES[codes]
        tables.append((follow, probabilities, followers))
        below = len(follow)
    return Ngrams(tables)


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def _small(numbers: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(numbers, np.uint16 if numbers.max(initial=0) < 2**16 else np.int32)
