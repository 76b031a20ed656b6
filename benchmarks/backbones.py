"""A picture's gradient through MobileNetV2 against torchvision's own: `python -m benchmarks.backbones`.

What every step of a projected GAN waits for. The textbook's form has BatchNorm in eval mode, strided depthwise
convolutions and torch's memory layout; ours folds, thins and keeps channels last. Both in bfloat16, in one process with
our setting of the allocator; before the timing both must give the same gradient, in float64, to 1e-5 of its largest: it
is in float32 that BatchNorm is folded.
"""

import copy
from functools import partial

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.common import Form, cores, in_turn, parser, report, timer
from core.precision import at_least_float32, autocast
from core.runtime import set_up
from vision.backbones import Backbone, fold_batch_norm, imagenet_normalised

NAME = "mobilenet_v2"
BATCH, SIDE = 32, 128
TINY = 4, 64
CPU = torch.device("cpu")


def networks() -> dict[str, nn.Module]:
    """torchvision's layers and ours, of the same random weights, whose gradient nobody needs."""
    torch.manual_seed(0)
    textbook = getattr(torchvision.models, NAME)(weights=None).features.eval()
    ours, folded = Backbone(NAME), copy.deepcopy(textbook)
    fold_batch_norm(folded)
    ours.layers.load_state_dict(folded.state_dict())
    return {name: network.requires_grad_(False) for name, network in (("textbook", textbook), ("ours", ours))}


def gradient(network: nn.Module, images: Tensor, precision: str = "bf16") -> Tensor:
    """Of the last map's mean square, with respect to images (B, 3, s, s)."""
    images = images.clone().requires_grad_()
    with autocast(CPU, precision):
        seen = network(images)[-1] if isinstance(network, Backbone) else network(imagenet_normalised(images))
    (slope,) = torch.autograd.grad(at_least_float32(seen).square().mean(), images)
    return slope


def forms(batch: int, side: int) -> dict[str, Form]:
    images = torch.rand(batch, 3, side, side) * 2 - 1
    found = networks()
    exact = [copy.deepcopy(network).double() for network in found.values()]
    textbook, ours = (gradient(network, images[:2].double(), "fp32") for network in exact)
    torch.testing.assert_close(ours, textbook, rtol=0, atol=1e-5 * float(textbook.abs().max()))
    return {name: partial(gradient, network, images) for name, network in found.items()}


def main() -> None:
    options = parser(__doc__, rounds=15).parse_args()
    set_up(cores(), "cpu")
    batch, side = TINY if options.tiny else (BATCH, SIDE)
    timers = {name: timer(form) for name, form in forms(batch, side).items()}
    in_turn(timers, 2)  # the first calls are slow
    cases = {f"{NAME}, {side} px": in_turn(timers, options.rounds)}
    report(
        "backbones", {"batch": batch, "rounds": options.rounds}, cases, write=not options.tiny, pictures=batch
    )


if __name__ == "__main__":
    main()
