"""How fast the page answers one visitor, and twenty at once for five minutes: `python -m benchmarks.page`.

The page is started as anyone would start it, and the seconds until it answers are counted. One visitor in headless
Chromium (where that and Playwright are installed) speaks a sample into a microphone and presses the button as it ends:
the seconds from there to the transcript, the first bird and four birds. Then people ask the API by turns for birds, for
pictures of a set and for the words of a recording, each thinking a while before the next request: the seconds to an
answer, what was refused, how often somebody was overtaken by who asked a second later, and the memory of the page in
each minute, from its own /metrics.
"""

import argparse
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common import RESULTS, cores
from core.errors import UserError
from core.files import write_json

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "samples" / "red_crown.ogg"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SHARES = {"paint": 0.6, "find": 0.25, "hear": 0.15}  # of the people's requests
BIRDS = 4
QUIET_BEFORE, QUIET_AFTER = 0.5, 1.0  # seconds around the spoken sentence, before the button is pressed


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--people", type=int, default=20)
    options.add_argument("--minutes", type=float, default=5.0)
    options.add_argument(
        "--think", type=float, default=10.0, help="mean seconds between an answer and a request"
    )
    options.add_argument("--model", default="painted-attngan")
    options.add_argument("--data", default="painted_birds", help="the set that is searched")
    options.add_argument("--write", action="store_true", help="keep it in benchmarks/results/page.json")
    return options


# ---- the page ----


@contextmanager
def page() -> Iterator[tuple[str, float]]:
    """The page in a process of its own: its address, and the seconds until it answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address, began = f"http://127.0.0.1:{port}/", time.monotonic()
    process = subprocess.Popen(
        [sys.executable, ROOT / "app.py", "--port", str(port)], stdout=subprocess.DEVNULL
    )
    try:
        while not answers(address):
            if process.poll() is not None or time.monotonic() - began > 120:
                raise UserError("the page did not start; try it by itself: python app.py")
            time.sleep(0.05)
        yield address, time.monotonic() - began
    finally:
        process.terminate()
        process.wait()


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(f"{address}config", timeout=5).status == 200
    except OSError:
        return False


def memory_of(address: str) -> float:
    """Resident memory of the page, MB."""
    lines = urllib.request.urlopen(f"{address}metrics").read().decode()
    return float(re.findall(r"^process_resident_memory_bytes (\d+)", lines, re.M)[0]) / 1e6


# ---- one visitor ----


@contextmanager
def browser() -> Iterator[Any]:
    """Headless Chromium whose microphone says a sample, then is silent. Raises ImportError without Playwright."""
    import soundfile
    from playwright.sync_api import sync_playwright
    from scipy.signal import resample_poly

    spoken, rate = soundfile.read(SAMPLE)
    sound = np.concatenate([np.zeros(int(QUIET_BEFORE * rate)), spoken, np.zeros(20 * rate)])
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        microphone = Path(folder) / "microphone.wav"
        soundfile.write(microphone, resample_poly(sound, 48_000, rate), 48_000, subtype="PCM_16")
        started = playwright.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, CHROMIUM)), None),
            args=["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
                  f"--use-file-for-fake-audio-capture={microphone}%noloop"],
        )  # fmt: skip
        yield started
        started.close()


def one_visitor(address: str) -> dict[str, Any]:
    """What somebody sees who speaks: seconds after the button is pressed at the end of the sentence. Raises ImportError
    without Playwright."""
    import soundfile

    length = soundfile.info(SAMPLE).duration
    with browser() as chromium:
        tab = chromium.new_context(permissions=["microphone"]).new_page()
        tab.set_default_timeout(60_000)
        tab.goto(address)
        tab.locator(".sb-record").first.wait_for()
        tab.wait_for_timeout(1000)
        tab.keyboard.press("Space")
        began, heard = time.monotonic(), []  # (seconds, text)
        while (now := time.monotonic() - began) < QUIET_BEFORE + length + QUIET_AFTER:
            text = " ".join(tab.locator("#sb-mic .sb-live").inner_text().split())
            if not heard or heard[-1][1] != text:
                heard.append((now, text))
            tab.wait_for_timeout(50)
        pressed = time.monotonic()
        tab.keyboard.press("Space")
        tab.locator("#sb-transcript .sb-word").first.wait_for()
        transcript = time.monotonic() - pressed
        tab.locator(".sb-bird img").first.wait_for()
        first = time.monotonic() - pressed
        tab.locator(".sb-bird:not(.sb-waiting)").nth(BIRDS - 1).wait_for()
        birds = time.monotonic() - pressed
        final = tab.locator("#sb-sentence textarea").input_value()
    return {
        "sentence_seconds": round(length, 2),
        "transcript": round(transcript, 2),
        "first_bird": round(first, 2),
        f"{BIRDS}_birds": round(birds, 2),
        "last_partial_is_final": heard[-1][1] == final,
        "last_partial_after_speech": round(heard[-1][0] - QUIET_BEFORE - length, 2),
    }


# ---- many people ----


def make_index(address: str, data: str) -> float:
    """The seconds of the first search of a set, which makes its index where there is none."""
    from gradio_client import Client

    client, began = Client(address, verbose=False), time.monotonic()
    client.predict("a red bird", None, data, "pictures", 1, api_name="/find")
    return time.monotonic() - began


class Request(NamedTuple):
    """function: its name; sent, answered: seconds since the crowd came; refusal: "" where it was answered."""

    function: str
    sent: float
    answered: float
    refusal: str


def person(address: str, seed: int, began: float, until: float, think: float, model: str, data: str,
           requests: list[Request]) -> None:  # fmt: skip
    """Think, ask, wait for the answer, again and again; appends to `requests`."""
    from gradio_client import Client, handle_file

    rng = random.Random(seed)
    sentences = (ROOT / "samples" / "sentences.txt").read_text(encoding="utf-8").splitlines()
    client = Client(address, verbose=False)
    while True:
        time.sleep(min(rng.expovariate(1 / think), 3 * think))
        if time.monotonic() > until:
            return
        function = rng.choices(list(SHARES), list(SHARES.values()))[0]
        sentence, start = rng.choice(sentences), rng.randrange(10**6)
        given = {
            "paint": (sentence, model, list(range(start, start + BIRDS))),
            "find": (sentence, None, data, "pictures", 8),
            "hear": (handle_file(str(SAMPLE)),),
        }[function]
        sent, refusal = time.monotonic() - began, ""
        try:
            client.predict(*given, api_name=f"/{function}")
        except Exception as error:  # gradio_client's own, of several kinds
            refusal = str(error) or type(error).__name__
        requests.append(Request(function, sent, time.monotonic() - began, refusal))


def crowd(address: str, args: argparse.Namespace) -> tuple[list[Request], list[int]]:
    """--people for --minutes: their requests, and the memory of the page in MB at the end of each minute."""
    requests: list[Request] = []
    began = time.monotonic()
    until = began + 60 * args.minutes
    people = [
        threading.Thread(
            target=person, args=(address, seed, began, until, args.think, args.model, args.data, requests)
        )
        for seed in range(args.people)
    ]
    for one in people:
        one.start()
    memory = []
    for minute in range(1, int(args.minutes) + 1):
        time.sleep(max(0.0, began + 60 * minute - time.monotonic()))
        memory.append(round(memory_of(address)))
    for one in people:
        one.join()
    return requests, memory


def overtaken(requests: list[Request]) -> int:
    """How many were answered after one that was sent more than a second later."""
    return sum(
        any(b.sent > a.sent + 1 and b.answered < a.answered for b in requests if not b.refusal)
        for a in requests
        if not a.refusal
    )


def summary(requests: list[Request]) -> list[dict[str, Any]]:
    """Of each function and of all: requests, refusals, median and 95th percentile of the seconds to an answer."""
    rows = []
    for name in [*SHARES, "all"]:
        mine = [one for one in requests if name in ("all", one.function)]
        seconds = [one.answered - one.sent for one in mine if not one.refusal]
        row: dict[str, Any] = {"function": name, "requests": len(mine), "refused": len(mine) - len(seconds)}
        if seconds:
            row |= {"median": round(median(seconds), 2), "p95": round(float(np.percentile(seconds, 95)), 2)}
        rows.append(row)
    return rows


def main() -> None:
    args = parser().parse_args()
    with page() as (address, cold):
        print(f"answers {cold:.1f} s after its start")
        time.sleep(15)  # it hears and paints once as it starts
        try:
            alone = one_visitor(address)
        except ImportError:
            alone = {}
            print("no Playwright: nobody speaks in a browser (pip install playwright)")
        print("one visitor:", ", ".join(f"{key} {value}" for key, value in alone.items()))
        index = make_index(address, args.data)
        print(f"the first search, with its index: {index:.1f} s")
        requests, memory = crowd(address, args)
    rows = summary(requests)
    print(f"{args.people} people, {args.minutes:g} minutes, thinking {args.think:g} s:")
    for row in rows:
        print("  " + "  ".join(f"{key} {value}" for key, value in row.items()))
    refusals = sorted({one.refusal[:160] for one in requests if one.refusal})
    print(f"  overtaken {overtaken(requests)}; memory in MB by the minute: {memory}")
    print(*(f"  refused: {line}" for line in refusals), sep="\n")
    if args.write:
        protocol = {key: vars(args)[key] for key in ("people", "minutes", "think", "model", "data")}
        result = {"benchmark": "page", "machine": {"cores": cores()}, "protocol": protocol,
                  "cold_start": round(cold, 2), "index": round(index, 2), "one_visitor": alone, "results": rows,
                  "overtaken": overtaken(requests), "refusals": refusals, "memory_mb": memory}  # fmt: skip
        write_json(RESULTS / "page.json", result)


if __name__ == "__main__":
    main()
