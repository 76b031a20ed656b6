"""Write a recogniser and a painter as ONNX files, which run without torch, and a page that runs them in the browser.

    python export.py --out runs/onnx
    python export.py --out runs/onnx --painter real
    python export.py --out runs/static --page

A folder gets recognizer.onnx, painter.onnx, what must be known to run them in a JSON file beside each, and the noise of
the first seeds. With --page it gets index.html too: a double click opens it, and any web server that serves plain files
can offer it. docs/export.md has the dozen lines that hear and paint with numpy and onnxruntime alone.
"""

import argparse
import base64
import gzip
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.console import say
from asr.language_model import FILE as LANGUAGE_MODEL
from asr.lexicon import FILE as LEXICON
from core.errors import Parser, UserError
from core.files import make_folder, sha256, write_json, write_text
from core.model_registry import PAINTER, RECOGNIZER, find_folder

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).parent / "static_page"
SAMPLE = "samples/red_crown.ogg"
NOISE = "noise.bin"  # of the first seeds, float32, so that what is painted is the birds of generate.py
SENTENCE = "a red bird with black wings"  # of the check
MOST_DIFFERENCE = 1e-3  # of images in [-1, 1] and of probabilities

WORDS = (LEXICON, LANGUAGE_MODEL)  # of a recogniser that finds words in a lexicon
# a worker may not load scripts from a folder, so that it is one text
WORKER = ("language_model.js", "lexicon_search.js", "word_posteriors.js", "hearing.js", "worker.js")

PACKAGE = "onnxruntime-web@1.30.0"
RUNTIME = {  # of its folder dist: the file and its checksum
    "runtime.mjs": (
        "ort.wasm.bundle.min.mjs",
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    ),
    "runtime.wasm": (
        "ort-wasm-simd-threaded.wasm",
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
}


def parser() -> Parser:
    p = Parser(prog="export.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="made where it is missing")
    p.add_argument("--painter", type=Path, default=PAINTER, metavar="NAME",
                   help=f"a model folder, painted or real (default {PAINTER})")  # fmt: skip
    p.add_argument(
        "--recognizer", type=Path, default=RECOGNIZER, metavar="FOLDER", help=f"(default {RECOGNIZER})"
    )
    p.add_argument("--page", action="store_true",
                   help=f"and the page, with {PACKAGE}, which npm fetches")  # fmt: skip
    p.add_argument("--runtime", type=Path, metavar="FOLDER",
                   help="for --page: a folder that holds that package already, unpacked")  # fmt: skip
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse(argv)
    if args.runtime and not args.page:
        raise UserError("--runtime is of the page; add --page")
    out = make_folder(args.out)
    runtime = read_runtime(args.runtime) if args.page else {}  # before what takes a minute
    models = export(find_folder(args.recognizer), find_folder(args.painter), out)
    if args.page:
        write_page(out, models, runtime)
        say("page", f"{out / 'index.html'}   (open it in a browser)")
    return 0


def export(recognizer: Path, painter: Path, out: Path) -> dict[str, dict[str, Any]]:
    """Write both, and compare them with what torch computes -> of each what must be known to run it."""
    from asr.onnx import export_recognizer
    from asr.recognizer import Recognizer
    from t2i.onnx import export_painter
    from t2i.painter import Painter

    hearing, painting = Recognizer.load(recognizer), Painter.load(painter)
    models = {}
    steps: tuple[tuple[str, Any, Any, Any], ...] = (
        ("recognizer", hearing, export_recognizer, differs_hearing),
        ("painter", painting, export_painter, differs_painting),
    )
    for name, model, write, compare in steps:
        path = out / f"{name}.onnx"
        models[name] = write(model, path)
        write_json(path.with_suffix(".json"), models[name])
        difference = compare(model, path, models[name])
        if difference is not None and difference > MOST_DIFFERENCE:
            raise UserError(
                f"{path} differs from torch by {difference:.2g}, at most {MOST_DIFFERENCE} was expected"
            )
        checked = (
            "not compared: pip install onnxruntime"
            if difference is None
            else f"within {difference:.1g} of torch"
        )
        say(name, f"{path}, {path.stat().st_size / 1e6:.1f} MB, {checked}")
    return models


# ---- as torch has it? ----


def run(path: Path, inputs: dict[str, np.ndarray]) -> list[np.ndarray] | None:
    """The outputs of an ONNX file; None without onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    return onnxruntime.InferenceSession(str(path)).run(None, inputs)


def differs_hearing(recognizer: Any, path: Path, facts: dict[str, Any]) -> float | None:
    """The largest difference of a probability, on a sample."""
    import torch

    from asr.audio import load_audio

    samples = torch.from_numpy(load_audio(ROOT / SAMPLE))[None]
    found = run(path, {"samples": samples.numpy()})
    with torch.inference_mode():
        features, is_pad = recognizer.front_end(samples, torch.tensor([samples.shape[1]]))
        memory, _ = recognizer.model.encoder(features, is_pad)
        expected = [head(memory).softmax(dim=2).numpy() for head in recognizer.model.frame_heads]
    if found is None:
        return None
    return max(
        float(np.abs(np.exp(ours) - theirs).max()) for ours, theirs in zip(found, expected, strict=True)
    )


def differs_painting(painter: Any, path: Path, facts: dict[str, Any]) -> float | None:
    """The largest difference of an image's value, of two birds."""
    words = np.array([[facts["words"].index(word) for word in painter.known(SENTENCE)]])
    noise = np.frombuffer(path.with_name(NOISE).read_bytes(), "<f4").reshape(facts["seeds"], -1)
    found = run(path, {"words": words, "noise": noise[:2]})
    expected = painter.paint([SENTENCE] * 2, [0, 1])
    if found is None:
        return None
    both = zip(found, (*expected.images, *expected.attention), strict=True)
    return max(float(np.abs(ours - theirs.numpy()).max()) for ours, theirs in both)


# ---- the page ----


def read_runtime(folder: Path | None) -> dict[str, bytes]:
    """onnxruntime-web's files by our names, out of `folder` or fetched by npm. Raises UserError where one is not there
    or is another version's."""
    with tempfile.TemporaryDirectory() as beside:
        dist = Path(folder or fetch_runtime(Path(beside)))
        dist = next((path for path in (dist / "dist", dist / "package" / "dist") if path.is_dir()), dist)
        files = {}
        for name, (source, checksum) in RUNTIME.items():
            path = dist / source
            if not path.is_file():
                raise UserError(
                    f"{dist} has no {source}; give --runtime a folder that holds {PACKAGE}, unpacked"
                )
            if sha256(path) != checksum:
                raise UserError(f"{path} is not that of {PACKAGE}; fetch that version: npm pack {PACKAGE}")
            files[name] = path.read_bytes()
        return files


def fetch_runtime(folder: Path) -> Path:
    """The package, fetched by npm, which checks what comes, and unpacked. Raises UserError."""
    if not (npm := shutil.which("npm")):
        raise UserError(
            f"npm is missing, which fetches {PACKAGE}; install Node.js, or give an unpacked one: --runtime"
        )
    done = subprocess.run([npm, "pack", PACKAGE, "--silent"], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise UserError(
            f"npm could not fetch {PACKAGE}: {why[:200]}; try again, or give an unpacked one: --runtime"
        )
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def write_page(out: Path, models: dict[str, dict[str, Any]], runtime: dict[str, bytes]) -> None:
    """index.html and what it needs. Scripts hold the data, since a page that is opened from a folder may load scripts
    and nothing else."""
    data = make_folder(out / "data")
    for name in ("index.html", "style.css", "page.js"):
        write_text(out / name, (PAGE / name).read_text(encoding="utf-8"))
    worker = b"".join((PAGE / name).read_bytes() for name in WORKER)
    heard = ("recognizer.onnx", *(WORDS if "search" in models["recognizer"] else ()))
    scripts = {
        "runtime": ({"runtime.mjs": runtime["runtime.mjs"], "worker.js": worker}, {}),
        "runtime_wasm": ({"runtime.wasm": runtime["runtime.wasm"]}, {}),
        "recognizer": (
            {name: (out / name).read_bytes() for name in heard},
            {"recognizer": models["recognizer"]},
        ),
        "painter": (
            {"painter.onnx": (out / "painter.onnx").read_bytes(), NOISE: (out / NOISE).read_bytes()},
            {"painter": models["painter"]},
        ),
        "sample": ({"sample.ogg": (ROOT / SAMPLE).read_bytes()}, {}),
    }
    for name, (files, facts) in scripts.items():
        write_text(data / f"{name}.js", as_script(files, facts))


def as_script(files: dict[str, bytes], facts: dict[str, Any]) -> str:
    """A script that puts files, as base64 of gzip, and facts into window.saybird."""
    lines = ['"use strict";', "window.saybird ??= {files: {}};"]
    for name, content in files.items():
        packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
        lines.append(f"saybird.files[{json.dumps(name)}] = {json.dumps(packed)};")
    lines += [f"saybird.{name} = {json.dumps(value)};" for name, value in facts.items()]
    return "\n".join(lines) + "\n"
