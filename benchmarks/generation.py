"""Pictures a second of the full-size AttnGAN generator against the textbook's: `python -m benchmarks.generation`.

The textbook's form is float32, run as it was trained, with the C library's own setting of the allocator. Ours is
bfloat16 with our setting, BatchNorm folded into the layers before it and upsampling into kernels; the third form is
that compiled. Each has a process of its own, for the allocator's setting cannot be undone. Before the timing the folded
generator must paint what the other paints to 1e-9 in float64, and the timed ones the same to a mean of 0.03 of [-1, 1].
"""

import copy

import torch
from torch import Tensor, nn

from benchmarks.common import Form, in_turn, parser, plain, report, workers
from core.precision import autocast
from core.runtime import keep_freed_memory
from t2i.encoders.base import TextFeatures
from t2i.families.attngan import AttnGanConfig, Generator
from t2i.inference import for_inference

FORMS = ("textbook", "ours, eager", "ours, compiled")
FULL: dict[str, int] = {}  # AttnGanConfig() as it is
TINY = {"width": 4, "embedding": 16, "condition": 6, "noise": 5, "residual_blocks": 1}
WORDS = 18
CPU = torch.device("cpu")


# ---- the forms ----


def build(sizes: dict[str, int], batch: int, dtype: torch.dtype = torch.float32) -> tuple[Generator, tuple]:
    """An untrained generator whose BatchNorm has statistics, in eval mode, and its inputs: noise, epsilon, text."""
    torch.manual_seed(0)
    config = AttnGanConfig(**sizes)
    generator = Generator(config).to(dtype)
    text = TextFeatures(
        torch.randn(batch, WORDS, config.embedding, dtype=dtype),
        torch.arange(WORDS) >= torch.linspace(WORDS, WORDS // 2, batch)[:, None],
        torch.randn(batch, config.embedding, dtype=dtype),
    )
    drawn = (torch.randn(batch, size, dtype=dtype) for size in (config.noise, config.condition))
    inputs = (*drawn, text)
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of this very batch
    with torch.no_grad():
        generator.train()(*inputs)
    return generator.eval(), inputs


def paint(generator: nn.Module, inputs: tuple, precision: str) -> Tensor:
    """The last stage's pictures (B, 3, s, s)."""
    with torch.inference_mode(), autocast(CPU, precision):
        return generator(*inputs).images[-1]


def prepare(form: str, sizes: dict[str, int], batch: int) -> Form:
    if form != "textbook":
        keep_freed_memory()
    generator, inputs = build(sizes, batch)
    if form == "textbook":
        plain(generator)
        return lambda: paint(generator, inputs, "fp32").numpy()
    folded = for_inference(generator)
    ready = torch.compile(folded) if form == "ours, compiled" else folded
    return lambda: paint(ready, inputs, "bf16").numpy()


def check(sizes: dict[str, int], batch: int = 2) -> None:
    """Folded and not, the textbook's and ours: the same pictures to 1e-9 in float64."""
    generator, inputs = build(sizes, batch, torch.float64)
    expected = paint(plain(copy.deepcopy(generator)), inputs, "fp32")
    for mine in (generator, for_inference(generator)):
        torch.testing.assert_close(paint(mine, inputs, "fp32"), expected, rtol=0, atol=1e-9)


def main() -> None:
    options = parser(__doc__, rounds=15)
    options.add_argument("--batch", type=int, default=8, help="pictures at a time; 8 unless told")
    args = options.parse_args()
    sizes = TINY if args.tiny else FULL
    check(TINY)
    with workers(prepare, FORMS, sizes, args.batch) as (pictures, timers):
        for form in FORMS[1:]:
            assert abs(pictures[form] - pictures["textbook"]).mean() < 0.03, form
        times = in_turn(timers, args.rounds)
    protocol = {"batch": args.batch, "pixels": 256, "words": WORDS, "rounds": args.rounds}
    report("generation", protocol, {"256 px": times}, write=not args.tiny, pictures=args.batch)


if __name__ == "__main__":
    main()
