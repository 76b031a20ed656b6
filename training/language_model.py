"""Make a language model for the recogniser's search, and measure it: `python -m training.language_model --help`.

    python -m training.language_model weights/recognizer/language_model.safetensors \\
        --text read=datasets/LJSpeech-1.1:train --text read=datasets/LibriSpeech:train-clean-100 \\
        --text birds=datasets/birds:train --text birds=painted_birds:train \\
        --held-out librispeech=datasets/LibriSpeech:test-clean --held-out cub=datasets/birds:test

Texts of one name are one component of the mixture; the first takes words that the others lack. A text is a file with a
sentence a line, or a data set and its split: speech with transcripts, pictures with captions, or painted_birds.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from math import exp
from pathlib import Path

import numpy as np

from asr.language_model import Component, LanguageModel, Ngrams, load_language_model, save_language_model
from asr.tokenizer import CHARACTERS, normalise
from core.errors import Parser, UserError, run_cli
from training.ngrams import estimate

PAINTED = "painted_birds"
SPELLING_ORDER = 5
ALPHABET = CHARACTERS.strip()


def parser() -> Parser:
    p = Parser(
        prog="training.language_model",
        description=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("out", metavar="FILE", type=Path, help="the .safetensors file to write")
    p.add_argument("--text", metavar="NAME=SOURCE", action="append", default=[], required=True,
                   help="FILE, or FOLDER:SPLIT of a data set, or painted_birds:train; may be repeated")  # fmt: skip
    p.add_argument("--leave-out", metavar="SOURCE", action="append", default=[],
                   help="sentences that must not be learnt, whatever text they are in")  # fmt: skip
    p.add_argument("--held-out", metavar="NAME=SOURCE", action="append", default=[],
                   help="texts whose perplexity is measured; these are learnt if a --text holds them")  # fmt: skip
    p.add_argument("--order", type=int, default=4, help="words of the longest n-gram (default 4)")
    p.add_argument("--prune", type=float, default=4.0,
                   help="leave out n-grams that gain less than this many nats over all texts (default 4)")  # fmt: skip
    p.add_argument(
        "--samples", type=int, default=1000, help="sentences of a --held-out at most (default 1000)"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse(argv)
    if not 2 <= args.order <= 6:
        raise UserError(f"--order {args.order}: expected 2 to 6")
    if not 0 <= args.prune < float("inf"):
        raise UserError(f"--prune {args.prune}: expected 0 or more nats")
    held = [_named(option, "--held-out") for option in args.held_out]
    refused = {sentence for source in args.leave_out for sentence in read_source(source)}
    texts: dict[str, list[str]] = {}
    sources: dict[str, list[str]] = {}
    for option in args.text:
        name, source = _named(option, "--text")
        sentences = [sentence for sentence in read_source(source) if sentence not in refused]
        texts.setdefault(name, []).extend(sentences)
        sources.setdefault(name, []).append(f"{Path(source).name}: {len(sentences)} sentences")
        print(
            f"{name:<10} {len(sentences):7} sentences, {sum(s.count(' ') + 1 for s in sentences):9} words, {source}"
        )
    model = train(texts, args.order, args.prune)
    model.about = {"texts": sources, "order": args.order, "prune": args.prune}
    save_language_model(model, args.out)
    model = load_language_model(args.out)  # as it is in use
    counts = {part.name: [len(items) for items in part.ngrams.items] for part in model.components}
    print(
        f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, {len(model.words) - 1} words, n-grams by order {counts}"
    )
    for name, source in held:
        sentences = read_source(source)
        chosen = np.random.default_rng(0).permutation(len(sentences))[: args.samples]
        value, unknown = perplexity(model, [sentences[i] for i in chosen])
        print(
            f"{name:<10} perplexity {value:8.1f}, {100 * unknown:4.1f} % unknown words, {len(chosen)} sentences"
        )
    return 0


def train(texts: dict[str, list[str]], order: int, prune: float) -> LanguageModel:
    """Sentences by component, normalised -> their model. Raises UserError where a component has no words."""
    for name, sentences in texts.items():
        if not sentences:
            raise UserError(f'the texts of "{name}" hold no sentence that may be learnt; name others')
    words = ["", *sorted({word for sentences in texts.values() for s in sentences for word in s.split()})]
    ids = {word: i for i, word in enumerate(words)}
    letters = {letter: i for i, letter in enumerate(sorted(ALPHABET), start=1)}
    size = len(letters) + 1
    # each word once, as new words are rare ones
    spelt = estimate(
        [[letters[c] for c in word] for word in words[1:]], size, SPELLING_ORDER, np.full(size, 1 / size)
    )
    spelling = Ngrams(spelt)
    components: list[Component] = []
    for name, sentences in texts.items():
        base = np.full(len(words), 1e-7)
        if components:
            base = np.diff(components[0].ngrams.cumulated[0])
        tables = estimate(
            [[ids[word] for word in s.split()] for s in sentences], len(words), order, base, prune
        )
        components.append(
            Component(name, 1 / len(texts), Ngrams(tables), components[0] if components else None)
        )
    return LanguageModel(words, "".join(sorted(ALPHABET)), spelling, components)


def perplexity(model: LanguageModel, sentences: Sequence[str]) -> tuple[float, float]:
    """A word and sentence end, with unknown words spelt; and the share of words that are unknown."""
    known = set(model.words)
    counts = Counter(word in known for sentence in sentences for word in sentence.split())
    total = sum(model.log_probability(sentence) for sentence in sentences)
    return exp(-total / (counts.total() + len(sentences))), counts[False] / max(counts.total(), 1)


# --- texts -------------------------------------------------------------------------------------------------------


def _named(option: str, flag: str) -> tuple[str, str]:
    name, _, source = option.partition("=")
    if not source or not name.isidentifier():
        raise UserError(f"{flag} {option[:80]}: expected NAME=SOURCE, e.g. read=book.txt")
    return name, source


def read_source(source: str) -> list[str]:
    """The sentences of a text, normalised, without empty ones. Raises UserError."""
    from data.text_files import read_lines

    path = Path(source)
    if path.is_file():
        lines = [line for _, line in read_lines(path)]
    else:
        folder, _, split = source.rpartition(":")
        if not folder or not split:
            raise UserError(f"no file {source}; name a text file, or a data set and its split: FOLDER:SPLIT")
        lines = _painted(split) if folder == PAINTED else _data_set(Path(folder), split)
    sentences = [normalise(line) for line in lines]
    return [sentence for sentence in sentences if sentence]


def _data_set(root: Path, split: str) -> list[str]:
    from data.layouts import LAYOUTS, find_layout
    from data.speech_layouts import list_clips

    if any(layout.fits(root) for layout in LAYOUTS):
        layout = find_layout(root)
        if split not in layout.splits(root):
            raise UserError(f'no split "{split}" in {root}; it holds {", ".join(layout.splits(root))}')
        return [caption for entry in layout.read(root, split).entries for caption in entry.captions]
    return [clip.text for clip in list_clips(root, split, "auto", "auto")[1]]


def _painted(split: str, seed: int = 0, captions: int = 10) -> list[str]:
    """Captions of painted birds of the seed's species, other than those of the data set."""
    from data.painted_birds.captions import write_captions
    from data.painted_birds.species import species_list, species_marks

    if split not in ("train", "test"):
        raise UserError(f'no split "{split}" of {PAINTED}; it is train or test')
    stream = ("train", "test").index(split)
    written = []
    for i, colours in enumerate(species_list(seed, 2000, 200)[stream]):
        rng = np.random.default_rng([seed, 50 + stream, i])
        written += write_captions(colours, species_marks(seed, stream, i), rng, captions)
    return written


if __name__ == "__main__":
    run_cli(main)
