"""Characters as tokens."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from core.errors import UserError

BLANK = 0  # CTC's blank, also the filling of padded targets
EDGE = 1  # start of sentence at the decoder's input, end of sentence at its output
SPECIAL = ("<blank>", "<edge>")
MOST_CHARACTERS = 10_000
CHARACTERS = " 'abcdefghijklmnopqrstuvwxyz"


def normalise(text: str, characters: str = CHARACTERS) -> str:
    """Lower case, accents removed, a hyphen or dash is a space, every other unknown character dropped.

    Digits are dropped too: spell numbers out in transcripts that matter (LJSpeech's third column does).
    """
    text = unicodedata.normalize("NFKD", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    text = re.sub(r"[-\s\u2010-\u2015/]+", " ", text)
    text = "".join(letter for letter in text if letter in characters)
    return re.sub(r" +", " ", text).strip()


class CharacterTokenizer:
    """Text <-> ids: 0 is CTC's blank, 1 the sentence's edge, then the characters."""

    def __init__(self, characters: str = CHARACTERS):
        self.characters = characters
        self._ids = {letter: number for number, letter in enumerate(characters, start=len(SPECIAL))}

    def __len__(self) -> int:
        return len(SPECIAL) + len(self.characters)

    @property
    def pieces(self) -> list[str]:
        """The text of each id, "" for the blank and the edge; a word begins at each space."""
        return ["", "", *self.characters]

    def normalise(self, text: str) -> str:
        return normalise(text, self.characters)

    def encode(self, text: str) -> list[int]:
        """Normalise and spell a text."""
        return [self._ids[letter] for letter in self.normalise(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; blanks and edges say nothing."""
        first = len(SPECIAL)
        return "".join(self.characters[number - first] for number in ids if number >= first)

    def as_json(self) -> list[str]:
        return [*SPECIAL, *self.characters]

    @classmethod
    def from_json(cls, symbols: Sequence[str]) -> "CharacterTokenizer":
        """Rebuild from vocabulary.json. Raises UserError where it is no list of characters."""
        if (
            not isinstance(symbols, list)
            or symbols[:2] != list(SPECIAL)
            or not 0 < len(symbols) - 2 <= MOST_CHARACTERS
            or any(not isinstance(s, str) or len(s) != 1 for s in symbols[2:])
            or len(set(symbols)) < len(symbols)
        ):
            raise UserError(
                f"the recogniser's vocabulary.json should list {', '.join(SPECIAL)} and single characters, each once"
            )
        return cls("".join(symbols[2:]))
