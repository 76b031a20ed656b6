"""Generate pictures of birds from a spoken or written sentence: generate.py, from its options to its pictures.

    python generate.py --speech samples/red_crown.ogg
    python generate.py --text "a blue bird with a white belly" --seeds 0-3 --stages --attention
    python generate.py --text "a small yellow bird" --model painted real

The picture's path is the last line of standard output.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.console import Clock, listed, say, write_line
from app.hearing import DOUBTFUL_WORD, hear, heard_json, read_sound
from app.options import (
    STDIN,
    check,
    out_folder,
    parse_seeds,
    parser,
    picture_kinds,
    sentences,
    single_kind,
    source_name,
)
from app.outputs import check_room, free_path, save_png, siblings, slug
from app.understanding import PAINTED, say_understood
from core.errors import UserError, printable
from core.model_registry import RECOGNIZER, find_folder, model_name

# torch and the models are imported once the command is known to be right: --help and mistakes answer at once

if TYPE_CHECKING:
    import numpy as np

    from asr.recognizer import Transcript
    from pipeline import SpeechToImage
    from t2i.suggestions import Understanding


@dataclass
class Job:
    """One command: its options, its models, and what was recognised."""

    args: argparse.Namespace
    seeds: list[int]
    clock: Clock = field(default_factory=Clock)
    models: list["SpeechToImage"] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    samples: "np.ndarray | None" = None
    heard: "Transcript | None" = None

    @property
    def names(self) -> list[str]:
        return [printable(model_name(folder)) for folder in self.folders]

    def say(self, what: str, text: str) -> None:
        """A line for people: on standard output, or on standard error where that is JSON."""
        say(what, text, sys.stderr if self.args.json else sys.stdout)


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse(argv)
    job = Job(args, parse_seeds(args.seeds))
    check(args)
    texts = sentences(args)
    first = args.out if args.texts is None else None
    first = first or out_folder(args) / f"{slug(texts[0]) if texts else 'birds'}.png"
    check_room(siblings(first, picture_kinds(args, job.seeds, [path.name for path in args.model])))
    load(job)
    if args.speech is not None:
        texts = [recognise(job)]
    refused = 0
    for i, text in enumerate(texts):
        try:
            result = generate(job, text)
        except UserError as error:
            if len(texts) == 1:
                raise
            write_line(f"error: sentence {i + 1}: {printable(error)}", sys.stderr)
            refused += 1
            continue
        if i == len(texts) - 1:
            job.say("time", str(job.clock))
        write_line(json.dumps(result) if args.json else printable(result["pictures"]["grid"]))
    if refused:
        raise UserError(f"{refused} of {len(texts)} sentences have no picture; the others are written")
    return 0


def load(job: Job) -> None:
    """Read the recording and the models. Raises UserError."""
    args = job.args
    with job.clock.step("load"):
        from core.runtime import prepare_process
        from pipeline import SpeechToImage

        # One thread to load and recognise: the products of one clip are too small to share, and on busy cores threads
        # that wait for each other take many times as long.
        prepare_process(threads=1)
    if args.speech is not None:
        with job.clock.step("hear"):
            job.samples = read_sound(args.speech)
    with job.clock.step("load"):
        recognizer = (args.recognizer or RECOGNIZER) if args.speech is not None else None
        job.folders = [find_folder(folder) for folder in args.model]
        job.models = [
            SpeechToImage.load(None if i else recognizer, folder, args.precision, args.language_model)
            for i, folder in enumerate(job.folders)
        ]


def recognise(job: Job) -> str:
    """The recording's text. Raises UserError where it is too doubtful."""
    from pipeline import favoured_words

    painters = [model.painter for model in job.models if job.args.vocabulary == "painter"]
    favoured = favoured_words(job.args.favour, painters)
    assert job.samples is not None
    with job.clock.step("hear"):
        job.heard = hear(job.models[0], job.samples, job.args, favoured, job.say)
    return job.heard.text


def generate(job: Job, said: str) -> dict[str, Any]:
    """Generate and draw the pictures of one sentence -> what --json prints. Raises UserError."""
    args, text = job.args, said
    understood = understand_all(job, text)
    if args.fix and (suggestion := next((u.suggestion for u in understood if u and u.suggestion), "")):
        text = suggestion
        job.say("fixed", text)
        understood = understand_all(job, text)
    for name, model, understanding in zip(job.names, job.models, understood, strict=True):
        if understanding and model.painter:
            words, who = model.painter.encoder.vocabulary_words or [], f"{name}: " * (len(job.models) > 1)
            say_understood(understanding, words, text, PAINTED, job.say, args.anyway, who)
    kinds = picture_kinds(args, job.seeds, job.names)
    out = args.out if args.texts is None else None
    if out is None:
        name = args.speech.stem if args.speech not in (None, STDIN) else text
        out = free_path(out_folder(args) / f"{slug(name)}.png", text, kinds)
    check_room(siblings(out, kinds))
    prepare_threads()
    with job.clock.step("paint"):
        paintings = [model.paint(text, job.seeds) for model in job.models]
    titles = [f"{n}, {p.images[-1].shape[-1]} px" for n, p in zip(job.names, paintings, strict=True)]
    count = len(job.seeds)
    job.say("painted", f"{count} bird{'s' * (count > 1)}, seeds {args.seeds}: {'; '.join(titles)}")
    with job.clock.step("draw"):
        written = draw(job, text, said, paintings, titles, understood, out)
    return record(job, text, said, understood, written)


def prepare_threads() -> None:
    """As many threads for generating as this process may use."""
    import torch

    from core.runtime import usable_threads

    torch.set_num_threads(usable_threads())


def understand_all(job: Job, text: str) -> "list[Understanding | None]":
    """What each model's vocabulary makes of the text; None for models that read no words."""
    from t2i.suggestions import understand

    found: list[Understanding | None] = []
    for model in job.models:
        painter = model.painter
        assert painter is not None
        words = painter.encoder.vocabulary_words
        found.append(None if words is None else understand(text, words, painter.encoder.max_words))
        if words is None and (unknown := painter.unknown(text)):
            job.say("unknown", f"{listed(unknown)}: not among the letters that are read, left out")
    return found


def draw(
    job: Job,
    text: str,
    said: str,
    paintings: Sequence[Any],
    titles: Sequence[str],
    understood: "Sequence[Understanding | None]",
    out: Path,
) -> dict[str, Any]:
    """Write the grid, and beside it what else was asked for -> the paths by kind. The grid comes first: whatever fails
    later does not lose it."""
    from visualization import grids
    from visualization.attention import attention_grid
    from visualization.spectrogram import Span, spectrogram_page

    args, seeds, heard = job.args, job.seeds, job.heard
    notes = [*titles, f"seeds {args.seeds}"]
    if heard is not None:
        notes.insert(0, f"heard in {source_name(args)}, confidence {heard.confidence:.2f}")
    for name, understanding in zip(job.names, understood, strict=True):
        if understanding and understanding.unknown:
            who = f" by {name}" if len(job.models) > 1 else ""
            notes.append(f"not understood{who}: {listed(understanding.unknown)}")
    caption, note = ("", "") if args.no_caption else (f"“{text}”", " · ".join(notes))
    images = [stage.float().numpy() for stage in paintings[0].images]
    facts = facts_of(job, text, said)
    written: dict[str, Any] = {}

    def write(kind: str, image: Any, more: dict[str, str] | None = None) -> str:
        path = out.with_name(f"{out.stem}-{kind}.png") if kind else out
        save_png(image, path, facts | (more or {}))
        return str(path)

    panels = [list(painting.images[-1].float().numpy()) for painting in paintings]
    if len(panels) == 1:
        written["grid"] = write("", grids.grid(panels[0], caption, note))
    else:
        written["grid"] = write("", grids.side_by_side(panels, titles, caption, note))
    if args.single:
        written["single"] = [
            {"model": name, "seed": seed, "path": write(single_kind(name, seed, len(panels) > 1), grids.to_image(p),
                                                         {"model": name, "seeds": str(seed)})}
            for name, panel in zip(job.names, panels, strict=True)
            for seed, p in zip(seeds, panel, strict=True)
        ]  # fmt: skip
        job.say("single", f"{len(written['single'])} pictures: {written['single'][0]['path']} ...")
    if args.stages:
        few = [stage[:8] for stage in images]
        written["stages"] = write("stages", grids.stages(few, seeds[:8], caption, note))
    if args.spectrogram and heard is not None and job.samples is not None:
        from pipeline import spectrogram

        words = [Span(w.text, w.start, w.end, w.confidence >= DOUBTFUL_WORD) for w in heard.words]
        what = "" if args.no_caption else f"{source_name(args)}: log-mel energies, doubtful words in orange"
        page = spectrogram_page(spectrogram(job.samples), heard.seconds, words, what, band=(20.0, 7600.0))
        written["spectrogram"] = write("spectrogram", page)
    if args.attention:
        tokens, attention = paintings[0].tokens[0], paintings[0].attention
        if not attention:
            raise UserError(
                f"{job.names[0]} has one stage, which attends to no words; leave out --attention. {out} is written"
            )
        maps = attention[-1][0, : len(tokens)].float().numpy()
        written["attention"] = write("attention", attention_grid(images[-1][0], maps, tokens, caption, note))
    for kind in ("stages", "spectrogram", "attention"):
        if kind in written:
            job.say(kind, written[kind])
    return written


def facts_of(job: Job, text: str, said: str) -> dict[str, str]:
    """What is stored in the PNGs, so that they can be generated again."""
    painters = [model.painter for model in job.models if model.painter]
    facts = {
        "Software": "saybird",
        "text": text,
        "seeds": ",".join(map(str, job.seeds)),
        "model": ", ".join(job.names),
        "model sha256": ", ".join(painter.checksum for painter in painters),
        "precision": painters[0].precision,
    }
    if said != text:
        facts["said"] = said
    if job.heard is not None:
        facts |= {"speech": source_name(job.args), "confidence": f"{job.heard.confidence:.4f}"}
    return facts


def record(
    job: Job, text: str, said: str, understood: "Sequence[Understanding | None]", written: dict[str, Any]
) -> dict[str, Any]:
    """What --json prints of one sentence: values of JSON's own types, times in seconds."""
    result: dict[str, Any] = {
        "text": text,
        "said": said,
        "heard": None,
        "seeds": job.seeds,
        "pictures": written,
    }
    if job.heard is not None:
        recognizer = job.models[0].recognizer
        result["heard"] = heard_json(job.heard, job.args, recognizer.checksum if recognizer else "")
    result["models"] = [
        {"name": name, "folder": str(folder), "sha256": model.painter.checksum if model.painter else "",
         "precision": model.painter.precision if model.painter else ""}
        | ({"known": u.known, "unknown": u.unknown, "left out": u.beyond, "negated": u.negated, "offers": u.offers,
            "suggestion": u.suggestion} if u else {})
        for name, folder, model, u in zip(job.names, job.folders, job.models, understood, strict=True)
    ]  # fmt: skip
    return result
