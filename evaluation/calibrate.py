"""Fit the confidence of words on clips of known text, and save it in the recogniser's config.json.

    python -m evaluation.calibrate --recognizer runs/recognizer/model --speech LibriSpeech --split dev-clean
    python -m evaluation.calibrate --recognizer runs/recognizer/model --speech a --speech b --split val

The readers should be those of neither training nor test. Takes the options of `evaluate.py --metric confidence`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import UserError, run_cli
from core.files import read_json, write_json
from evaluation.options import parse_options


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    options = [parse_options(["--metric", "confidence", *some]) for some in _one_set_each(words)]
    import numpy as np
    import torch

    from asr.confidence import fit_calibration
    from asr.recognizer import Recognizer
    from core.runtime import set_up
    from evaluation import sets
    from evaluation.batches import progress
    from evaluation.word_confidence import compare_words, plain_confidences
    from metrics.confidence import confidence_quality

    device = set_up(0, options[0].device)
    folder = options[0].recognizer
    recognizer = Recognizer.load(folder, device)
    found = []
    with torch.inference_mode():
        for some in options:
            clips = sets.clips_to_hear(some, some.split)
            found.append(compare_words(clips, recognizer, some.beam, progress))
    scores, is_right = (np.concatenate(parts) for parts in zip(*found, strict=True))
    calibration = fit_calibration(scores, is_right, names=recognizer.score_names(options[0].beam))
    save(folder, calibration.as_json())
    before, after = (
        confidence_quality(c, is_right) for c in (plain_confidences(scores), calibration(scores))
    )
    for when, quality in (("before", before), ("after", after)):
        print(f"{when:<8}AUROC {quality.auroc:.3f}, ECE {quality.ece:.3f}, NCE {quality.nce:.3f}")
    print(f"of {after.words} words ({100 * after.right:.1f} % right) that it was fitted on; others are what counts: "
          "python evaluate.py --metric confidence")  # fmt: skip
    print(f"stored in {folder / 'config.json'}")
    return 0


def _one_set_each(words: list[str]) -> list[list[str]]:
    """The command line once for each --speech that it has."""
    at = [i for i, word in enumerate(words) if word == "--speech" or word.startswith("--speech=")]
    if len(at) < 2:
        return [words]
    spans = [(i, i + (1 if "=" in words[i] else 2)) for i in at]
    others = [word for i, word in enumerate(words) if not any(a <= i < b for a, b in spans)]
    return [[*others, *words[a:b]] for a, b in spans]


def save(folder: Path, confidence: dict[str, float]) -> None:
    """Write a calibration's numbers into a model folder's config.json. Raises UserError where it is none."""
    path = folder / "config.json"
    header = read_json(path)
    if not isinstance(header, dict) or not isinstance(header.get("config"), dict):
        raise UserError(f"{path} is no config of a model; restore it")
    header["config"]["confidence"] = confidence
    write_json(path, header)


if __name__ == "__main__":
    run_cli(main)
