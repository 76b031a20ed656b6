"""Find pictures by a spoken or written sentence, captions by a picture: search.py, from its options to what it found.

python search.py --text "a red bird with black wings"
python search.py --speech samples/red_crown.ogg --data datasets/cub --out found.png
python search.py --image bird.jpg --data datasets/cub --find captions
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.console import Clock, listed, say, write_line
from app.hearing import hear, heard_json, read_sound
from app.options import add_hearing, add_speech, check_hearing, check_text, command_parser, source_name
from app.outputs import check_out, check_room, save_png
from app.understanding import SEARCHED, say_understood
from core.errors import Parser, UserError, printable, suggest
from core.model_registry import ENCODERS, RECOGNIZER

# torch and the models are imported once the command is known to be right: --help and mistakes answer at once

if TYPE_CHECKING:
    import numpy as np

    from asr.transcript import Transcript
    from search.finder import Finder, Hit, QueryEncoder
    from t2i.suggestions import Understanding

PAINTED = "painted_birds"
DATASETS = Path(__file__).resolve().parents[1] / "datasets"  # of the checkout, wherever the command is called
MOST_FOUND, MOST_DRAWN = 1000, 60
DRAWN_SIDE = 256  # px

EXAMPLES = """examples:
  python search.py --text "a red bird with black wings"
  python search.py --text "a small yellow bird" --data datasets/cub --out found.png
  python search.py --speech samples/red_crown.ogg --count 5
  python search.py --image bird.jpg --data datasets/cub                   captions of that picture
  python search.py --image bird.jpg --data datasets/cub --find pictures   pictures that resemble it
  python search.py --text "a bird on a branch" --data ~/Pictures          a folder of your own

The first search of a set makes its index, which may take minutes; stopped, it goes on where it was.
Exit codes: 0 done; 2 one line on standard error says what was wrong, or that the sentence was not understood."""


@dataclass
class Job:
    """One command: its options, what was recognised, and what the encoder's vocabulary makes of it."""

    args: argparse.Namespace
    clock: Clock = field(default_factory=Clock)
    heard: "Transcript | None" = None
    recognizer: str = ""  # its checksum
    understood: "Understanding | None" = None

    def say(self, what: str, text: str) -> None:
        """A line for people: on standard output, or on standard error where that is JSON."""
        say(what, text, sys.stderr if self.args.json else sys.stdout)


def parser() -> Parser:
    p = command_parser(
        "search.py", "Find pictures by a spoken or written sentence, captions by a picture.", EXAMPLES
    )
    group = p.add_argument_group("what is looked for (one of these)")
    query = group.add_mutually_exclusive_group(required=True)
    query.add_argument("--text", metavar="SENTENCE", help="a written sentence")
    add_speech(query)
    query.add_argument("--image", metavar="PICTURE", type=Path, help="a picture: JPEG or PNG")

    group = p.add_argument_group("where")
    group.add_argument("--data", metavar="NAME|FOLDER", default=PAINTED,
                       help="a set in the layout of CUB or COCO, or a folder of pictures (default painted_birds, "
                       "which are made where they are missing)")  # fmt: skip
    group.add_argument("--split", help="a split of the set, or all (default test)")
    group.add_argument("--root", type=Path, default=DATASETS,
                       help="where named sets lie (default: datasets/ beside search.py)")  # fmt: skip
    group.add_argument("--encoder", "--model", metavar="MODEL", type=Path,
                       help=f"{', '.join(ENCODERS)} or a model folder (default: painted for painted birds, else "
                       "real)")  # fmt: skip
    group.add_argument("--index", metavar="PATH", type=Path,
                       help="file or folder of the index (default: in the set's cache)")  # fmt: skip
    group.add_argument("--approximate", action="store_true",
                       help="search a graph of neighbours, for millions; needs the extra search-large")  # fmt: skip
    group.add_argument("--device", default="auto", help="of encoding: auto, cpu, cuda or cuda:<n>")

    group = p.add_argument_group("what is found")
    group.add_argument("--find", choices=("pictures", "captions"),
                       help="(default pictures; captions for an --image)")  # fmt: skip
    group.add_argument("--count", type=int, default=10, help="how many, the nearest first (default 10)")
    group.add_argument("--out", metavar="PATH", type=Path, help="also draw them on one page, a PNG")
    group.add_argument("--json", action="store_true", help="print one JSON object")

    group = p.add_argument_group("what is understood")
    group.add_argument("--fix", action="store_true",
                       help="replace words the encoder does not know by those it offers (crimson: red)")  # fmt: skip
    group.add_argument("--anyway", action="store_true",
                       help="search even for doubtful speech or words that describe no bird")  # fmt: skip
    add_hearing(p.add_argument_group("the recogniser"))
    return p


def check(args: argparse.Namespace) -> None:
    """Raise UserError where options do not fit together or are out of range."""
    if not 1 <= args.count <= MOST_FOUND:
        raise UserError(f"--count {args.count}: expected 1 to {MOST_FOUND}")
    check_hearing(args, "--text" if args.text is not None else "--image")
    if args.image is not None and (args.fix or args.anyway):
        raise UserError("--fix and --anyway are for sentences; leave them out with --image")
    if args.text is not None:
        args.text = check_text(args.text, "the text")
    if args.out is not None:
        check_out(args.out)
        check_room([args.out])


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse(argv)
    check(args)
    job = Job(args)
    with job.clock.step("load"):
        from core.runtime import prepare_process

        prepare_process()
        from search.approximate import load_usearch
        from search.finder import Finder, load_reader, read_query
        from search.sources import open_source

        if args.approximate:
            load_usearch()  # whether it is there is known before minutes are spent on an index
        source = open_source(locate(args), args.split)
        reader = load_reader(source, args.encoder, args.device)
        if args.image is not None:
            read_query(args.image, 8)  # and whether it is a picture
    said = recognise(job) if args.speech is not None else args.text
    text = None if said is None else understand(job, reader, said)
    with job.clock.step("index"):
        finder = Finder.over(source, reader, args.index, approximate=args.approximate)
    what = args.find or ("captions" if args.image is not None else "pictures")
    with job.clock.step("search"):
        hits = finder.find(args.image if text is None else text, args.count, what)
    tell(job, finder, hits, what)
    out = draw(job, finder, hits, text, what) if args.out else None
    job.say("time", str(job.clock))
    if args.json:
        write_line(json.dumps(record(job, finder, hits, said, text, what, out)))
    elif out:
        write_line(printable(out))
    return 0


def locate(args: argparse.Namespace) -> Path:
    """The set's folder; painted birds are made where they are missing. Raises UserError."""
    if args.data != PAINTED:
        from data.layouts import locate_set

        try:
            return locate_set(str(Path(args.data).expanduser()), args.root, "--data", PAINTED)
        except OSError as error:
            raise UserError(
                f"cannot read {args.data[:100]}: {error.strerror}; name another folder"
            ) from error
    from data.captioned_images import VALIDATION, WITHOUT_VALIDATION
    from data.painted_birds.build import BIRD_SPLITS, ensure_painted_birds

    parts = {"all": BIRD_SPLITS, "test": ("test",)} | dict.fromkeys(
        ("train", VALIDATION, WITHOUT_VALIDATION), ("train",)
    )
    if (split := args.split or "test") not in parts:
        raise UserError(
            f'no split "{split}" in {PAINTED}{suggest(split, parts)}: there are {", ".join(parts)}'
        )
    return ensure_painted_birds(args.root, splits=parts[split])


def recognise(job: Job) -> str:
    """The recording's text. Raises UserError where it is too doubtful."""
    args = job.args
    with job.clock.step("load"):
        from pipeline import SpeechToImage, favoured_words

        bird = SpeechToImage.load(args.recognizer or RECOGNIZER, None, language_model=args.language_model)
    with job.clock.step("hear"):
        samples = read_sound(args.speech)
        job.heard = hear(bird, samples, args, favoured_words(args.favour, []), job.say)
    job.recognizer = bird.recognizer.checksum if bird.recognizer else ""
    return job.heard.text


def understand(job: Job, reader: "QueryEncoder", text: str) -> str:
    """The sentence to search for: with --fix, unknown words are replaced. Raises UserError where none is known."""
    from t2i.suggestions import understand

    encoder, words = reader.loaded, reader.loaded.vocabulary_words
    if words is None:
        if unknown := encoder.unknown(text):
            job.say("unknown", f"{listed(unknown)}: not among the letters that are read, left out")
        return text
    found = understand(text, words, encoder.max_words)
    if job.args.fix and found.suggestion:
        text = found.suggestion
        job.say("fixed", text)
        found = understand(text, words, encoder.max_words)
    say_understood(found, words, text, SEARCHED, job.say, job.args.anyway)
    job.understood = found
    return text


# ---- what is said and drawn ----


def about(finder: "Finder", what: str, name: str) -> str:
    """Among how many of what, by which encoder."""
    count = len(finder.index) if what == "pictures" else len(finder.index.captions)
    return f"{count:,} {what} of {name}, by {finder.encoder.name}"


def tell(job: Job, finder: "Finder", hits: "Sequence[Hit]", what: str) -> None:
    if job.args.json:
        return
    job.say("searched", about(finder, what, finder.source.name))
    for hit in hits:
        first, second = (hit.source, hit.caption) if what == "pictures" else (hit.caption, hit.source)
        write_line(f"{hit.rank:>4}  {hit.score:6.3f}  {printable(first)}")
        if second:
            write_line(f"{'':14}{printable(second)}")


def draw(job: Job, finder: "Finder", hits: "Sequence[Hit]", text: str | None, what: str) -> Path:
    """Write the page of --out -> its path. Raises UserError where it cannot be written."""
    from visualization.ranking import Ranked, ranking

    args = job.args
    with job.clock.step("draw"):
        drawn = [
            Ranked(
                picture_of(Path(hit.source), hit.picture.box), hit.score, hit.caption, Path(hit.source).name
            )
            for hit in hits[:MOST_DRAWN]
        ]
        name = finder.source._replace(root=Path(finder.source.root.resolve().name)).name
        note = f"the {len(drawn)} nearest of {about(finder, what, name)} · scores are cosines"
        if job.heard is not None:
            note = f"heard in {source_name(args)}, confidence {job.heard.confidence:.2f} · {note}"
        if job.understood and job.understood.unknown:
            note += f" · not understood: {listed(job.understood.unknown)}"
        query = None if args.image is None else picture_of(args.image, None)
        title = f"{what.capitalize()} near this picture" if text is None else f"“{text}”"
        page = ranking(drawn, title, note, query)
        facts = {
            "Software": "saybird",
            **({"picture": str(args.image)} if text is None else {"text": text}),
            "searched": about(finder, what, name),
            "encoder sha256": finder.encoder.checksum,
            "found": ", ".join(hit.source for hit in hits[:MOST_DRAWN]),
        }
        save_png(page, args.out, facts)
    return args.out


def picture_of(path: Path, box: Sequence[int] | None) -> "np.ndarray | None":
    """A little more of a picture than the encoder sees, (3, s, s) in [-1, 1]; None where it cannot be read any more."""
    from data.packed import DamagedItem
    from data.pictures import read_picture

    try:
        picture = read_picture(path, box, DRAWN_SIDE)
    except DamagedItem:
        return None
    side = min(picture.shape[1:])
    top, left = ((whole - side) // 2 for whole in picture.shape[1:])
    return picture[:, top : top + side, left : left + side] / 127.5 - 1


def record(
    job: Job,
    finder: "Finder",
    hits: "Sequence[Hit]",
    said: str | None,
    text: str | None,
    what: str,
    out: Path | None,
) -> dict[str, Any]:
    """What --json prints: values of JSON's own types, times in seconds."""
    args, index = job.args, finder.index
    found: dict[str, Any] = {
        "text": text,
        "said": said,
        "image": None if args.image is None else str(args.image),
        "heard": None if job.heard is None else heard_json(job.heard, args, job.recognizer),
        "set": {"folder": str(finder.source.root), "split": finder.source.split, "pictures": len(index),
                "captions": len(index.captions), "left out": index.about["left_out"]},
        "encoder": {"name": finder.encoder.name, "folder": str(finder.encoder.folder),
                    "sha256": finder.encoder.checksum},
        "index": str(index.path),
        "found": what,
        "hits": [
            {"rank": hit.rank, "score": hit.score, "caption": hit.caption, "source": hit.source,
             "name": hit.picture.name, "width": hit.picture.width, "height": hit.picture.height}
            for hit in hits
        ],
        "page": None if out is None else str(out),
        "seconds": job.clock.steps,
    }  # fmt: skip
    if u := job.understood:
        found["encoder"] |= {"known": u.known, "unknown": u.unknown, "left out": u.beyond, "negated": u.negated,
                             "offers": u.offers, "suggestion": u.suggestion}  # fmt: skip
    return found
