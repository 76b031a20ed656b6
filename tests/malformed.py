"""Malformed uploads, texts and requests to the page that runs: `python tests/malformed.py --count 500`.

Each is answered, or refused in one line; afterwards the page works as before and has counted no fault of its own.
`tests/test_page_served.py` sends some of them.
"""

import argparse
import io
import json
import random
import re
import struct
import sys
import tempfile
import time
import urllib.error
import urllib.request
import wave
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MODEL, SET = "painted-attngan", "painted_birds"
SCRIPT = "<script>document.title = 'changed'</script>"


class File(NamedTuple):
    """An upload."""

    name: str
    content: bytes


class Case(NamedTuple):
    """A call of a named function of the page, or (function "") a POST of bytes to a path of it."""

    what: str
    function: str
    given: tuple[Any, ...]


# ---- files ----


def wav(seconds: float, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(bytes(int(seconds * rate) * channels * width))
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises width x height pixels and holds a few."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(9999)))
        + chunk(b"IEND", b"")
    )


def lying_wav(rng: random.Random) -> bytes:
    """A WAV whose header promises other lengths, rates or channels than there are."""
    content = bytearray(wav(0.2))
    at, size = rng.choice([(4, 4), (16, 4), (20, 2), (22, 2), (24, 4), (28, 4), (32, 2), (34, 2), (40, 4)])
    content[at : at + size] = rng.choice([b"\xff" * size, bytes(size), rng.randbytes(size)])
    return bytes(content)


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Cut somewhere, or with some bytes changed."""
    if rng.random() < 0.5:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 40)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def file_content(rng: random.Random) -> tuple[str, bytes]:
    sound = (ROOT / "samples" / "red_crown.ogg").read_bytes()
    picture = (ROOT / "docs" / "attention.jpg").read_bytes()[:60_000]
    makers: dict[str, Callable[[], bytes]] = {
        "random bytes": lambda: rng.randbytes(rng.randrange(1, 5000)),
        "nothing": lambda: b"",
        "a text": lambda: b"this is a text, and no sound",
        "markup": lambda: SCRIPT.encode(),
        "a damaged ogg": lambda: damaged(rng, sound),
        "a damaged wav": lambda: damaged(rng, wav(0.5)),
        "a lying wav": lambda: lying_wav(rng),
        "a wav without samples": lambda: wav(0),
        "a wav at 1 Hz": lambda: wav(5, rate=1),
        "a wav of 60 channels": lambda: wav(0.01, channels=60),
        "ten minutes": lambda: wav(600, rate=4000, width=1),
        "a damaged picture": lambda: damaged(rng, picture),
        "a picture of 60,000 by 60,000": lambda: png_header(60_000, 60_000),
        "a picture of no pixels": lambda: png_header(0, 0),
        "a zip": lambda: b"PK\x03\x04" + rng.randbytes(300),
    }
    what = rng.choice(sorted(makers))
    return what, makers[what]()


NAMES = [
    "speech.wav",
    "bird.png",
    "a.ogg",
    "x",
    "ü ñ 鳥.wav",
    "..wav",
    "a" * 120 + ".mp3",
    "'; drop.flac",
    "<b>.jpg",
]

# ---- texts and settings ----


def text(rng: random.Random) -> str:
    makers: list[Callable[[], str]] = [
        lambda: "",
        lambda: " \n\t ",
        lambda: "🐦🔥👩‍👩‍👧‍👦" * rng.randrange(1, 300),
        lambda: "word " * 10_000,
        lambda: f"a red bird {SCRIPT}",
        lambda: "<img src=x onerror=\"document.title='changed'\">",
        lambda: "{{7*7}} ${7*7} `id` $(id) %s %n",
        lambda: "a red\x00bird\x1b[31m with\u202e black \ufeffwings",
        lambda: "".join(chr(rng.randrange(1, 0xD7FF)) for _ in range(rng.randrange(1, 200))),
        lambda: "'; DROP TABLE birds; --",
        lambda: "../../etc/passwd",
        lambda: "ein roter Vogel mit schwarzen Flügeln",
        lambda: "red " * 200,
    ]
    return rng.choice(makers)()


def odd(rng: random.Random) -> Any:
    """What is not of the type that is expected."""
    return rng.choice([None, "", "x", -1, 2**70, 0.5, True, [], {}, [[0]], ["0"], [None], {"path": "/etc/passwd"},
                       [0] * 1000, [-1], [2**40], [0.5], "NaN"])  # fmt: skip


PATHS = ["call/paint", "call/hear", "call/nothing", "queue/join", "component_server", "upload"]
BODIES = [b"", b"{", b"[]", b"\xff\xfe\x00", b'{"data": 5}', b'{"data": [1, 2, 3, 4, 5, 6, 7, 8, 9]}',
          b'{"data": [null], "fn_name": "listen", "component_id": 1, "session_hash": "x"}']  # fmt: skip


def cases(seed: int) -> Iterator[Case]:
    """Malformed requests without end, a function of the seed."""
    rng = random.Random(seed)
    while True:
        kind = rng.choices(["file", "text", "odd", "bytes"], [5, 4, 2, 1])[0]
        if kind == "file":
            what, content = file_content(rng)
            upload = File(rng.choice(NAMES), content)
            hear = rng.random() < 0.6
            given: Sequence[Any] = (upload,) if hear else ("", upload, SET, "captions", 2)
            yield Case(what, "hear" if hear else "find", given)
        elif kind == "text":
            words = text(rng)
            given = (words, MODEL, [0]) if rng.random() < 0.6 else (words, None, SET, "pictures", 2)
            yield Case(f"text {words[:20]!r}", "paint" if len(given) == 3 else "find", given)
        elif kind == "odd":
            rest: list[Any] = [MODEL, [0]] if rng.random() < 0.6 else [None, SET, "pictures", 2]
            given = ["a red bird", *rest]
            function = "paint" if len(given) == 3 else "find"
            at = rng.randrange(len(given))
            wrong = given[at] = odd(rng)
            yield Case(f"argument {at} = {str(wrong)[:20]!r}", function, tuple(given))
        else:
            path = rng.choice(PATHS)
            yield Case(f"bytes to {path}", "", (path, rng.choice(BODIES)))


# ---- sending them ----


def send(client: Any, address: str, case: Case, folder: Path) -> str:
    """What the page says: "" where it answers, else its line. Raises AssertionError where it says more than a line."""
    if not case.function:
        path, body = case.given
        request = urllib.request.Request(
            f"{address}gradio_api/{path}", body, {"Content-Type": "application/json"}
        )
        try:
            said = urllib.request.urlopen(request, timeout=60).read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
        assert "Traceback" not in said, said
        return said[:80]
    from gradio_client import handle_file

    def ready(value: Any) -> Any:
        if not isinstance(value, File):
            return value
        path = folder / value.name
        path.write_bytes(value.content)
        return handle_file(str(path))

    try:
        answer = client.predict(*map(ready, case.given), api_name=f"/{case.function}")
    except Exception as error:  # gradio_client's own, of several kinds
        line = str(error)
        assert "Traceback" not in line and len(line) < 600, line
        return line or "refused"
    assert "Traceback" not in json.dumps(answer)
    return ""


def failures(address: str) -> float:
    """How many calls ended with a fault of the page, of its own count."""
    lines = urllib.request.urlopen(f"{address}metrics").read().decode()
    return sum(map(float, re.findall(r"^saybird_failures_total\{.*\} (.*)$", lines, re.M)))


def send_all(client: Any, address: str, count: int, seed: int = 0) -> Counter[str]:
    """Send `count` of them -> how many were answered and refused. Raises AssertionError where the page has a fault."""
    before, outcomes, slowest = failures(address), Counter[str](), (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        for _, case in zip(range(count), cases(seed), strict=False):
            began = time.monotonic()
            said = send(client, address, case, Path(folder))
            outcomes["refused" if said else "answered"] += 1
            slowest = max(slowest, (time.monotonic() - began, case.what))
            assert failures(address) == before, f"{case.what}: {said}"
    print(f"slowest: {slowest[1]}, {slowest[0]:.1f} s")
    return outcomes


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--address", default="http://127.0.0.1:7860/")
    options.add_argument("--count", type=int, default=500)
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    from gradio_client import Client

    client, began = Client(args.address, verbose=False), time.monotonic()
    outcomes = send_all(client, args.address.rstrip("/") + "/", args.count, args.seed)
    birds = client.predict("a red bird with black wings", MODEL, [0], api_name="/paint")
    print(
        f"{dict(outcomes)} in {time.monotonic() - began:.0f} s; then {len(birds['pictures'])} bird as before"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
