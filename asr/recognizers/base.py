"""What other recognisers write -> a `Transcript` like ours."""

import re
import unicodedata
from collections.abc import Iterable

from asr.confidence import joined
from asr.transcript import Transcript, Word


def as_transcript(found: Iterable[Word], start: float, seconds: float) -> Transcript:
    """The words of a piece of `seconds` that begins `start` seconds into the recording, with times from the piece's
    beginning -> its transcript: lower case, no punctuation, times from the recording's beginning.

    What is spelt with a hyphen becomes several words, which share its time by their letters.
    """
    words: list[Word] = []
    last = start
    for word in found:
        parts = plain(word.text).split()
        if not parts:
            continue
        begin, end = (start + min(max(float(time), 0.0), seconds) for time in (word.start, word.end))
        begin = max(begin, last)
        last = end = max(begin, end)
        letters, spelt = sum(map(len, parts)), 0
        for part in parts:
            first, spelt = spelt, spelt + len(part)
            since, until = (round(begin + (end - begin) * share / letters, 3) for share in (first, spelt))
            words.append(Word(part, since, until, min(max(float(word.confidence), 0.0), 1.0)))
    if not words:
        return Transcript("")
    confidence = joined([word.confidence for word in words], [len(word.text) for word in words])
    return Transcript(" ".join(word.text for word in words), words, confidence)


def plain(text: str) -> str:
    """Lower case, accents dropped, punctuation but apostrophes inside words to spaces, single spaces."""
    text = unicodedata.normalize("NFKD", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    text = "".join(letter for letter in text if not unicodedata.combining(letter)).lower()
    text = re.sub(r"[^\w']|_", " ", text)
    return " ".join(re.sub(r"(?<!\w)'|'(?!\w)", " ", text).split())
