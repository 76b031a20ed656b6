"""Upsampling and convolution as one transposed convolution, against the two apart: `python -m benchmarks.upsampling`.

Forward and backward at the generator's shapes of a batch of 16, bfloat16, the two timed in turn; prints the ratio of
their times, which is what carries over from one machine to another.
"""

import torch
import torch.nn.functional as F
from torch.utils.benchmark import Timer

from t2i.blocks import UpConv
from training.runtime import set_up

SHAPES = ((256, 4), (128, 8), (64, 16), (32, 32), (32, 64))  # channels, side before


def apart(layer: UpConv, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(F.interpolate(x, scale_factor=2), layer.weight, padding=1)


def main() -> None:
    set_up()
    print("channels  side   apart ms   one ms   ratio")
    totals, threads = [0.0, 0.0], torch.get_num_threads()
    for channels, side in SHAPES:
        values = {
            "layer": UpConv(channels, channels).bfloat16(),
            "x": torch.randn(16, channels, side, side, dtype=torch.bfloat16, requires_grad=True),
            "gradient": torch.randn(16, channels, 2 * side, 2 * side, dtype=torch.bfloat16),
        }
        forms = [
            Timer("form(layer, x).backward(gradient)", globals=values | {"form": form}, num_threads=threads)
            for form in (apart, UpConv.forward)
        ]
        rounds = [[timer.timeit(5).mean for timer in forms] for _ in range(7)]
        two, one = (sorted(times)[3] for times in zip(*rounds, strict=True))
        totals = [totals[0] + two, totals[1] + one]
        print(f"{channels:8d}  {side:4d}  {1e3 * two:9.1f}  {1e3 * one:7.1f}  {two / one:6.2f}")
    print(f"{'together':>14}  {1e3 * totals[0]:9.1f}  {1e3 * totals[1]:7.1f}  {totals[0] / totals[1]:6.2f}")


if __name__ == "__main__":
    main()
