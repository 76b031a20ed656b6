"""Make the lexicon in which a recogniser finds words: `python -m training.lexicon --help`.

    python -m training.lexicon datasets/lexicon.txt --language-model runs/language_model.safetensors
    python -m training.lexicon datasets/lexicon.txt --text datasets/LibriSpeech:train-clean-5 --text captions.txt

Of each word the pronunciations of CMUdict, in the copy that the package pocketsphinx brings or in --dictionary; of
words that it lacks what espeak-ng reads. A text is a file with a sentence a line, or a data set and its split.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from asr.language_model import load_language_model
from asr.lexicon import NUMBERS, PHONES, SILENCE, Lexicon, Pronunciation
from asr.tokenizer import normalise
from core.errors import Parser, UserError, run_cli
from data.synthesis.pronounce import pronounce
from training.language_model import read_source

ENDINGS = {  # of "'s", by the sound before it
    **dict.fromkeys(("S", "Z", "SH", "ZH", "CH", "JH"), "AH Z"),
    **dict.fromkeys(("P", "T", "K", "F", "TH"), "S"),
}


def parser() -> Parser:
    p = Parser(
        prog="training.lexicon",
        description=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("out", metavar="FILE", type=Path, help="the lexicon to write")
    p.add_argument("--text", metavar="SOURCE", action="append", default=[],
                   help="FILE, or FOLDER:SPLIT of a data set: its words; may be repeated")  # fmt: skip
    p.add_argument("--language-model", metavar="FILE", type=Path, help="its vocabulary, too")
    p.add_argument(
        "--dictionary", metavar="FILE", type=Path, help="of the form of CMUdict (default: pocketsphinx's)"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse(argv)
    if not args.text and args.language_model is None:
        raise UserError("no words to pronounce: name a --text or a --language-model")
    words = {
        word
        for source in args.text
        for sentence in read_source(source)
        for word in normalise(sentence).split()
    }
    if args.language_model is not None:
        words.update(word for word in load_language_model(args.language_model).words if word)
    dictionary = read_dictionary(args.dictionary or default_dictionary())
    lexicon, read_aloud = make_lexicon(words, dictionary)
    lexicon.save(args.out)
    print(f"{args.out}: {len(lexicon)} words, {read_aloud} of them as espeak-ng reads them")
    return 0


def make_lexicon(words: Iterable[str], dictionary: dict[str, list[Pronunciation]]) -> tuple[Lexicon, int]:
    """A lexicon of the words, and how many the dictionary lacks; words without a sound are left out."""
    entries, read_aloud = {}, 0
    for word in words:
        found = look_up(word, dictionary)
        if not found:
            found, read_aloud = [pronounce(word)], read_aloud + 1
        if found[0]:
            entries[word] = found
    return Lexicon(entries), read_aloud


def look_up(word: str, dictionary: dict[str, list[Pronunciation]]) -> list[Pronunciation]:
    """A word's pronunciations, also where it stands in quotes or is a possessive of one that is known."""
    bare = word.strip("'")
    if found := dictionary.get(word) or dictionary.get(bare):
        return found
    if not word.endswith("'s"):
        return []
    return [
        (*phones, *(NUMBERS[phone] for phone in ENDINGS.get(PHONES[phones[-1]], "Z").split()))
        for phones in dictionary.get(word[:-2], [])
    ]


def default_dictionary() -> Path:
    """Raises UserError where pocketsphinx is not installed."""
    if find_spec("pocketsphinx") is None:
        raise UserError(
            'no dictionary of pronunciations: pip install "saybird[pocketsphinx]", which brings CMUdict, or name one '
            "with --dictionary"
        )
    return Path(str(files("pocketsphinx"))) / "model" / "en-us" / "cmudict-en-us.dict"


def read_dictionary(path: Path) -> dict[str, list[Pronunciation]]:
    """Words and their pronunciations, without stress: lines such as "bird B ER1 D", "read(2) R IY1 D". Raises UserError
    where the file is missing or holds no such lines."""
    entries: dict[str, list[Pronunciation]] = {}
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    for line in lines:
        word, *phones = line.partition("#")[0].split() or [""]
        numbers = tuple(NUMBERS.get(phone.rstrip("012"), SILENCE) for phone in phones)
        if numbers and SILENCE not in numbers:
            entries.setdefault(re.sub(r"\(\d+\)$", "", word.lower()), []).append(numbers)
    if not entries:
        raise UserError(f'{path} has no pronunciations; expected lines such as "bird B ER1 D"')
    return entries


if __name__ == "__main__":
    run_cli(main)
