"""Measure models: `evaluate.py --metric is|fid|kid|coverage|r_precision|retrieval|part_colours|...|wer|cer`.

    python evaluate.py --metric part_colours
    python evaluate.py --metric part_colours --from transcript --samples 200
    python evaluate.py --metric fid --data datasets/cub --model runs/cub/model --network mobilenet_v2.safetensors

Without other arguments it measures the released models on the test split of the painted birds, which is made on the
way. The table and the protocol go to standard output and, as JSON, to results/; progress goes to standard error.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Parser, UserError, suggest
from core.files import make_folder, write_json
from core.model_registry import DAMSM, PAINTER, PARTS, RECOGNIZER, find_folder, model_name
from evaluation.features import class_probabilities, feature_network, feature_sets, load_classifier
from evaluation.pairs import (
    PAINTED,
    PHOTOGRAPHS,
    SPOKEN,
    bird_folder,
    choose,
    collect,
    draw_sample,
    few_samples,
    has_part_truth,
    hear,
    model_entry,
    open_birds,
    open_speech,
    painted,
    pictures,
    real_features,
    rendered,
    set_name,
    speech_splits,
    with_known_words,
)

if TYPE_CHECKING:
    import numpy as np


# torch and the models are imported once the command is known to be right: --help and mistakes answer at once

PICTURE_METRICS = (
    "is", "fid", "kid", "coverage", "r_precision", "retrieval", "part_colours", "colour_edits", "variety",
)  # fmt: skip
NETWORK_METRICS = ("is", "fid", "kid", "coverage", "variety")
SPEECH_METRICS = ("wer", "cer")
SPLITS_OF_IS = 10
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
CANDIDATES, GROUPS = 100, 10  # of R-precision
VARIETY_CAPTIONS, VARIETY_SEEDS = 100, 8


@dataclass
class Row:
    """A line of the table: a name, its value and how sure it is."""

    name: str
    value: float
    interval: dict[str, Any] | None = None  # {"std": ..., "of": ...} or {"low": ..., "high": ..., "of": ...}


@dataclass
class Result:
    """rows[0] is the figure that was asked for; `real` the same measure of real pictures, None where it has none."""

    rows: list[Row]
    real: Row | None
    protocol: dict[str, Any]
    chance: float | None = None
    parts: dict[str, Any] = field(default_factory=dict)  # a breakdown, by name


# --- the command line ------------------------------------------------------------------------------------------


def parser() -> Parser:
    p = Parser(
        prog="evaluate.py",
        description="Measure models; without options the released ones, on painted birds.",
        allow_abbrev=False,
    )
    p.add_argument("--metric", required=True, metavar="|".join(PICTURE_METRICS + SPEECH_METRICS),
                   help="one, or several with commas between: fid,kid,coverage read the pictures once")  # fmt: skip
    p.add_argument("--model", metavar="MODEL", type=Path, default=PAINTER,
                   help='painted, real, a folder, or "photographs": of training, what DAMSM finds')  # fmt: skip
    p.add_argument(
        "--finder", metavar="FOLDER", type=Path, help="DAMSM that finds photographs (default --encoder)"
    )
    p.add_argument("--size", type=int, help="side of these photographs, px (default 64)")
    p.add_argument("--encoder", metavar="FOLDER", type=Path, default=DAMSM,
                   help="DAMSM that ranks captions for r_precision and retrieval")  # fmt: skip
    p.add_argument("--classifier", metavar="FOLDER", type=Path, default=PARTS,
                   help="part-colour classifier: part_colours, and is, fid, kid of painted birds")  # fmt: skip
    p.add_argument("--recognizer", metavar="FOLDER", type=Path, default=RECOGNIZER)
    p.add_argument("--network", metavar="FILE", type=Path,
                   help="weights of mobilenet_v2, squeezenet1_1 or inception_v3, whose features "
                   f"{', '.join(NETWORK_METRICS)} are measured in")  # fmt: skip
    p.add_argument("--classes", choices=("species", "imagenet"),
                   help="of is in a --network: the split's species (default), or ImageNet's")  # fmt: skip
    p.add_argument("--data", default=PAINTED, metavar="NAME|FOLDER", help="birds in the layout of CUB")
    p.add_argument("--speech", default=SPOKEN, metavar="NAME|FOLDER", help="LJSpeech or LibriSpeech layout")
    p.add_argument(
        "--root", type=Path, default=Path("datasets"), help="where named sets lie (default datasets)"
    )
    p.add_argument(
        "--cache", type=Path, help="where decoded pictures and sound are packed (default: in the set)"
    )
    p.add_argument("--skip-damaged", action="store_true", help="leave damaged pictures or clips out")
    p.add_argument(
        "--split", help="default test; for speech test, and test_voices beside it where there is one"
    )
    p.add_argument("--samples", type=int, help="captions to paint or clips to hear (default: every one once)")
    p.add_argument("--seed", type=int, default=0, help="of the captions chosen, the noise and the candidates")
    p.add_argument("--from", dest="source", choices=("caption", "transcript"), default="caption",
                   help="paint the caption as written, or what the recogniser hears when it is spoken")  # fmt: skip
    p.add_argument("--batch", type=int, default=32, help="pictures at once; changes time and memory only")
    p.add_argument("--beam", type=int, default=8, help="of the recogniser; 0 takes CTC's best path")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda")
    p.add_argument(
        "--precision", choices=("fp32", "bf16"), default="fp32", help="of painting; bf16 is faster"
    )
    p.add_argument("--out", type=Path, default=Path("results"), help="folder for the JSON (default results)")
    p.add_argument("--json", action="store_true", help="also print a JSON object a metric, the last lines")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse(argv)
    metrics = list(dict.fromkeys(args.metric.split(",")))
    for args.metric in metrics:
        check(args)
    args.sets = None  # the features that several metrics share
    make_folder(args.out)
    import torch

    from core.runtime import code_revision, set_up

    args.device = set_up(0, args.device)
    values = []
    for args.metric in metrics:
        with torch.inference_mode():
            result = METRICS[args.metric](args)
        result.protocol |= {"seed": args.seed, "device": args.device.type, "revision": code_revision()}
        values.append(as_json(args.metric, result))
        path = args.out / f"{file_name(args)}.json"
        write_json(path, values[-1])
        print(table(args.metric, result))
        print(f"\nstored in {path}", flush=True)
    if args.json:
        for value in values:
            print(json.dumps(value, ensure_ascii=False))
    return 0


def check(args: argparse.Namespace) -> None:
    """Raise UserError for arguments that cannot be meant, before anything is loaded."""
    if args.metric not in METRICS:
        raise UserError(
            f'no metric "{args.metric}"{suggest(args.metric, METRICS)}: it is {", ".join(METRICS)}'
        )
    if args.network and args.metric not in NETWORK_METRICS:
        raise UserError(f"--network serves {', '.join(NETWORK_METRICS)}; {args.metric} does not use it")
    if args.network and not args.network.is_file():
        raise UserError(f"no feature network at {args.network}; name a safetensors file")
    if args.source == "transcript" and args.metric in SPEECH_METRICS:
        raise UserError(f"--from transcript is for pictures; {args.metric} always hears speech")
    if args.source == "transcript" and args.metric == "colour_edits":
        raise UserError("--from transcript changes no words; colour_edits is measured from captions")
    if args.samples is not None and args.samples < 2:
        raise UserError(f"--samples {args.samples}: at least 2 are needed")
    if (args.size is not None or args.finder) and args.model != Path(PHOTOGRAPHS):
        raise UserError(f"--size and --finder are for --model {PHOTOGRAPHS}; a painter has its own size")
    if args.size is not None and args.size < 8:
        raise UserError(f"--size {args.size}: at least 8 pixels are needed")
    if args.classes and (args.metric != "is" or not args.network):
        raise UserError("--classes is for --metric is with a --network")
    if args.batch < 1:
        raise UserError(f"--batch {args.batch}: at least 1 is needed")
    if not 0 <= args.beam <= 100:
        raise UserError(f"--beam {args.beam}: expected 0 to 100")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: expected 0 or more")
    args.split = args.split or "test"
    if args.finder:
        args.finder = find_folder(args.finder)
    for option in ("model", "encoder", "classifier", "recognizer"):
        setattr(args, option, find_folder(getattr(args, option)))


# --- one function a metric -------------------------------------------------------------------------------------


def inception_score(args: argparse.Namespace) -> Result:
    from metrics.inception_score import inception_score as score

    found = class_probabilities(args)
    splits = min(SPLITS_OF_IS, len(found.sample))
    rows = []
    for name, probabilities in (("generated", found.generated), ("real", found.real)):
        mean, std = score(probabilities, splits, args.seed)
        rows.append(Row(name, mean, {"std": std, "of": f"{splits} splits"}))
    return Result(rows[:1], rows[1], found.sample.protocol | found.network | {"splits": splits})


def frechet_distance(args: argparse.Namespace) -> Result:
    from metrics.fid import frechet_distance as distance

    generated, reference, halves, protocol = distance_sets(args)
    with few_samples():
        rows = [Row("generated", distance(generated, reference)), Row("real", distance(*halves))]
    return Result(rows[:1], rows[1], protocol)


def kernel_distance(args: argparse.Namespace) -> Result:
    from metrics.kid import kernel_distance as distance

    generated, reference, halves, protocol = distance_sets(args)
    rows = []
    for name, a, b in (("generated", generated, reference), ("real", *halves)):
        # a subset of everything would be the same in every draw and hide how much the estimate varies
        size = max(2, min(KID_SUBSET_SIZE, min(len(a), len(b)) // 2))
        with few_samples():
            mean, std = distance(a, b, KID_SUBSETS, size, args.seed)
        rows.append(Row(name, mean, {"std": std, "of": f"{KID_SUBSETS} subsets of {size}"}))
    return Result(rows[:1], rows[1], protocol)


def coverage(args: argparse.Namespace) -> Result:
    import numpy as np

    from metrics.coverage import manifold

    generated, reference, halves, protocol = distance_sets(args)
    rng, count = np.random.default_rng(args.seed), min(len(reference), len(generated))
    # coverage depends on how many there are of each
    reference, generated = (rng.permutation(rows)[:count] for rows in (reference, generated))
    with few_samples():
        found, of_halves = manifold(reference, generated), manifold(*halves)
    rows = [Row(name, getattr(found, name)) for name in ("coverage", "density", "precision", "recall")]
    rows += [Row(f"real, {row.name}", getattr(of_halves, row.name)) for row in rows[1:]]
    return Result(
        rows,
        Row("real, coverage", of_halves.coverage),
        protocol
        | {
            "balls": "precision and recall: 3 nearest; density and coverage: 5 nearest",
            "of each set": count,
        },
    )


def retrieval(args: argparse.Namespace) -> Result:
    import numpy as np

    from metrics.retrieval import retrieval as recall
    from t2i.encoders.damsm import Damsm

    encoder = Damsm.load(args.encoder).to(args.device)
    root = bird_folder(args)
    birds = open_birds(args, root, encoder.config.image_size)
    indices = choose(len(birds), min(args.samples or len(birds), len(birds)), args.seed)
    captions = [caption for i in indices for caption in birds.captions[i]]
    picture_of = np.repeat(np.arange(len(indices)), [len(birds.captions[i]) for i in indices])
    texts = with_known_words(captions, partial(encoder.vocabulary.known, limit=10**6))
    said = collect(
        lambda part: encoder.encode_texts(part).sentence,
        (texts[i : i + args.batch] for i in range(0, len(texts), args.batch)),
    )
    seen = collect(lambda part: encoder.encode_images(part)[1], pictures(args, birds, indices))
    found = recall(seen, said, picture_of)
    rows = [
        Row(f"{way}, recall@{k}", value)
        for way, of_way in (
            ("caption finds its picture", found.text_to_picture),
            ("picture finds a caption of its own", found.picture_to_text),
        )
        for k, value in of_way.items()
    ]
    return Result(
        rows,
        None,
        {
            "set": set_name(root),
            "split": args.split,
            "pictures": len(indices),
            "captions": len(captions),
            "ranked by": "cosine of global features, all of them candidates",
            "encoder": model_entry(args.encoder, encoder.checksum),
        },
        chance=1 / len(indices),
    )


def r_precision(args: argparse.Namespace) -> Result:
    from metrics.r_precision import r_precision as precision
    from t2i.encoders.damsm import Damsm

    encoder = Damsm.load(args.encoder).to(args.device)
    sample = draw_sample(args)
    captions = with_known_words(sample.captions, partial(encoder.vocabulary.known, limit=10**6))
    starts = range(0, len(sample), args.batch)
    sentences = collect(lambda texts: encoder.encode_texts(texts).sentence,
                        (captions[i : i + args.batch] for i in starts))  # fmt: skip
    rows = []
    for name, images in (("generated", painted(args, sample)), ("real", rendered(args, sample))):
        features = collect(lambda batch: encoder.encode_images(batch)[1], images)
        with few_samples():
            found = precision(features, sentences, sample.class_ids, CANDIDATES, GROUPS, args.seed)
        rows.append(Row(name, found.value, {"std": found.std, "of": f"{GROUPS} groups"}))
    trainer = sample.painter.training_info.get("encoder")
    protocol = sample.protocol | {
        "candidates": f"1 true caption and {CANDIDATES - 1} of other classes, cosine of global features",
        "encoder": model_entry(args.encoder, encoder.checksum),
        "encoder trained the generator": None if trainer is None else trainer == encoder.checksum,
    }
    return Result(rows[:1], rows[1], protocol, chance=1 / CANDIDATES)


def part_colours(args: argparse.Namespace) -> Result:
    from data.painted_birds.grammar import named_colours
    from metrics.part_colours import part_colour_accuracy

    if not has_part_truth(args):
        raise UserError(
            f"{args.data} has no parts.csv: the colours of its parts are not known and the classifier reads painted "
            f"birds only; measure r_precision or fid there, or part_colours on {PAINTED}"
        )
    classifier = load_classifier(args)
    sample = draw_sample(args)
    named = [named_colours(caption) for caption in sample.captions]  # of what was said, not of what was heard
    rows, found = [], {}
    for name, images in (("generated", painted(args, sample)), ("real", rendered(args, sample))):
        read = collect(lambda batch: classifier(batch).argmax(dim=2), images).astype(int)
        with few_samples():
            found[name] = part_colour_accuracy(read, named, classifier.parts, classifier.colours, args.seed)
        rows.append(Row(name, found[name].value, {
            "low": found[name].low, "high": found[name].high, "of": "95 % bootstrap over pictures"}))  # fmt: skip
    generated = found["generated"]
    rows.insert(1, Row("generated, shuffled captions", generated.shuffled))
    protocol = sample.protocol | {
        "named colours": generated.named,
        "classifier": model_entry(args.classifier, classifier.checksum),
    }
    parts = {
        part: {"generated": accuracy, "real": found["real"].parts[part][0], "named": count}
        for part, (accuracy, count) in generated.parts.items()
    }
    return Result(rows[:2], rows[2], protocol, generated.chance, parts)


def colour_edits(args: argparse.Namespace) -> Result:
    import numpy as np

    from data.painted_birds.grammar import named_colours, swap_colour
    from metrics.colour_edits import colour_edits as score

    if not has_part_truth(args):
        raise UserError(f"{args.data} has no parts.csv; colour_edits is measured on {PAINTED}")
    classifier = load_classifier(args)
    sample = draw_sample(args)
    rows, texts, parts, colours = [], [], [], []
    for row, caption in enumerate(sample.captions):
        rng = np.random.default_rng([args.seed, row, 3])
        named = named_colours(caption)
        free = [colour for colour in classifier.colours if colour not in named.values()]
        edits = [(part, free[rng.integers(len(free))]) for part in rng.permutation(list(named))]
        found = next(((p, c, t) for p, c in edits if (t := swap_colour(caption, p, c)) is not None), None)
        if found and len(named) > 1:
            rows.append(row)
            parts.append(classifier.parts.index(found[0]))
            colours.append(classifier.colours.index(found[1]))
            texts.append(found[2])
    if not rows:
        raise UserError(
            "no caption names two parts of which one can be changed; measure more of them (--samples)"
        )
    sample = sample.only(rows)
    named_parts = np.array([[part in named_colours(c) for part in classifier.parts] for c in sample.captions])
    before, after = (
        collect(lambda batch: classifier(batch).argmax(dim=2), painted(args, of)).astype(int)
        for of in (sample, replace(sample, texts=texts))
    )
    with few_samples():
        found_edits = score(before, after, parts, colours, named_parts, args.seed)
    protocol = sample.protocol | {
        "samples": len(rows),
        "text": "a caption, and the same with one colour word changed to a colour that it does not name; same noise",
        "kept": f"{found_edits.others} other named parts, read as before the edit",
        "classifier": model_entry(args.classifier, classifier.checksum),
    }
    told = [
        Row(name, value, {"low": low, "high": high, "of": "95 % bootstrap over captions"})
        for name, value, (low, high) in (
            ("the edited part takes its new colour", found_edits.changed, found_edits.changed_interval),
            ("other named parts are read as before", found_edits.kept, found_edits.kept_interval),
        )
    ]
    return Result(told, None, protocol, 1 / len(classifier.colours))


def variety(args: argparse.Namespace) -> Result:
    import numpy as np

    from metrics.variety import mean_pairwise_distance as distance

    features, network = feature_network(args)
    args.samples = args.samples or VARIETY_CAPTIONS
    sample = draw_sample(args)
    captions = np.repeat(np.arange(len(sample)), VARIETY_SEEDS)
    many = replace(sample.only(captions), noise=list(range(VARIETY_SEEDS)) * len(sample))
    of_real = real_features(args, sample.birds, features, network)
    rows = []
    for name, read, groups, of in (
        ("generated", collect(features, painted(args, many)), captions, f"{len(sample)} captions"),
        ("real", of_real, sample.birds.class_ids, "the species of the split"),
    ):
        with few_samples():
            mean, std = distance(read, groups)
        rows.append(Row(name, mean, {"std": std, "of": of}))
    protocol = sample.protocol | network | {
        "distance": f"Euclidean, mean over the pairs of {VARIETY_SEEDS} seeds of a caption",
        "real pictures": "pairs of one species: the same colours, other poses, places and light",
    }  # fmt: skip
    return Result(rows[:1], rows[1], protocol)


def error_rate(args: argparse.Namespace) -> Result:
    from asr.recognizer import Recognizer
    from metrics.error_rates import NORMALISATION, character_error_rate, word_error_rate

    measure = word_error_rate if args.metric == "wer" else character_error_rate
    recognizer = Recognizer.load(args.recognizer, args.device)
    root, splits = speech_splits(args)
    rows, counts = [], {}
    for split in splits:
        speech = open_speech(args, root, split)
        clips = min(args.samples, len(speech)) if args.samples else None  # hearing one twice tells nothing
        chosen = choose(len(speech), clips, args.seed)
        heard = hear([speech.samples(i) for i in chosen], recognizer, args.beam)
        found = measure([speech.texts[i] for i in chosen], heard, args.seed)
        rows.append(Row(split, found.value, {
            "low": found.low, "high": found.high, "of": "95 % bootstrap over clips"}))  # fmt: skip
        counts[split] = {
            "clips": len(chosen),
            "of": len(speech),
            "seconds": round(float(sum(speech.lengths[i] for i in chosen)) / 16_000, 1),
            "words" if args.metric == "wer" else "characters": found.length,
            "edits": found.edits,
            "without audio": speech.missing,
            "too long": speech.too_long,
            "damaged": len(speech.damaged),
        }
    protocol = {
        "set": set_name(root),
        "split": args.split,
        "counts": counts,
        "recognizer": model_entry(args.recognizer, recognizer.checksum),
        "beam": args.beam,
        "normalisation": NORMALISATION,
        "real": "none: the clips are what they are; no model stands between them and their transcripts",
    }
    return Result(rows, None, protocol)


METRICS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "is": inception_score,
    "fid": frechet_distance,
    "kid": kernel_distance,
    "coverage": coverage,
    "r_precision": r_precision,
    "retrieval": retrieval,
    "part_colours": part_colours,
    "colour_edits": colour_edits,
    "variety": variety,
    "wer": error_rate,
    "cer": error_rate,
}


def distance_sets(
    args: argparse.Namespace,
) -> tuple["np.ndarray", "np.ndarray", tuple["np.ndarray", "np.ndarray"], dict[str, Any]]:
    """Features (N, D) of generated pictures, (M, D) of all real ones of the split, these in two halves; protocol."""
    import numpy as np

    sample, generated, reference, network = feature_sets(args)
    order = np.random.default_rng(args.seed).permutation(len(reference))
    halves = (reference[order[::2]], reference[order[1::2]])
    protocol = sample.protocol | network | {
        "reference": f"all {len(reference)} pictures of the split",
        "real pictures": f"one random half of the reference ({len(halves[0])}) against the other ({len(halves[1])})",
    }  # fmt: skip
    return generated, reference, halves, protocol


# --- what is told ----------------------------------------------------------------------------------------------


def as_json(metric: str, result: Result) -> dict[str, Any]:
    rows = [vars(row) for row in result.rows]
    return {
        "metric": metric,
        "value": result.rows[0].value,
        "interval": result.rows[0].interval,
        "real": result.real.value if result.real else None,
        "real_interval": result.real.interval if result.real else None,
        "chance": result.chance,
        "rows": rows,
        "parts": result.parts,
        "protocol": result.protocol,
    }


def table(metric: str, result: Result) -> str:
    """The figures and the protocol, to be read."""
    rows = [*result.rows, *([result.real] if result.real else [])]
    if result.chance is not None:
        rows.append(Row("chance", result.chance))
    width = max(len(row.name) for row in rows) + 2
    lines = [f"{TITLES[metric]}"]
    lines += [f"  {row.name:<{width}}{shown(metric, row.value):>10}  {spread(metric, row.interval)}".rstrip()
              for row in rows]  # fmt: skip
    for part, figures in result.parts.items():
        told = ", ".join(f"{k} {shown(metric, v) if k != 'named' else v}" for k, v in figures.items())
        lines.append(f"    {part:<8}{told}")
    lines.append("protocol")
    lines += [f"  {key}: {plain(value)}" for key, value in result.protocol.items()]
    return "\n".join(lines)


TITLES = {
    "is": "Inception Score (higher is better)",
    "fid": "FID, Frechet distance of features (lower is better)",
    "kid": "KID, kernel distance of features (lower is better)",
    "coverage": "coverage, density, precision and recall of features (higher is better)",
    "r_precision": "R-precision (higher is better)",
    "retrieval": "retrieval of real pictures and captions (higher is better)",
    "part_colours": "part-colour accuracy (higher is better)",
    "colour_edits": "colour edits: one colour word is changed (higher is better)",
    "variety": "variety, distance between pictures of one caption (as real ones is best)",
    "wer": "word error rate (lower is better)",
    "cer": "character error rate (lower is better)",
}


def shown(metric: str, value: float) -> str:
    if metric in ("is", "fid", "variety"):
        return f"{value:.2f}"
    return f"{value:.5f}" if metric == "kid" else f"{100 * value:.1f} %"


def spread(metric: str, interval: dict[str, Any] | None) -> str:
    if interval is None:
        return ""
    if "std" in interval:
        return f"± {shown(metric, interval['std'])} ({interval['of']})"
    return f"{shown(metric, interval['low'])} to {shown(metric, interval['high'])} ({interval['of']})"


def plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(inner)}" for key, inner in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "unknown"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def told_apart(args: argparse.Namespace) -> list[str]:
    """Options other than the default's, where the metric uses them."""
    default = parser()
    encoder = args.metric == "r_precision" and args.encoder.name != default.get_default("encoder").name
    return [
        f"by-{model_name(args.encoder)}" if encoder else "",
        f"{args.size}px" if args.size else "",
        args.classes or "",
        args.precision if args.precision != default.get_default("precision") else "",
        f"beam{args.beam}" if args.beam != default.get_default("beam") else "",
    ]


def file_name(args: argparse.Namespace) -> str:
    """<metric>-<model>-<set>-<split>, and what differs from the default."""
    hears = args.metric in SPEECH_METRICS
    parts = [
        args.metric,
        model_name(args.recognizer if hears else args.encoder if args.metric == "retrieval" else args.model),
        Path(args.speech if hears else args.data).name,
        args.split,
        "transcript" if args.source == "transcript" else "",
        args.network.stem if args.network else "",
        *told_apart(args),
        f"n{args.samples}" if args.samples else "",
        f"seed{args.seed}" if args.seed else "",
    ]
    return "-".join(part for part in parts if part)
