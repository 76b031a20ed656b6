"""Measure models: `evaluate.py --metric is|fid|kid|coverage|r_precision|part_colours|whole_birds|...|wer|confidence`.

    python evaluate.py --metric part_colours
    python evaluate.py --metric part_colours --from transcript --samples 200
    python evaluate.py --metric fid --data datasets/cub --model runs/cub/model --network mobilenet_v2.safetensors

Without other arguments it measures the released models on the test split of the painted birds, which is made on the
way. The table and the protocol go to standard output and, as JSON, to results/; progress goes to standard error.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr.recognizers.registry import default_beam, external, recognizer_name, weights_folder
from core.errors import UserError
from core.files import make_folder, write_json, write_text
from core.model_registry import model_name
from evaluation.options import DATASETS, PAINTED, SPOKEN, Options, parse_options, parser
from evaluation.registry import Metric, find
from evaluation.result import as_json, table

if TYPE_CHECKING:
    from evaluation.evaluator import Evaluator

# torch and the models are imported once the command is known to be right: --help and mistakes answer at once


def main(argv: Sequence[str] | None = None) -> int:
    options = parse_options(argv)
    if options.captions is None:
        check_writable(options.out)
    import torch

    from core.runtime import code_revision, set_up
    from evaluation.evaluator import Evaluator

    evaluator = Evaluator(options, set_up(0, options.device))
    if options.captions is not None:
        return list_captions(evaluator, options.captions)
    values, unwritten = [], []
    for metric in map(find, options.metrics):
        with torch.inference_mode():
            result = metric.measure(evaluator)
        result.protocol.update(seed=options.seed, device=evaluator.device.type, revision=code_revision())
        values.append(as_json(metric, result))
        print(table(metric, result), flush=True)  # before anything that could fail
        path = options.out / f"{file_name(evaluator.options, metric)}.json"
        try:
            write_json(path, values[-1])
            print(f"\nstored in {path}", flush=True)
        except UserError as error:
            unwritten.append(error)
            print(f"warning: {error}", file=sys.stderr)
    if options.json:
        for value in values:
            print(json.dumps(value, ensure_ascii=False))
    if unwritten:
        raise UserError(f"{unwritten[0]}; the figures stand above")
    return 0


def check_writable(folder: Path) -> None:
    """Raises UserError where results could not be stored, before hours are spent on them."""
    make_folder(folder)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"cannot write in {folder}: {error.strerror}; choose another folder with --out"
        ) from error


def list_captions(evaluator: "Evaluator", path: Path) -> int:
    captions = evaluator.pairs().captions
    write_text(path, "".join(f"{' '.join(caption.split())}\n" for caption in captions))
    print(
        f"{path}: {len(captions)} captions, one a line; --pictures takes an image for each, in this order by name"
    )
    return 0


# --- the name of a result ----------------------------------------------------------------------------------------


def file_name(options: Options, metric: Metric) -> str:
    """<metric>-<model>-<set>-<split>, whatever else differs from the default, and where a model or set is one of the
    user's own a checksum of where they lie: two folders of one name have results of their own."""
    default = parser()
    images = bool({"images", "captions", "generator"} & set(metric.needs))
    hears, speaks = "recognizer" in metric.needs, images or "texts" in metric.needs
    heard = hears or (speaks and options.source == "transcript")
    folders = _folders(options, metric, images, heard)
    told = []
    for option in ("encoder", "classifier", "locator", "recognizer", "finder"):
        folder = folders.get(option)
        if (
            folder is not None
            and folder.name != Path(str(default.get_default(option))).name
            and folder != folders[""]
        ):
            told.append(f"{option}-{_name(folder)}")
    data = options.speech if hears else options.data
    parts = [
        metric.name,
        _name(folders[""]),
        Path(data).resolve().name if Path(data).is_dir() else Path(data).name,
        options.split,
        {"caption": ""}.get(options.source, options.source) if speaks else "",
        options.voices if speaks and options.source == "transcript" and options.voices != "training" else "",
        options.network.stem if options.network else "",
        *told,
        f"{options.size}px" if options.size else "",
        options.classes or "",
        options.precision
        if images and options.generates and options.precision not in ("auto", "fp32")
        else "",
        f"beam{options.beam}" if heard and options.beam != default_beam(options.recognizer) else "",
        f"lm-{Path(options.language_model).stem}" if heard and options.language_model != "auto" else "",
        "favour" if heard and (options.favour or options.vocabulary != "any") else "",
        "skip-damaged" if options.skip_damaged else "",
        f"n{options.samples}" if options.samples else "",
        f"seed{options.seed}" if options.seed else "",
        _mark([*folders.values(), options.network], data, options),
    ]
    return "-".join(part for part in parts if part)


def _folders(options: Options, metric: Metric, images: bool, heard: bool) -> dict[str, Path]:
    """The folders of models that a metric uses, by option; that which is measured first, as ""."""
    found = {"": options.recognizer if "recognizer" in metric.needs else options.encoder}
    if images:
        found[""] = options.pictures or options.model
    if "encoder" in metric.needs or (options.nearest and images and options.finder is None):
        found["encoder"] = options.encoder
    if options.nearest and images and options.finder is not None:
        found["finder"] = options.finder
    if "part_classifier" in metric.needs or ("feature_network" in metric.needs and options.network is None):
        found["classifier"] = options.classifier
    if "part_locator" in metric.needs:
        found["locator"] = options.locator
    if heard:
        found["recognizer"] = options.recognizer
    return found


def _name(folder: Path) -> str:
    return recognizer_name(folder) if external(folder) else model_name(folder)


def _mark(used: Sequence[Path | None], data: str, options: Options) -> str:
    """Eight letters of where everything lies; nothing for what is released with the checkout and made in it."""
    checkout = DATASETS.parent
    places = [path.resolve() for path in map(weights_folder, filter(None, used)) if path.exists()]
    own = [str(path) for path in places if checkout / "weights" not in path.parents]
    if data not in (PAINTED, SPOKEN):
        own.append(str((Path(data) if Path(data).is_dir() else options.root / data).resolve()))
    elif options.root.resolve() != DATASETS:
        own.append(str(options.root.resolve()))
    return hashlib.sha256("\n".join(own).encode(errors="surrogateescape")).hexdigest()[:8] if own else ""
