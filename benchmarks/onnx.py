"""Exported models beside torch: `python export.py --out runs/onnx; python -m benchmarks.onnx --exported runs/onnx`.

Cold: the seconds of a process that reads the models, hears a sample and paints four birds, imports included. Warm: a
call, both in turn in one process on one thread; the recogniser's is the network's, without the search.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import in_turn, parser, report, timer
from core.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
SAMPLE, SENTENCE, BIRDS = ROOT / "samples" / "red_crown.ogg", "a red bird with black wings", 4


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


def onnx_forms(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    import onnxruntime
    import soundfile

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    hearing, painting = (
        onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options)
        for name in ("recognizer", "painter")
    )
    facts = json.loads((folder / "painter.json").read_text())
    noise = np.frombuffer((folder / "noise.bin").read_bytes(), "<f4").reshape(facts["seeds"], -1)[:BIRDS]
    words = np.array([[facts["words"].index(word) for word in SENTENCE.split() if word in facts["words"]]])
    samples = soundfile.read(SAMPLE, dtype="float32")[0][None]
    return (
        lambda: hearing.run(None, {"samples": samples}),
        lambda: painting.run(None, {"words": words, "noise": noise}),
    )


def cold(form: str, folder: Path) -> float:
    """Milliseconds of a process that hears and paints once."""
    script = (
        f"from pathlib import Path; from benchmarks import onnx; hear, paint = onnx.{form}; hear(); paint()"
    )
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
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
    whole = {"torch": "torch_forms()", "onnxruntime": f"onnx_forms(Path({str(args.exported)!r}))"}
    cases["a cold process that does both"] = {
        name: [cold(form, args.exported) for _ in range(3)] for name, form in whole.items()
    }
    report("onnx", {"threads": 1, "rounds": args.rounds}, cases, not args.tiny)


if __name__ == "__main__":
    main()
