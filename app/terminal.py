"""Paint birds from a spoken or written sentence.

    python generate.py --speech samples/red_crown.ogg
    python generate.py --text "a blue bird with a white belly" --seeds 0-3 --stages --attention
    python generate.py --text "a small yellow bird" --model painted real

The picture's path is the last line of standard output.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import Parser, UserError
from core.files import make_folder, write_atomically
from core.model_registry import PAINTER, PAINTERS, RECOGNIZER, find_folder, model_name

# torch and the models are imported once the command is known to be right: --help and mistakes answer at once

MOST_PICTURES = 64
LONGEST_TEXT = 1000  # characters
LOW_CONFIDENCE = 0.6  # words below it are marked as doubtful
OUTPUTS = Path("outputs")


def parser() -> Parser:
    p = Parser(
        prog="generate.py", description="Paint birds from a spoken or written sentence.", allow_abbrev=False
    )
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--speech", metavar="CLIP", type=Path, help="a sound file: wav, flac, ogg, opus or mp3")
    what.add_argument("--text", metavar="SENTENCE", help="a sentence, instead of a sound file")
    p.add_argument("--seeds", default="0-7", help='one picture a seed: "3", "0-7" or "1,5,9" (default 0-7)')
    p.add_argument(
        "--out", metavar="PNG", type=Path, help="the picture to write (default outputs/<name>.png)"
    )
    p.add_argument("--model", metavar="MODEL", type=Path, nargs="+", default=[PAINTER],
                   help=f"{', '.join(PAINTERS)} or a painter's folder; several are drawn side by side "
                   "(default painted)")  # fmt: skip
    p.add_argument("--recognizer", metavar="FOLDER", type=Path, help="(default weights/painted-recognizer)")
    p.add_argument(
        "--beam", type=int, help="hypotheses kept while listening; 0 takes the best path (default 8)"
    )
    p.add_argument("--stages", action="store_true", help="also write every stage's pictures")
    p.add_argument("--attention", action="store_true", help="also write where each word was looked at")
    p.add_argument(
        "--spectrogram", action="store_true", help="also write the clip's spectrogram with its words"
    )
    p.add_argument("--no-caption", action="store_true", help="leave the sentence out of the pictures")
    return p


def parse_seeds(text: str) -> list[int]:
    """Seeds of "3", "0-7", "1,5,9" or a mixture. Raises UserError for anything else, or too many."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", part)
        if not match:
            raise UserError(f'--seeds {text}: "{part}" is no seed; expected e.g. 3, 0-7 or 1,5,9')
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"--seeds {text}: {first}-{last} runs backwards; expected {last}-{first}")
        if len(seeds) + last - first + 1 > MOST_PICTURES:
            raise UserError(f"--seeds {text} asks for more than {MOST_PICTURES} pictures; use fewer seeds")
        seeds += range(first, last + 1)
    return seeds


def default_out(speech: Path | None, text: str | None) -> Path:
    """outputs/<the clip's or the sentence's name>.png"""
    name = speech.stem if speech else text or ""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return OUTPUTS / f"{slug[:60].rstrip('-') or 'birds'}.png"


def check_writable(path: Path) -> None:
    """Raise UserError, before any work is done, where the PNG cannot be written."""
    try:
        if path.is_dir():
            raise UserError(f"--out {path} is a folder; name a file in it, e.g. {path / 'birds.png'}")
        if path.suffix.lower() != ".png":
            raise UserError(f'--out {path} ends in "{path.suffix}"; pictures are written as .png')
        if path.exists() and not path.is_file():
            raise UserError(f"--out {path} is not an ordinary file; choose another path")
        make_folder(path.parent)
        # as long as the temporary names beside the longest picture that may be asked for
        probe = path.with_name(f".{path.stem}-spectrogram.png.probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another path with --out") from error


class Clock:
    """Wall time of every step, s."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.steps[name] = self.steps.get(name, 0.0) + time.perf_counter() - start

    def __str__(self) -> str:
        steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.steps.items())
        return f"{steps}; {sum(self.steps.values()):.1f} s in all"


def say(what: str, text: str) -> None:
    print(f"{what:<11}{text}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse(argv)
    seeds = parse_seeds(args.seeds)
    if args.text is not None:
        args.text = " ".join(args.text.split())
        if not args.text:
            raise UserError('the text is empty; describe a bird, e.g. --text "a red bird with black wings"')
        if len(args.text) > LONGEST_TEXT:
            raise UserError(
                f"the text has {len(args.text)} characters; one sentence of at most {LONGEST_TEXT}"
            )
    if args.beam is not None and not 0 <= args.beam <= 100:
        raise UserError(f"--beam {args.beam}: expected 0 to 100")
    if args.speech is None:
        for given, option in ((args.spectrogram, "--spectrogram"), (args.recognizer, "--recognizer")):
            if given:
                raise UserError(f"{option} needs a sound file: give --speech instead of --text")
    if len(args.model) > 1 and (args.stages or args.attention):
        raise UserError(f"--stages and --attention show one painter; name one --model, not {len(args.model)}")
    out = args.out or default_out(args.speech, args.text)
    check_writable(out)
    clock = Clock()
    with clock.step("load"):
        import torch

        from core.runtime import keep_freed_memory
        from pipeline import SpeechToImage, spectrogram

        keep_freed_memory()
        torch.set_num_threads(2)
    samples = None
    if args.speech is not None:
        with clock.step("hear"):
            from asr.audio import load_audio

            try:
                samples = load_audio(args.speech)
            except OSError as error:  # no permission, a name too long, a disk that fails
                raise UserError(f"cannot read {str(args.speech)[:100]}: {error.strerror}") from error
    with clock.step("load"):
        hears = (args.recognizer or RECOGNIZER) if args.speech is not None else None
        folders = [find_folder(folder) for folder in args.model]
        models = [SpeechToImage.load(None if i else hears, folder) for i, folder in enumerate(folders)]

    text: str = args.text or ""
    heard = None
    if samples is not None:
        with clock.step("hear"):
            heard = models[0].hear(samples, args.beam)
        if heard.no_speech:
            raise UserError(f"no speech heard in {args.speech}; record a sentence, or write it: --text")
        text = heard.text
        say("heard", f"{_marked(heard)}   (confidence {heard.confidence:.2f})")
        if any(word.confidence < LOW_CONFIDENCE for word in heard.words):
            say("", f"? marks words below {LOW_CONFIDENCE}: they may be something else")
    names = [model_name(folder) for folder in folders]
    with clock.step("paint"):
        paintings = [model.paint(text, seeds) for model in models]
    painters = [model.painter for model in models if model.painter]
    for name, painter, painting in zip(names, painters, paintings, strict=True):
        say_limits(painter, painting, text, f"{name}: " if len(models) > 1 else "")
    titles = [f"{n}, {p.images[-1].shape[-1]} px" for n, p in zip(names, paintings, strict=True)]
    say("painted", f"{len(seeds)} bird{'s' * (len(seeds) > 1)}, seeds {args.seeds}: {'; '.join(titles)}")

    with clock.step("draw"):
        from visualization import grids
        from visualization.attention import attention_grid
        from visualization.spectrogram import Span, spectrogram_page

        note = ", ".join([*titles, f"seeds {args.seeds}"])
        if heard is not None:
            note = f"heard in {args.speech.name}, confidence {heard.confidence:.2f}    {note}"
        caption, note = ("", "") if args.no_caption else (f"“{text}”", note)
        images = [stage.float().numpy() for stage in paintings[0].images]
        facts = _facts(text, seeds, names, [painter.checksum for painter in painters], args, heard)

        def draw(kind: str, make: Callable[[], Any]) -> None:
            path = out.with_name(f"{out.stem}-{kind}.png") if kind else out
            _save(make(), path, facts)
            if kind:
                say(kind, str(path))

        if args.stages:
            few = slice(0, 8)
            draw("stages", lambda: grids.stages([stage[few] for stage in images], seeds[few], caption, note))
        if args.attention:
            tokens, attention = paintings[0].tokens[0], paintings[0].attention
            if not attention:
                raise UserError(f"{names[0]} has one stage, which attends to no words; leave out --attention")
            maps = attention[-1][0, : len(tokens)].float().numpy()
            draw("attention", lambda: attention_grid(images[-1][0], maps, tokens, caption, note))
        if args.spectrogram and heard is not None and samples is not None:
            words = [
                Span(word.text, word.start, word.end, word.confidence >= LOW_CONFIDENCE)
                for word in heard.words
            ]
            what = (
                "" if args.no_caption else f"{args.speech.name}: log-mel energies, doubtful words in orange"
            )
            draw(
                "spectrogram",
                lambda: spectrogram_page(spectrogram(samples), heard.seconds, words, what),
            )
        if len(models) == 1:
            draw("", lambda: grids.grid(list(images[-1]), caption, note))
        else:
            panels = [list(painting.images[-1].float().numpy()) for painting in paintings]
            draw("", lambda: grids.side_by_side(panels, titles, caption, note))
    say("time", str(clock))
    print(out)
    return 0


def say_limits(painter: Any, painting: Any, text: str, who: str) -> None:
    """Say which words of the text were painted without."""
    unknown = painter.unknown(text)
    if unknown:
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        words = ", ".join(unknown[:10])
        say("unknown", f"{who}{words}{more}: not in the painter's vocabulary, painted without")
    known, said = len(painting.tokens[0]), len(painter.known(text, limit=10**6))
    if said > known:
        say("long", f"{who}only the first {known} of {said} known words are painted")


def _marked(heard: Any) -> str:
    """The transcript, doubtful words with their confidence."""
    return " ".join(
        word.text if word.confidence >= LOW_CONFIDENCE else f"{word.text}?({word.confidence:.2f})"
        for word in heard.words
    )


def _facts(
    text: str, seeds: list[int], names: list[str], checksums: list[str], args: argparse.Namespace, heard: Any
) -> dict[str, str]:
    """What is stored in the PNG, so that it can be painted again."""
    facts = {
        "Software": "saybird",
        "text": text,
        "seeds": ",".join(map(str, seeds)),
        "model": ", ".join(names),
        "model sha256": ", ".join(checksums),
    }
    if heard is not None:
        facts |= {"speech": args.speech.name, "confidence": f"{heard.confidence:.4f}"}
    return facts


def _save(image: Any, path: Path, facts: dict[str, str]) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, value in facts.items():
        info.add_text(key, value)
    write_atomically(path, lambda beside: image.save(beside, format="PNG", pnginfo=info))
