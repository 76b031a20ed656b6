"""What helps a recogniser of people who took no part in its training: `python -m recipes.recognizer_ablations`.

Rows of FROM_NOTHING train a small recogniser on some sets of configs/data/read_speech.yaml; those of GOING_ON train
the one of --start for some steps more, one change at a time. Each is measured by a narrow search in the lexicon, on
readers held out for validation (by which to choose) and on the test sets. Prints the table of docs/recognition.md.
Stopped, the same command goes on; names of rows choose some.
"""

import json
import sys
from pathlib import Path
from typing import Any

from core.errors import Parser, run_cli
from core.files import read_json
from recipes.common import call, chosen

# the sets of configs/data/read_speech.yaml, by their place in data.also; LibriSpeech/train-clean-100 is the first, data
CLEAN_5, COMMON_VOICE, LEARNERS, LJSPEECH, CAPTIONS, FLITE, FESTIVAL, ESPEAK = (0, 1, 2, 3, 5, 6, 7, 8)
SYNTHETIC = (CAPTIONS, FLITE, FESTIVAL, ESPEAK)
SMALL = ["model.width=96", "model.feed_forward=384", "alignment.steps=600"]


def weight(value: float, *sets: int) -> list[str]:
    return [f"data.also.{number}.weight={value:g}" for number in sets]


NO_OTHERS = weight(0, COMMON_VOICE, LEARNERS, LJSPEECH, *SYNTHETIC)
FIVE_READERS = ["118-*", "226-*", "1867-*", "1898-*", "1970-*"]
FROM_NOTHING: dict[str, list[str]] = {
    "232_readers_49_minutes": ["data.weight=1", *NO_OTHERS, *weight(0, CLEAN_5)],
    "5_readers_52_minutes": [
        "data.weight=0",
        *NO_OTHERS,
        f"data.also.{CLEAN_5}.only={json.dumps(FIVE_READERS)}",
    ],
    "28_readers_5_hours": ["data.weight=0", *NO_OTHERS],
    "librispeech": ["data.weight=1", *NO_OTHERS],
    "real": weight(0, *SYNTHETIC),
    "all": [],
}
GOING_ON: dict[str, list[str]] = {
    "as_before": [],
    "no_synthetic": weight(0, *SYNTHETIC),
    "twice_synthetic": weight(1, FLITE, FESTIVAL, ESPEAK),
    "no_noise": ["augment.noise=0"],
    "no_rooms": ["augment.reverb=0"],
    "no_microphones": ["augment.band=0", "augment.level=0", "augment.codec=0"],
    "one_speed": ["augment.speed=false"],
    "wide_masks": ["augment.mel_width=27", "augment.time_masks=5"],
    "vocal_tracts": ["augment.vocal_tract=0.1"],
    "no_intermediate": ["loss.intermediate=0"],
    "two_views": ["loss.consistency=0.2"],
    "mmi": ["loss.mmi=1", "search.word_bonus=-0.5"],
    "mmi_few_labels": ["loss.mmi=1", "loss.phones=0.2", "search.word_bonus=-0.5"],
    "mmi_alone": ["loss.mmi=1", "loss.phones=0", "search.word_bonus=-0.5"],
}  # fmt: skip


def parser() -> Parser:
    p = Parser(prog="python -m recipes.recognizer_ablations", description="One change a row.")
    p.add_argument("rows", nargs="*", help=f"some of {', '.join([*FROM_NOTHING, *GOING_ON])} (default all)")
    p.add_argument(
        "--start", default="runs/recognizer_read_speech/model", help="recogniser that rows go on from"
    )
    p.add_argument("--from-nothing-steps", type=int, default=3000, help="of 40 s of sound (default 3000)")
    p.add_argument("--going-on-steps", type=int, default=600, help="of 80 s (default 600)")
    return p


def train(row: str, given: Any) -> Path:
    """Train one row, or take what is trained already -> its run."""
    run = Path("runs") / f"recognizer_ablation_{row}"
    if row in FROM_NOTHING:
        steps, words = given.from_nothing_steps, [*SMALL, "batch_seconds=40", *FROM_NOTHING[row]]
    else:
        steps = given.going_on_steps // (2 if row == "two_views" else 1)  # two views are twice the work
        words = [
            f"init={given.start}",
            "warmup=50",
            "lr=4e-4",
            "alignment.steps=200",
            *GOING_ON[row],
        ]
    call("train_asr.py", "experiment=recognizer_read_speech", f"run.name={run.name}", f"run.steps={steps}",
         f"run.sample_every={steps}", "beam=2", *words)  # fmt: skip
    return run


def main() -> int:
    given = parser().parse(sys.argv[1:])
    tests: list[str] = []
    for number, row in enumerate(chosen(given.rows, [*FROM_NOTHING, *GOING_ON], "row")):
        run = train(row, given)
        training = read_json(run / "model" / "config.json")["training"]
        if not number:
            tests = list(training["scores"])
            print("\n".join(["| row | changes | validation | " + " | ".join(tests) + " | minutes |",
                             "|---" * (len(tests) + 4) + "|"]))  # fmt: skip
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        validation = next(line["validation_wer"] for line in reversed(lines) if "validation_wer" in line)
        scores = " | ".join(f"{100 * training['scores'][test]['wer']:.1f} %" for test in tests)
        changes = " ".join(f"`{change}`" for change in (FROM_NOTHING | GOING_ON)[row]) or "none"
        print(
            f"| {row} | {changes} | {100 * validation:.1f} % | {scores} | {training['minutes']} |", flush=True
        )
    return 0


if __name__ == "__main__":
    run_cli(main)
