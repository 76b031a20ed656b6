"""The exported models in use, with numpy, soundfile and onnxruntime alone: what `benchmarks.onnx` times.

python -m benchmarks.without_torch FOLDER   # hear a sample and paint four birds once
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "red_crown.ogg"
SENTENCE, BIRDS = "a red bird with black wings", 4


def onnx_forms(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """What hears the sample, and what paints the sentence."""
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


if __name__ == "__main__":
    for form in onnx_forms(Path(sys.argv[1])):
        form()
