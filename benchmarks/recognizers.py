"""Recognisers side by side: `python -m benchmarks.recognizers --recognizers NAME ... --speech FOLDER:SPLIT ...`.

    python -m benchmarks.recognizers --recognizers weights/recognizer pocketsphinx whisper:tiny.en \\
        --speech LibriSpeech:test-clean kokoro_unseen:test --limit 100 --write

NAME is what `evaluate.py --recognizer` takes. Ours has a row for each way to decode: greedy, beam, beam with its
language model. Every row has a process of its own with one thread, which is sent one clip after another and answers
with texts, so that nothing but the recogniser is in its memory, and a row that fails takes no other with it.
"""

import json
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from asr.audio import SAMPLE_RATE
from asr.recognizers.registry import (
    BEAM,
    check_recognizer,
    default_beam,
    external,
    open_recognizer,
    recognizer_name,
)
from benchmarks.common import RESULTS, cores
from core.errors import Parser, UserError, run_cli
from core.files import write_json, write_text
from core.model_registry import RECOGNIZER, find_folder
from core.runtime import memory_mb

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PROTOCOL = {
    "texts": "gray counts as grey, else as metrics.error_rates has it: {normalisation}",
    "interval": "95 %, voices drawn with replacement where a set has several, else clips",
    "real-time factor": "processor seconds from samples to text, times and confidences of words, by the seconds of the "
    "clips; one thread, clips one by one, the first once before",
    "load": "seconds of a cold process, after torch is imported, to a recogniser that hears",
    "memory": "largest resident memory of the process, MB of 10^6 bytes, and how much of it came after torch",
}


class Way(NamedTuple):
    """One recogniser, decoding in one way: a row of the table."""

    recognizer: str
    decoding: str
    beam: int
    language_model: str = "auto"


class SpeechClips(NamedTuple):
    """A set that is heard: clips(i) are samples (S,) at 16 kHz."""

    name: str
    clips: Callable[[int], np.ndarray]
    texts: list[str]
    speakers: list[str]


class Opened(NamedTuple):
    """What a process says when its recogniser is there."""

    checksum: str
    load_seconds: float
    before_mb: float  # memory after torch was imported


class Heard(NamedTuple):
    """What it says of a clip."""

    text: str
    seconds: float  # of the processor
    peak_mb: float  # so far


Ask = Callable[[np.ndarray], Heard]


class RecognizerFailed(Exception):
    """A process could not load its recogniser, could not hear a clip, or died."""


def ways(name: str, beam: int, language_model: str = "auto") -> list[Way]:
    """The rows of a recogniser. language_model: of ours, a file, or auto for its own, where it has one."""
    from asr.language_model import FILE

    if external(name):
        own = default_beam(name)
        return [Way(name, f"beam {own}" if own else "its own", own)]
    rows = [Way(name, "greedy", 0, "none"), Way(name, f"beam {beam}", beam, "none")]
    if language_model != "auto" or (find_folder(name) / FILE).exists():
        rows.append(Way(name, f"beam {beam}, language model", beam, language_model))
    return rows


# ---- the process of a row ----


def serve(link: Connection, way: Way, opened: Callable[..., Any]) -> None:
    """The life of a process: open the recogniser, then hear whatever clip is sent, until None is."""
    try:
        torch.set_num_threads(1)
        before, start = memory_mb("VmRSS"), time.perf_counter()
        recognizer = opened(way.recognizer, language_model=way.language_model)
        load = time.perf_counter() - start
        link.send(Opened(recognizer.checksum, load, before))
        while (samples := link.recv()) is not None:
            start = time.process_time()
            text = recognizer.transcribe(samples, beam=way.beam).text
            link.send(Heard(text, time.process_time() - start, memory_mb("VmHWM")))
    except Exception as error:  # whatever another's library raises: the parent goes on with the next
        link.send(RecognizerFailed(f"{type(error).__name__}: {error}"))


@contextmanager
def process(way: Way, opened: Callable[..., Any] = open_recognizer) -> Iterator[tuple[Opened, Ask]]:
    """A process with the recogniser of a row, and what asks it to hear. Raises RecognizerFailed."""
    context = multiprocessing.get_context("spawn")
    link, theirs = context.Pipe()
    worker = context.Process(target=serve, args=(theirs, way, opened))
    former = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        worker.start()
    finally:
        for name, value in former.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    theirs.close()  # else a process that died would be waited for

    def answer() -> Any:
        try:
            found = link.recv()
        except EOFError:
            worker.join()
            raise RecognizerFailed(f"its process ended with code {worker.exitcode}") from None
        if isinstance(found, RecognizerFailed):
            raise found
        return found

    def ask(samples: np.ndarray) -> Heard:
        with suppress(OSError):  # of a process that died, of which the answer tells
            link.send(samples)
        return answer()

    try:
        yield answer(), ask
        with suppress(OSError):
            link.send(None)
        worker.join(timeout=10)
    finally:
        worker.terminate()
        worker.join()
        link.close()


# ---- the table ----


def measure(way: Way, sets: Sequence[SpeechClips]) -> Iterator[dict[str, Any]]:
    """A row of figures for each set, as soon as it is known. Raises RecognizerFailed."""
    from metrics.cer import character_error_rate
    from metrics.wer import word_error_rate

    with process(way) as (opened, ask):
        ask(sets[0].clips(0))
        for one in sets:
            heard, length = [], 0
            for i in bar(len(one.texts), f"{recognizer_name(way.recognizer)}, {way.decoding}: {one.name}"):
                samples = one.clips(i)
                heard.append(ask(samples))
                length += len(samples)
            texts = [folded(text) for text in one.texts], [folded(found.text) for found in heard]
            wer, cer = (
                rate(*texts, speakers=one.speakers) for rate in (word_error_rate, character_error_rate)
            )
            seconds = length / SAMPLE_RATE
            yield {
                "recognizer": recognizer_name(way.recognizer),
                "decoding": way.decoding,
                "set": one.name,
                "wer": round(100 * wer.value, 3),
                "wer_interval": [round(100 * bound, 3) for bound in wer.interval[:2]],
                "cer": round(100 * cer.value, 3),
                "cer_interval": [round(100 * bound, 3) for bound in cer.interval[:2]],
                "words": wer.length,
                "without_text": sum(not found.text for found in heard),
                "real_time_factor": round(sum(found.seconds for found in heard) / seconds, 4),
                "seconds": round(seconds, 1),
                "load_seconds": round(opened.load_seconds, 2),
                "peak_mb": round(heard[-1].peak_mb),
                "before_mb": round(opened.before_mb),
                "sha256": opened.checksum,
            }


def folded(text: str) -> str:
    """American and British writers of captions spell one colour in two ways."""
    return re.sub("gray", "grey", text, flags=re.IGNORECASE)


def bar(count: int, what: str) -> Iterator[int]:
    from evaluation.batches import progress

    return progress(range(count), what, count, 1)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table: a line for each way to decode, columns for each set."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    columns = [column for name in sets for column in (f"{name} WER, % (95 %)", "CER, %")]
    head = ["recogniser", "decoding", *columns, "real-time factor", "load, s", "memory, MB", "above torch"]
    lines = [head, ["---"] * len(head)]
    for key in dict.fromkeys((row["recognizer"], row["decoding"]) for row in rows):
        of = {row["set"]: row for row in rows if (row["recognizer"], row["decoding"]) == key}
        cells = []
        for name in sets:
            row = of.get(name)
            low, high = row["wer_interval"] if row else (0, 0)
            cells += [f"{row['wer']:.1f} ({low:.1f} to {high:.1f})", f"{row['cer']:.1f}"] if row else ["", ""]
        busy = sum(row["real_time_factor"] * row["seconds"] for row in of.values())
        factor = busy / sum(row["seconds"] for row in of.values())
        load, peak, before = (
            max(row[name] for row in of.values()) for name in ("load_seconds", "peak_mb", "before_mb")
        )
        lines.append([*key, *cells, f"{factor:.3f}", f"{load:.1f}", f"{peak:.0f}", f"{peak - before:.0f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def compare(
    rows_of: Sequence[Way],
    sets: Sequence[SpeechClips],
    keep: Callable[[list[dict[str, Any]], dict[str, str]], None],
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The figures of all rows, and why others have none. keep(rows, failed) is called whenever there are more."""
    rows: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    for way in rows_of:
        try:
            for row in measure(way, sets):
                rows.append(row)
                print(
                    f"{row['recognizer']}, {row['decoding']}: {row['set']} WER {row['wer']:.1f} %, CER "
                    f"{row['cer']:.1f} %, real-time factor {row['real_time_factor']:.3f}, load "
                    f"{row['load_seconds']:.1f} s, {row['peak_mb']} MB",
                    flush=True,
                )
                keep(rows, failed)
        except RecognizerFailed as error:
            failed[f"{recognizer_name(way.recognizer)}, {way.decoding}"] = " ".join(str(error).split())
            print(f"failed: {recognizer_name(way.recognizer)}, {way.decoding}: {error}", file=sys.stderr)
            keep(rows, failed)
    return rows, failed


# ---- the command ----


def parser() -> Parser:
    options = Parser(prog="python -m benchmarks.recognizers", description=(__doc__ or "").partition(":")[0])
    add = options.add_argument
    add("--recognizers", nargs="+", default=[str(RECOGNIZER)], metavar="NAME",
        help="model folders, whisper:tiny.en, whisper:FOLDER, pocketsphinx")  # fmt: skip
    add("--speech", nargs="+", required=True, metavar="FOLDER:SPLIT",
        help="sets of speech in layouts that data.speech reads")  # fmt: skip
    add("--limit", type=int, help="clips of each set, in a fixed random order (default: all)")
    add("--beam", type=int, default=BEAM, help=f"of ours (default {BEAM})")
    add("--language-model", default="auto", metavar="FILE", help="of ours (default auto: its own)")
    add("--skip-damaged", action="store_true", help="leave damaged clips out")
    add(
        "--cache",
        type=Path,
        default=Path("datasets/cache"),
        help="where sound is packed (default datasets/cache)",
    )
    add("--write", action="store_true",
        help="keep the table in benchmarks/results/recognizers.json and .md, after each set")  # fmt: skip
    return options


def open_set(which: str, limit: int | None, cache: Path, skip_damaged: bool) -> SpeechClips:
    """The clips of FOLDER:SPLIT. Raises UserError as `load_speech` does."""
    from data.speech import load_speech
    from evaluation.sets import LONGEST

    folder, _, split = which.rpartition(":")
    if not folder:
        raise UserError(f"--speech {which}: expected FOLDER:SPLIT, e.g. LibriSpeech:test-clean")
    # beside evaluate.py's: training leaves long clips out
    on_damaged = "skip" if skip_damaged else "error"
    speech = load_speech(folder, split, cache / "evaluation", on_damaged=on_damaged, max_seconds=LONGEST)  # type: ignore[arg-type]
    chosen = [int(i) for i in np.random.default_rng(0).permutation(len(speech))[:limit]]
    return SpeechClips(
        f"{Path(folder).resolve().name}:{split}",
        lambda i: speech.samples(chosen[i]),
        [speech.texts[i] for i in chosen],
        [speech.speakers[i] for i in chosen],
    )


def check_names(what: str, names: Sequence[str]) -> None:
    """Raises UserError where two lines or columns of the table would bear one name."""
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice:
        raise UserError(f"two {what} are called {twice}; name one of them, or rename a folder")


def main(argv: Sequence[str] | None = None) -> int:
    from metrics.error_rates import NORMALISATION

    args = parser().parse(argv)
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit {args.limit}: at least 1 clip is needed")
    for name in args.recognizers:
        check_recognizer(name)
    sets = [open_set(which, args.limit, args.cache, args.skip_damaged) for which in args.speech]
    rows_of = [way for name in args.recognizers for way in ways(name, args.beam, args.language_model)]
    check_names("recognisers", [recognizer_name(name) for name in args.recognizers])
    check_names("sets", [one.name for one in sets])
    protocol: dict[str, Any] = PROTOCOL | {"texts": PROTOCOL["texts"].format(normalisation=NORMALISATION)}
    protocol["sets"] = {one.name: {"clips": len(one.texts), "voices": len(set(one.speakers))} for one in sets}

    def keep(rows: list[dict[str, Any]], failed: dict[str, str]) -> None:
        if args.write and rows:
            machine = {"cores": cores(), "threads": 1, "torch": torch.__version__}
            result = {"benchmark": "recognizers", "machine": machine, "protocol": protocol, "results": rows}
            write_json(RESULTS / "recognizers.json", result | ({"failed": failed} if failed else {}))
            write_text(RESULTS / "recognizers.md", markdown(rows))

    rows, failed = compare(rows_of, sets, keep)
    if rows:
        print(f"\n{markdown(rows)}")
    print(json.dumps(protocol, indent=2))
    if failed:
        raise UserError(
            f"{len(failed)} of {len(rows_of)} rows failed: {'; '.join(failed)}; the others stand above"
        )
    return 0


if __name__ == "__main__":
    run_cli(main)
