"""Exported models beside torch: `python export.py --out runs/onnx; python -m benchmarks.onnx --exported runs/onnx`.

Cold: the seconds of a process that reads the models, hears a sample and paints four birds, imports included. Warm: a
call, both in turn in one process on one thread; the recogniser's is the network's, without the search.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.common import in_turn, parser, report, timer
from benchmarks.without_torch import BIRDS, SAMPLE, SENTENCE, onnx_forms
from core.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def torch_forms() -> tuple[Callable[[], object], Callable[[], object]]:
    """What hears the sample, and what paints the sentence."""
    from asr.audio import load_audio
    from asr.recognizer import Recognizer
    from core.model_registry import PAINTER, RECOGNIZER, find_folder
    from t2i.painter import Painter

    recognizer, painter = Recognizer.load(find_folder(RECOGNIZER)), Painter.load(find_folder(PAINTER))
    samples = torch.from_numpy(load_audio(SAMPLE))[None]
    lengths = torch.tensor([samples.shape[1]])

    @torch.inference_mode()
    def hear() -> object:
        memory, _ = recognizer.model.encoder(*recognizer.front_end(samples, lengths))
        return recognizer.model.to_ctc(memory)

    return hear, lambda: painter.paint([SENTENCE] * BIRDS, range(BIRDS))


def cold(command: Sequence[str]) -> float:
    """Milliseconds of a Python process that hears and paints once."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    options = parser(__doc__, rounds=9)
    options.add_argument(
        "--exported", type=Path, required=True, metavar="FOLDER", help="that export.py wrote"
    )
    args = options.parse_args()
    if not (args.exported / "painter.json").is_file():
        raise UserError(f"no exported models in {args.exported}; python export.py --out {args.exported}")
    torch.set_num_threads(1)
    forms = {"torch": torch_forms(), "onnxruntime": onnx_forms(args.exported)}
    cases = {}
    for place, case in enumerate((f"{SAMPLE.name} heard", f"{BIRDS} birds painted")):
        timers = {name: timer(both[place]) for name, both in forms.items()}
        in_turn(timers, 2)  # the first calls are slower
        cases[case] = in_turn(timers, args.rounds)
    script = "from benchmarks.onnx import torch_forms; hear, paint = torch_forms(); hear(); paint()"
    whole = {
        "torch": ["-c", script],
        "onnxruntime": ["-m", "benchmarks.without_torch", str(args.exported.resolve())],
    }
    cases["a cold process that does both"] = {
        name: [cold(command) for _ in range(3)] for name, command in whole.items()
    }
    report("onnx", {"threads": 1, "rounds": args.rounds}, cases, not args.tiny)


if __name__ == "__main__":
    main()
