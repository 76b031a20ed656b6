"""Our two convolutions against the textbook's, forward and backward in bfloat16: `python -m benchmarks.convolutions`.

UpConv joins nearest upsampling and the convolution after it; UnfoldedConv multiplies matrices where there are many
weights and few places. At the full-size AttnGAN's shapes; in one process with our setting of the allocator.
"""

import copy
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.common import Form, Times, cores, in_turn, parser, plain, report, timer
from core.precision import autocast
from core.runtime import set_up
from t2i import layers as blocks
from t2i.layers import UnfoldedConv, UpConv

BATCH = 4
UPSAMPLING = ((1024, 512, 4), (512, 256, 8), (256, 128, 16), (128, 64, 32), (64, 64, 64), (64, 64, 128))
JUDGING = ((512, 1024, 16, 4, 2), (1024, 2048, 8, 4, 2), (2048, 1024, 4, 3, 1), (512, 1024, 8, 4, 2))
CPU = torch.device("cpu")


def passes(layer: nn.Module, x: Tensor) -> None:
    with autocast(CPU, "bf16"):
        y = layer(x)
    y.backward(torch.ones_like(y))


def forms(layer: nn.Module, side: int) -> dict[str, Form]:
    x = torch.randn(BATCH, layer.in_channels, side, side, dtype=torch.bfloat16, requires_grad=True)
    textbook = plain(nn.Sequential(copy.deepcopy(layer)))
    torch.testing.assert_close(layer(x.float()), textbook(x.float()), rtol=1e-3, atol=1e-3)
    return {"textbook": partial(passes, textbook, x), "ours": partial(passes, layer, x)}


def times(layer: nn.Module, side: int, rounds: int) -> Times:
    timers = {name: timer(form) for name, form in forms(layer, side).items()}
    in_turn(timers, 2)  # the first calls are slow
    return in_turn(timers, rounds)


def main() -> None:
    options = parser(__doc__, rounds=15).parse_args()
    set_up(cores(), "cpu")
    part = 32 if options.tiny else 1  # of the channels
    blocks.MANY_WEIGHTS //= part**2
    cases = {}
    for inputs, outputs, side in UPSAMPLING:
        layer: nn.Module = UpConv(inputs // part, outputs // part)
        cases[f"up to {2 * side} px, {inputs} -> {outputs} channels"] = times(layer, side, options.rounds)
    for inputs, outputs, side, kernel, stride in JUDGING:
        layer = UnfoldedConv(inputs // part, outputs // part, kernel, stride, 1)
        name = f"judging {side} px, {inputs} -> {outputs} channels"
        cases[name] = times(layer, side, options.rounds)
    report("convolutions", {"batch": BATCH, "rounds": options.rounds}, cases, write=not options.tiny)


if __name__ == "__main__":
    main()
