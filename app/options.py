"""The options of generate.py, checked before anything heavy is imported."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from app.outputs import FOLDER, check_out, clean_text
from asr.recognizers.registry import check_recognizer
from core.errors import Parser, UserError
from core.model_registry import PAINTER, PAINTERS, RECOGNIZER

MOST_PICTURES = 64  # of a sentence
MOST_SENTENCES = 1000
LONGEST_TEXT = 1000  # characters
MOST_BYTES = 2**20  # of a file of sentences
MOST_BEAM = 100
STDIN = Path("-")

EXAMPLES = """examples:
  python generate.py --speech samples/red_crown.ogg --spectrogram
  python generate.py --text "a blue bird with a white belly" --seeds 0-3 --stages --attention
  python generate.py --text "a small yellow bird with a black head" --model painted real
  python generate.py --texts sentences.txt --out birds --single --json > results.jsonl
  arecord -f cd -d 5 | python generate.py --speech -
  python generate.py --speech clip.wav --recognizer whisper:tiny.en   # pip install "saybird[whisper]"

The last line of standard output is the picture's path; with --json, standard output is one JSON object per sentence.
Exit codes: 0 done; 2 one line on standard error says what was wrong, or that a sentence was not understood."""


def command_parser(prog: str, description: str, epilog: str) -> Parser:
    """A command whose help ends with examples, and which takes no shortened options."""
    formatter = argparse.RawDescriptionHelpFormatter
    return Parser(prog, description=description, epilog=epilog, formatter_class=formatter, allow_abbrev=False)


def add_speech(group: "argparse._MutuallyExclusiveGroup") -> None:
    group.add_argument("--speech", metavar="CLIP", type=Path,
                       help="a sound file: wav, flac, ogg, opus or mp3; - reads it from standard input")  # fmt: skip


def parser() -> Parser:
    p = command_parser(
        "generate.py", "Generate pictures of birds from a spoken or written sentence.", EXAMPLES
    )
    group = p.add_argument_group("the sentence (one of these)")
    source = group.add_mutually_exclusive_group(required=True)
    add_speech(source)
    source.add_argument("--text", metavar="SENTENCE", help="a written sentence")
    source.add_argument("--texts", metavar="FILE", type=Path,
                        help="a text file with one sentence a line, each with pictures of its own")  # fmt: skip

    group = p.add_argument_group("what is understood")
    group.add_argument("--fix", action="store_true",
                       help="replace words the model does not know by those it offers (crimson: red)")  # fmt: skip
    group.add_argument("--anyway", action="store_true",
                       help="generate even from doubtful speech or words that describe no bird")  # fmt: skip

    group = p.add_argument_group("the pictures")
    group.add_argument(
        "--seeds", default="0-7", help='one picture a seed: "3", "0-7" or "1,5,9" (default 0-7)'
    )
    group.add_argument("--out", metavar="PATH", type=Path,
                       help="the PNG to write, or with --texts a folder (default outputs/<name>.png)")  # fmt: skip
    group.add_argument("--stages", action="store_true", help="also write the pictures of every stage")
    group.add_argument(
        "--attention", action="store_true", help="also write where the model looked for each word"
    )
    group.add_argument("--spectrogram", action="store_true",
                       help="also write the clip's spectrogram with its words")  # fmt: skip
    group.add_argument("--single", action="store_true", help="also write every picture in a file of its own")
    group.add_argument("--no-caption", action="store_true", help="leave the sentence out of the pictures")
    group.add_argument("--json", action="store_true",
                       help="print results as JSON: transcript, words, times, paths, seeds, checksums")  # fmt: skip

    group = p.add_argument_group("the models")
    group.add_argument("--model", metavar="MODEL", type=Path, nargs="+", default=[PAINTER],
                       help=f"{', '.join(PAINTERS)} or a model folder; several are drawn side by side "
                       "(default painted)")  # fmt: skip
    add_hearing(group)
    group.add_argument("--vocabulary", choices=("any", "painter"), default="any",
                       help="painter: favour the words that the --model understands (default any)")  # fmt: skip
    group.add_argument("--precision", choices=("auto", "bf16", "fp16", "fp32"), default="auto",
                       help="of generating; auto (default): bf16 where the CPU is fast at it, else fp32")  # fmt: skip
    return p


def add_hearing(group: "argparse._ArgumentGroup") -> None:
    """The options of whatever recognises speech."""
    group.add_argument("--recognizer", metavar="NAME", type=Path,
                       help="a model folder; or another: whisper:tiny.en, whisper:FOLDER of weights, pocketsphinx "
                       f"(default {RECOGNIZER})")  # fmt: skip
    group.add_argument("--beam", type=int,
                       help="hypotheses kept while recognising; 0: the best path (default 8, Whisper's 5)")  # fmt: skip
    group.add_argument("--language-model", metavar="FILE", default="auto",
                       help="of the search: a file, none, or auto for the recogniser's own (default auto)")  # fmt: skip
    group.add_argument("--favour", metavar="WORDS", default="",
                       help='words that are likely to be said, with commas: "pico,red-winged"')  # fmt: skip


def parse_seeds(text: str) -> list[int]:
    """Seeds of "3", "0-7", "1,5,9" or a mixture. Raises UserError for anything else, or too many."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,18})\s*(?:-\s*([0-9]{1,18})\s*)?", part)
        if not match:
            raise UserError(f'--seeds {text[:60]}: "{part[:60]}" is no seed; expected e.g. 3, 0-7 or 1,5,9')
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"--seeds {text}: {first}-{last} runs backwards; expected {last}-{first}")
        if len(seeds) + last - first + 1 > MOST_PICTURES:
            raise UserError(
                f"--seeds {text[:60]} asks for more than {MOST_PICTURES} pictures; use fewer seeds"
            )
        seeds += range(first, last + 1)
    return seeds


def check(args: argparse.Namespace) -> None:
    """Raise UserError where options of generate.py do not fit together or are out of range."""
    check_hearing(args, "--text" if args.texts is None else "--texts")
    if len(args.model) > 1 and (args.stages or args.attention):
        raise UserError(f"--stages and --attention show one model; name one --model, not {len(args.model)}")
    if args.out is not None and args.texts is None:
        check_out(args.out)


def check_hearing(args: argparse.Namespace, given: str) -> None:
    """Raise UserError where the options of speech do not fit together; given: what there is in place of --speech."""
    if args.beam is not None and not 0 <= args.beam <= MOST_BEAM:
        raise UserError(f"--beam {args.beam}: expected 0 to {MOST_BEAM}")
    if args.speech is None:
        for option, unset in (("spectrogram", False), ("recognizer", None), ("language_model", "auto"), ("favour", ""),
                              ("vocabulary", "any")):  # fmt: skip
            if getattr(args, option, unset) != unset:
                option = f"--{option.replace('_', '-')}"
                raise UserError(f"{option} needs a sound file: give --speech instead of {given}")
    vocabulary = getattr(args, "vocabulary", "any")
    if args.recognizer:
        favour = "--favour" if args.favour else "--vocabulary" if vocabulary != "any" else ""
        check_recognizer(args.recognizer, args.beam, args.language_model, favour)
    if args.beam == 0 and (args.favour or vocabulary != "any" or args.language_model != "auto"):
        raise UserError(
            "--beam 0 takes the best path, without a search that --language-model, --favour or --vocabulary could "
            "guide; leave it out"
        )
    if args.speech == STDIN and sys.stdin.isatty():
        raise UserError(
            "--speech - reads a sound file from standard input, which is a terminal; pipe one into it"
        )


def sentences(args: argparse.Namespace) -> list[str]:
    """The written sentences of --text or --texts, each on one line; none for --speech. Raises UserError."""
    if args.text is not None:
        return [check_text(args.text, "the text")]
    if args.texts is None:
        return []
    lines = [(i, clean_text(line)) for i, line in enumerate(read_text(args.texts).splitlines(), 1)]
    texts = [check_text(line, f"line {i} of {args.texts}") for i, line in lines if line]
    if not texts:
        raise UserError(f"{args.texts} holds no sentence; write one a line")
    if len(texts) > MOST_SENTENCES:
        raise UserError(
            f"{args.texts} has {len(texts)} sentences; at most {MOST_SENTENCES} at once: split it"
        )
    return list(dict.fromkeys(texts))


def check_text(text: str, what: str) -> str:
    """The sentence on one line. Raises UserError where it is empty or too long."""
    cleaned = clean_text(text)
    if not cleaned:
        raise UserError(f'{what} is empty; describe a bird, e.g. --text "a red bird with black wings"')
    if len(cleaned) > LONGEST_TEXT:
        raise UserError(f"{what} has {len(cleaned)} characters; one sentence of at most {LONGEST_TEXT}")
    return cleaned


def read_text(path: Path) -> str:
    """A file of sentences: UTF-8, or UTF-16 with its byte-order mark. Raises UserError."""
    try:
        if not path.is_file():
            found = "is not a file" if path.exists() else "is not there"
            raise UserError(f"{path} {found}; name a text file with one sentence a line")
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {str(path)[:100]}: {getattr(error, 'strerror', error)}") from error
    if len(content) > MOST_BYTES:
        raise UserError(f"{path} is larger than {MOST_BYTES // 2**20} MiB; split it")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    if "\0" in text:
        raise UserError(f"{path} is not a text file; write one sentence a line")
    return text


def out_folder(args: argparse.Namespace) -> Path:
    """Where pictures with names of their own go."""
    return args.out if args.texts is not None and args.out is not None else FOLDER


def source_name(args: argparse.Namespace) -> str:
    """What to call the recording in lines and captions."""
    return "standard input" if args.speech == STDIN else os.path.basename(args.speech)


def picture_kinds(args: argparse.Namespace, seeds: Sequence[int], names: Sequence[str]) -> list[str]:
    """What stands behind the grid's name in the names of the pictures beside it."""
    kinds = [kind for kind in ("stages", "attention", "spectrogram") if getattr(args, kind)]
    if args.single:
        kinds += [single_kind(name, seed, len(names) > 1) for name in names for seed in dict.fromkeys(seeds)]
    return kinds


def single_kind(name: str, seed: int, several: bool) -> str:
    return f"{name}-seed{seed}" if several else f"seed{seed}"
