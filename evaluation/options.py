"""The options of `evaluate.py`: read once, checked at once, and frozen. Imports nothing heavy."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import Parser, UserError, suggest
from core.model_registry import DAMSM, PAINTER, PARTS, RECOGNIZER, find_folder
from evaluation.registry import Metric, find, metrics

PAINTED, SPOKEN = "painted_birds", "spoken_captions"
NEAREST = "photographs"  # a --model that generates nothing: the nearest photograph of the training split
DATASETS = Path(__file__).resolve().parents[1] / "datasets"  # of the checkout, wherever the command is called
NEAREST_SIZE = 64  # px
MOST = {"samples": 1_000_000, "batch": 4096, "size": 2048, "beam": 100, "seed": 2**32 - 1}
LEAST = {"samples": 2, "batch": 1, "size": 8, "beam": 0, "seed": 0}


@dataclass(frozen=True)
class Options:
    """What was asked for, with every default resolved."""

    metrics: tuple[str, ...]
    model: Path  # a painter's folder, or NEAREST
    pictures: Path | None  # a folder of images made elsewhere, in place of a model
    finder: Path | None  # DAMSM of NEAREST, the encoder where None
    size: int | None  # side of the images of NEAREST or of `pictures`, px
    encoder: Path
    classifier: Path
    recognizer: Path
    network: Path | None
    classes: str | None  # of the Inception Score in a `network`: species or imagenet
    data: str
    speech: str
    root: Path
    cache: Path | None
    skip_damaged: bool
    split: str
    samples: int | None
    seed: int
    source: str  # of what is painted: caption or transcript
    voices: str  # of these transcripts: training or unheard
    batch: int
    beam: int
    device: str
    precision: str
    out: Path
    json: bool
    captions: Path | None  # where to list the captions that would be measured, instead of measuring

    @property
    def nearest(self) -> bool:
        return self.pictures is None and self.model == Path(NEAREST)


def parser() -> Parser:
    p = Parser(
        prog="evaluate.py",
        description="Measure models; without options the released ones, on painted birds.",
        allow_abbrev=False,
    )
    add = p.add_argument
    add("--metric", required=True, metavar="|".join(metrics()),
        help="one, or several with commas between, which share what they read")  # fmt: skip
    add("--model", metavar="MODEL", type=Path, default=PAINTER,
        help=f'painted, real, a folder, or "{NEAREST}": of training, the nearest that DAMSM finds')  # fmt: skip
    add("--pictures", metavar="FOLDER", type=Path,
        help="images made elsewhere (PNG, JPEG), in place of a model; in the order of --captions where a metric "
        "compares them with captions")  # fmt: skip
    add("--captions", metavar="FILE", type=Path,
        help="write the captions that would be measured to FILE, one a line, and stop")  # fmt: skip
    add("--finder", metavar="FOLDER", type=Path, help="DAMSM that finds photographs (default --encoder)")
    add("--size", type=int, help=f"side of these photographs or --pictures, px (default {NEAREST_SIZE}; of "
        "--pictures, that of the first)")  # fmt: skip
    add("--encoder", metavar="FOLDER", type=Path, default=DAMSM,
        help="DAMSM that ranks captions for r_precision and retrieval")  # fmt: skip
    add("--classifier", metavar="FOLDER", type=Path, default=PARTS,
        help="part-colour classifier: part_colours, and is, fid, kid of painted birds")  # fmt: skip
    add("--recognizer", metavar="FOLDER", type=Path, default=RECOGNIZER)
    add("--network", metavar="FILE", type=Path,
        help="weights of mobilenet_v2, squeezenet1_1 or inception_v3, whose features "
        f"{', '.join(_serving('feature_network'))} are measured in")  # fmt: skip
    add("--classes", choices=("species", "imagenet"),
        help="of is in a --network: the split's species (default), or ImageNet's")  # fmt: skip
    add("--data", default=PAINTED, metavar="NAME|FOLDER", help="birds in the layout of CUB")
    add("--speech", default=SPOKEN, metavar="NAME|FOLDER", help="LJSpeech or LibriSpeech layout")
    add("--root", type=Path, default=DATASETS,
        help="where named sets lie and painted birds are made (default: datasets/ beside evaluate.py)")  # fmt: skip
    add("--cache", type=Path, help="where decoded pictures and sound are packed (default: in the set)")
    add("--skip-damaged", action="store_true", help="leave damaged pictures or clips out")
    add("--split", help="default test; for speech test, and test_voices beside it where there is one")
    add("--samples", type=int, help="captions to generate for or clips to hear (default: every one once)")
    add("--seed", type=int, default=0, help="of the captions chosen, the noise and the candidates")
    add("--from", dest="source", choices=("caption", "transcript"), default="caption",
        help="generate from the caption as written, or from what the recogniser hears when it is spoken")  # fmt: skip
    add("--voices", choices=("training", "unheard"),
        help="of --from transcript: those of the recogniser's training (default), or eight others")  # fmt: skip
    add("--batch", type=int, default=32, help="pictures at once; changes time and memory only")
    add("--beam", type=int, default=8, help="of the recogniser; 0 takes CTC's best path")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="of generating; bf16 is faster")
    add("--out", type=Path, default=Path("results"), help="folder for the JSON (default results)")
    add("--json", action="store_true", help="also print a JSON object a metric, the last lines")
    return p


def parse_options(argv: Sequence[str] | None) -> Options:
    """The words of the command line -> Options. Raises UserError for what cannot be meant, before anything is
    loaded."""
    given = parser().parse(argv)
    names = tuple(dict.fromkeys(name.strip() for name in given.metric.split(",")))
    asked = [find(name) for name in names]
    _check_numbers(given)
    _check_together(given, asked)
    options = Options(
        **{key: value for key, value in vars(given).items() if key not in ("metric", "split", "voices")},
        metrics=names,
        split=given.split or "test",
        voices=given.voices or "training",
    )
    for metric in asked:
        if metric.check:
            metric.check(options)
    return options


def _serving(*needs: str) -> list[str]:
    """Names of the metrics that need one of these."""
    return [metric.name for metric in metrics().values() if set(needs) & set(metric.needs)]


def _check_numbers(given: argparse.Namespace) -> None:
    for name in MOST:
        value = getattr(given, name)
        if value is not None and value < LEAST[name]:
            raise UserError(
                f"--{name} {value}: at least {LEAST[name]} {'is' if LEAST[name] < 2 else 'are'} needed"
            )
        if value is not None and value > MOST[name]:
            raise UserError(f"--{name} {value}: at most {MOST[name]} can be asked for")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", given.device):
        raise UserError(
            f'no device "{given.device}"{suggest(given.device, ("auto", "cpu", "cuda"))}: '
            "it is auto, cpu, cuda or cuda:<n>"
        )


def _check_together(given: argparse.Namespace, asked: Sequence[Metric]) -> None:
    """Resolve the folders of models, and refuse options that serve none, or not all, of the metrics."""
    for metric in asked:
        if given.network and "feature_network" not in metric.needs:
            raise UserError(
                f"--network serves {', '.join(_serving('feature_network'))}; {metric.name} does not use it"
            )
        if given.source == "transcript" and "recognizer" in metric.needs:
            raise UserError(f"--from transcript is for pictures; {metric.name} always hears speech")
        if given.pictures and not {"images", "captions"} & set(metric.needs):
            raise UserError(
                f"--pictures serves {', '.join(_serving('images', 'captions'))}; {metric.name} generates its own"
            )
        if given.classes and (metric.name != "is" or not given.network):
            raise UserError("--classes is for --metric is with a --network")
    if given.network and not given.network.is_file():
        raise UserError(f"no feature network at {given.network}; name a safetensors file")
    nearest = given.model == Path(NEAREST)
    if given.pictures and given.model != PAINTER:
        raise UserError("--pictures stands in place of a --model; name one of them")
    if given.pictures and not given.pictures.is_dir():
        raise UserError(f"no folder {given.pictures}; --pictures takes a folder of PNG or JPEG files")
    if given.pictures and given.source == "transcript":
        raise UserError("--from transcript is for a --model; --pictures are what they are")
    if given.finder and not nearest or given.size is not None and not (nearest or given.pictures):
        raise UserError(
            f"--size and --finder are for --model {NEAREST}, and --size for --pictures; a painter has its own size"
        )
    if given.voices and given.source != "transcript":
        raise UserError("--voices is for --from transcript")
    for name in ("model", "encoder", "classifier", "recognizer", "finder"):
        if getattr(given, name) is not None:
            setattr(given, name, find_folder(getattr(given, name)))
