"""Makes the files beside it out of the complete tensors of the authors' code: python tests/reference/make.py

Floating point is rounded to float32, and of a large result every so manieth value is kept: enough to see any wrong
factor. README.md says where the complete tensors come from.
"""

import json
import math
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

HERE = Path(__file__).resolve().parent
COMPLETE = HERE.parents[2] / "shared" / "golden"
# their pictures of 256 px do not compress; the losses' files have these networks with smaller inputs
LEFT_OUT = ("attngan_d_net256", "stackgan_stage2_d", "stackganv2_d_net256")
KEPT = 256  # values of a result


def is_result(key: str) -> bool:
    return not {"param", "in"} & set(key.split("/"))


def step_of(count: int, most: int = KEPT) -> int:
    """From one kept value to the next, so that at most `most` of `count` remain; it shares no factor with `count`, lest
    every kept value have the same column."""
    step = max(1, math.ceil(count / most))
    while math.gcd(step, count) > 1:
        step += 1
    return step


def reduced(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors to keep of a complete file, and the header: the configuration, and {key: (shape, step)} of what was
    thinned."""
    kept, thinned = {}, {}
    with safe_open(path, "pt") as file:
        config = file.metadata()["config"]
        for key in sorted(file.keys()):
            tensor = file.get_tensor(key)
            if tensor.is_floating_point():
                tensor = tensor.to(torch.float32)
            if is_result(key) and tensor.numel() > KEPT:
                step = step_of(tensor.numel())
                thinned[key] = (list(tensor.shape), step)
                tensor = tensor.flatten()[::step]
            kept[key] = tensor.contiguous()
    return kept, {"config": config, "thinned": json.dumps(thinned, sort_keys=True)}


def main() -> int:
    paths = [path for path in sorted(COMPLETE.glob("*.safetensors")) if path.stem not in LEFT_OUT]
    if not paths:
        print(f"no complete tensors at {COMPLETE}", file=sys.stderr)
        return 2
    for path in paths:
        tensors, header = reduced(path)
        save_file(tensors, HERE / path.name, header)
    keys = json.loads((COMPLETE.parent / "facts" / "checkpoints.json").read_text(encoding="utf-8"))
    (HERE / "checkpoints.json").write_text(json.dumps(keys, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{len(paths)} files, {sum(p.stat().st_size for p in HERE.iterdir()) / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
