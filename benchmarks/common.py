"""What the benchmarks share: forms timed in turn, processes for those that need one of their own, a table, a JSON file.

A form is a function without arguments. The first of several is the textbook's; a ratio says how many times as fast as
that another is, and is the median of the rounds' own ratios, since the speed of a machine drifts.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.files import write_json
from t2i.layers import UnfoldedConv, UpConv

RESULTS = Path(__file__).parent / "results"

Form = Callable[[], Any]
Timer = Callable[[], float]  # milliseconds of one call of a form
Times = dict[str, list[float]]  # form -> milliseconds of every round


def parser(doc: str | None, rounds: int) -> argparse.ArgumentParser:
    """--rounds and --tiny, to which a script may add."""
    options = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    options.add_argument("--rounds", type=int, default=rounds, help=f"of timing; {rounds} unless told")
    options.add_argument("--tiny", action="store_true", help="sizes that show that it works; writes nothing")
    return options


def speech_parser(doc: str | None, result: str) -> argparse.ArgumentParser:
    """The options of a benchmark of our recogniser on one set, which keeps its table in `result`.json."""
    from asr.recognizer import BEAM
    from core.model_registry import RECOGNIZER

    options = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    add = options.add_argument
    add(
        "--speech",
        required=True,
        metavar="FOLDER:SPLIT",
        help="a set of speech in a layout that data.speech reads",
    )
    add("--recognizer", type=Path, default=RECOGNIZER)
    add("--clips", type=int, default=100, help="of the split, in a fixed random order")
    add("--beam", type=int, default=BEAM)
    add("--cache", type=Path, default=Path("datasets/cache"))
    add("--write", action="store_true", help=f"keep the table in benchmarks/results/{result}.json")
    return options


def shuffled_clips(which: str, cache: Path) -> tuple[list[np.ndarray], list[str]]:
    """FOLDER:SPLIT -> its clips (S,) at 16 kHz and their texts, in a fixed random order."""
    from data.speech import load_speech

    folder, _, split = which.rpartition(":")
    speech = load_speech(folder, split, cache)
    order = np.random.default_rng(0).permutation(len(speech))
    return [speech.samples(i) for i in order], [speech.texts[i] for i in order]


# ---- timing ----


def timer(form: Form) -> Timer:
    def milliseconds() -> float:
        start = time.perf_counter()
        form()
        return 1e3 * (time.perf_counter() - start)

    return milliseconds


def in_turn(timers: dict[str, Timer], rounds: int) -> Times:
    """Every form once a round, so that all of them meet the same machine."""
    times: Times = {name: [] for name in timers}
    for _ in range(rounds):
        for name, one in timers.items():
            times[name].append(one())
    return times


def ratios(times: Times) -> dict[str, float]:
    """How many times as fast as the first form each of them is."""
    first = next(iter(times.values()))
    return {
        name: statistics.median(a / b for a, b in zip(first, own, strict=True)) for name, own in times.items()
    }


# ---- processes ----


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work(link: Connection, prepare: Callable[..., Form], name: str, settings: Sequence[Any]) -> None:
    """The life of a worker: prepare its form, send what its first call returns, then time a call whenever asked."""
    torch.set_num_threads(cores())
    form = prepare(name, *settings)
    link.send(form())
    form()  # the second call of a compiled form, or the first with all memory at hand, may still be slow
    while link.recv():
        link.send(timer(form)())


@contextmanager
def workers(
    prepare: Callable[..., Form], names: Sequence[str], *settings: Any
) -> Iterator[tuple[dict[str, Any], dict[str, Timer]]]:
    """A process for each form, at work one at a time: what each form's first call returned, and its timer.

    prepare(name, *settings), a function of a module, makes the form in the new process. A setting of the allocator
    holds for a whole process and cannot be undone, so forms that differ in it cannot share one.
    """
    context = multiprocessing.get_context("spawn")
    first, timers, links, processes = {}, {}, [], []

    def asked(link: Connection) -> float:
        link.send(True)
        return link.recv()

    try:
        for name in names:
            link, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, prepare, name, settings))
            process.start()
            theirs.close()  # else a worker that died would be waited for
            links.append(link)
            processes.append(process)
            first[name] = link.recv()
            timers[name] = lambda link=link: asked(link)
        yield first, timers
    finally:
        for link in links:
            with suppress(OSError):  # of a worker that died
                link.send(False)
        for process in processes:
            process.join(timeout=10)
            process.terminate()
            process.join()


# ---- results ----


def report(
    name: str, protocol: dict[str, Any], cases: dict[str, Times], write: bool, pictures: int = 0
) -> list[dict[str, Any]]:
    """Print the table of every case's forms and, with `write`, keep it in benchmarks/results/<name>.json.

    pictures: that one call makes or reads; with it the table says pictures a second.
    """
    rows: list[dict[str, Any]] = []
    for case, times in cases.items():
        for form, ratio in ratios(times).items():
            median = statistics.median(times[form])
            row = {"case": case, "form": form, "milliseconds": round(median, 3), "ratio": round(ratio, 2)}
            rows.append(row | ({"pictures_a_second": round(1e3 * pictures / median, 1)} if pictures else {}))
    widths = [max(len(row[key]) for row in rows) for key in ("case", "form")]
    for row in rows:
        speed = f"{row['pictures_a_second']:10.1f} pictures/s" if pictures else ""
        print(
            f"{row['case']:{widths[0]}}  {row['form']:{widths[1]}}  {row['milliseconds']:10.2f} ms{speed}"
            f"  {row['ratio']:6.2f} times"
        )
    if write:
        machine = {"cores": cores(), "threads": cores(), "torch": torch.__version__}
        result = {"benchmark": name, "machine": machine, "protocol": protocol, "results": rows}
        write_json(RESULTS / f"{name}.json", result)
    return rows


# ---- the textbook's convolutions ----


def plain(model: nn.Module) -> nn.Module:
    """`model` with the textbook's convolutions, in place.

    An UpConv becomes nearest upsampling and a 3 x 3 convolution of the enlarged picture, a UnfoldedConv a convolution.
    """
    for name, layer in list(model.named_modules()):
        if isinstance(layer, UpConv):
            convolution = nn.Conv2d(layer.in_channels, layer.out_channels, 3, 1, 1)
            convolution.weight, convolution.bias = layer.weight, layer.bias
            model.set_submodule(name, nn.Sequential(nn.Upsample(scale_factor=2), convolution))
        elif isinstance(layer, UnfoldedConv):
            layer.forward = partial(nn.Conv2d.forward, layer)
    return model
