"""Sentences for the recogniser's language model, of books out of copyright and of WordNet's examples.

`python -m data.prepare texts --download` fetches them into datasets/texts and writes sentences.txt there, a sentence a
line. Other books (.txt) that are put beside them are taken along.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from core.errors import UserError
from core.files import write_text
from data.text_files import read_text

SENTENCES = "sentences.txt"
LEAST_WORDS = 2  # of a sentence; what is shorter is mostly a heading or a list's number


def write_sentences(folder: Path) -> int:
    """Write <folder>/sentences.txt from a folder's books (*.txt) and WordNet's files (data.*) -> how many sentences.

    Raises UserError where there are none or one cannot be read.
    """
    found: list[str] = []
    for path in sorted(folder.iterdir()):
        split = examples if path.stem == "data" else sentences if path.suffix == ".txt" else None
        if split and path.name != SENTENCES:
            try:
                found += split(read_text(path))
            except (OSError, ValueError) as error:
                raise UserError(f"cannot read {path} ({error}); save it as UTF-8 text") from error
    if not found:
        raise UserError(
            f"{folder} holds no book (*.txt); fetch some: python -m data.prepare texts --download"
        )
    write_text(folder / SENTENCES, "".join(f"{sentence}\n" for sentence in found))
    return len(found)


def examples(text: str) -> Iterator[str]:
    """The example sentences, in quotation marks, of a file of WordNet (Fellbaum, "WordNet", 1998; wndb(5WN))."""
    for line in text.splitlines():
        gloss = line.partition("|")[2]
        yield from (example for example in re.findall('"([^"]+)"', gloss) if _is_usable(example))


def sentences(text: str) -> Iterator[str]:
    """The sentences of a book, whose paragraphs are apart by an empty line and whose lines may be cut anywhere.

    A clause before ; or : counts as one, since books out of copyright have long sentences and speech has pauses there.
    Sentences with digits are left out: how they are read aloud is not written.
    """
    for paragraph in re.split(r"\n\s*\n", text.replace("\r", "")):
        words = " ".join(paragraph.replace("--", " ").replace("_", "").split())
        for sentence in re.split(r"""(?<=[.!?;:])["')\]]*\s+""", words):
            if _is_usable(sentence):
                yield sentence


def _is_usable(sentence: str) -> bool:
    return sentence.count(" ") + 1 >= LEAST_WORDS and not re.search(r"\d", sentence)
