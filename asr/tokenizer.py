"""Characters, or frequent pieces of words, as tokens."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from core.errors import UserError

BLANK = 0  # CTC's blank, also the filling of padded targets
EDGE = 1  # start of sentence at the decoder's input, end of sentence at its output
SPECIAL = ("<blank>", "<edge>")
MOST_PIECES, LONGEST_PIECE = 10_000, 100
CHARACTERS = " 'abcdefghijklmnopqrstuvwxyz"


def normalise(text: str, characters: str = CHARACTERS) -> str:
    """Lower case, accents removed, a hyphen or dash is a space, every other unknown character dropped.

    Digits are dropped too: spell numbers out in transcripts that matter (LJSpeech's third column does).
    """
    text = unicodedata.normalize("NFKD", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    text = re.sub(r"[-\s\u2010-\u2015/]+", " ", text)
    text = "".join(letter for letter in text if letter in characters)
    return re.sub(r" +", " ", text).strip()


class Tokenizer:
    """Text <-> ids: 0 is CTC's blank, 1 the sentence's edge, then the pieces.

    pieces: single characters, then what merging neighbours gave, each after the two it is made of (`learn_pieces`).
    Of characters alone, a space stands between words; with merged pieces every word begins with its space, the first
    too: " bird" may be " b" + "ir" + "d".
    """

    def __init__(self, pieces: Sequence[str] = CHARACTERS):
        self.pieces = ["", "", *pieces]  # the text of each token
        self.characters = "".join(piece for piece in pieces if len(piece) == 1)
        self._ids = {piece: number for number, piece in enumerate(pieces, start=len(SPECIAL))}
        self._merges = len(self.characters) < len(pieces)
        self._spelt: dict[str, list[int]] = {}  # of words met before

    def __len__(self) -> int:
        return len(self.pieces)

    def normalise(self, text: str) -> str:
        return normalise(text, self.characters)

    def encode(self, text: str) -> list[int]:
        """Normalise a text and divide it into pieces."""
        text = self.normalise(text)
        if not self._merges:
            return [self._ids[letter] for letter in text]
        return [number for word in text.split() for number in self._encode_word(word)]

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._spelt:
            parts = list(f" {word}")
            while True:  # the pair that was merged first when the pieces were learned is merged first
                found = [self._ids[a + b] for a, b in pairwise(parts) if a + b in self._ids]
                if not found:
                    break
                parts = list(_merged(parts, self.pieces[min(found)]))
            self._spelt[word] = [self._ids[part] for part in parts]
        return self._spelt[word]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; blanks and edges say nothing."""
        text = "".join(self.pieces[number] for number in ids)
        return text.removeprefix(" ") if self._merges else text

    def as_json(self) -> list[str]:
        return [*SPECIAL, *self.pieces[len(SPECIAL) :]]

    @classmethod
    def from_json(cls, symbols: object) -> "Tokenizer":
        """Rebuild from vocabulary.json. Raises UserError where it is no list of pieces."""
        first = len(SPECIAL)
        if (
            not isinstance(symbols, list)
            or symbols[:first] != list(SPECIAL)
            or not 0 < len(symbols) - first <= MOST_PIECES
            or any(not isinstance(s, str) or not 0 < len(s) <= LONGEST_PIECE for s in symbols)
            or len(set(symbols)) < len(symbols)
            or not {letter for s in symbols[first:] for letter in s} <= set(symbols[first:])
        ):
            raise UserError(
                f"the recogniser's vocabulary.json should list {', '.join(SPECIAL)}, then characters and pieces of "
                "them, each once"
            )
        return cls(symbols[first:])


def learn_pieces(texts: Iterable[str], size: int, characters: str = CHARACTERS) -> list[str]:
    """The `characters`, then the pieces that merging the most frequent neighbours gives: at most `size` in all.

    Byte-pair encoding within words (Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword
    Units", Alg. 1), a word with its space. Of pairs that are equally frequent the alphabetically first is merged.
    """
    words = Counter(f" {word}" for text in texts for word in normalise(text, characters).split())
    spelt = {word: list(word) for word in words}
    pieces = list(characters)
    pairs: Counter[tuple[str, str]] = Counter()

    def count(word: str, sign: int) -> None:
        for pair in pairwise(spelt[word]):
            pairs[pair] += sign * words[word]

    for word in words:
        count(word, 1)
    while len(pieces) < size:
        first, second = min(pairs, key=lambda pair: (-pairs[pair], pair), default=("", ""))
        if not pairs[first, second]:
            break
        piece = first + second
        if piece not in pieces:  # " th" + "e" may come after " t" + "he"
            pieces.append(piece)
        for word in [word for word in words if piece in word]:  # the others stay as they are
            count(word, -1)
            spelt[word] = list(_merged(spelt[word], piece))
            count(word, 1)
    return pieces


def _merged(parts: list[str], piece: str) -> Iterator[str]:
    """Parts of a word, neighbours that make up `piece` joined."""
    i = 0
    while i < len(parts):
        joined = i + 1 < len(parts) and parts[i] + parts[i + 1] == piece
        yield piece if joined else parts[i]
        i += 2 if joined else 1
