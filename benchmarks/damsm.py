"""DAMSM's word and sentence loss, all pairs at once against a loop over the captions: `python -m benchmarks.damsm`.

Forward and backward of both losses at the paper's sizes, in one process with our setting of the allocator, so the
ratio is that of the form alone. The loop is the authors' algorithm: one caption without its padding, against all
pictures, in their order of axes. Before the timing both forms' losses and gradients must be equal to 1e-5 of their norm
in float32, and to a tenth of it in bfloat16.
"""

from functools import partial

import torch
from torch import Tensor

from benchmarks.common import cores, in_turn, parser, report, timer
from core.precision import autocast
from core.runtime import set_up
from t2i.encoders.base import TextFeatures
from t2i.encoders.damsm import DamsmConfig, damsm_loss, matching_loss

FULL = {"batch": 48, "regions": 289, "words": 18, "embedding": 256}
TINY = {"batch": 6, "regions": 16, "words": 7, "embedding": 16}
CPU = torch.device("cpu")


def loop_word_scores(regions: Tensor, text: TextFeatures, gamma1: float, gamma2: float) -> Tensor:
    """R(Q, D), Eq. (7) to (10), one caption after the other: regions (B, R, E), words (B, L, E) -> (B, B).

    Features have their places last, (B, E, R) and (B, E, T), as in the authors' code, which sets the order of the axes
    right again round every product and softmax.
    """
    B, R, E = regions.shape
    maps = regions.transpose(1, 2).contiguous()  # (B, E, R), as the image encoder's convolution leaves them
    scores = []
    for caption, is_pad in zip(text.words.transpose(1, 2), text.is_pad, strict=True):
        T = int((~is_pad).sum())
        words = caption[:, :T].repeat(B, 1, 1)  # (B, E, T)
        over_words = torch.bmm(maps.transpose(1, 2).contiguous(), words).view(B * R, T).softmax(1)
        over_words = over_words.view(B, R, T).transpose(1, 2).contiguous().view(B * T, R)
        over_regions = (gamma1 * over_words).softmax(1).view(B, T, R).transpose(1, 2).contiguous()
        context = torch.bmm(maps, over_regions)  # (B, E, T)
        relevance = cosine(
            words.transpose(1, 2).contiguous().view(B * T, E),
            context.transpose(1, 2).contiguous().view(B * T, E),
        )
        scores.append((gamma2 * relevance).view(B, T).exp().sum(1).log())  # (B,)
    return torch.stack(scores, 1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """a, b (N, E) -> (N,), the product of the norms clamped."""
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-8)


def loop_sentence_scores(image: Tensor, sentence: Tensor) -> Tensor:
    """Cosine of every picture's feature (B, E) with every sentence's (B, E) -> (B, B), the norms' product clamped."""
    norms = image.norm(dim=1, keepdim=True) @ sentence.norm(dim=1, keepdim=True).T
    return image @ sentence.T / norms.clamp(min=1e-8)


def loop_damsm_loss(
    regions: Tensor, image: Tensor, text: TextFeatures, class_ids: Tensor, config: DamsmConfig
) -> tuple[Tensor, Tensor]:
    """(word loss, sentence loss) as `t2i.damsm.damsm_loss` has them, in the authors' way."""
    words = config.gamma3 * loop_word_scores(regions, text, config.gamma1, config.gamma2)
    sentences = config.gamma3 * loop_sentence_scores(image, text.sentence)
    return matching_loss(words, class_ids), matching_loss(sentences, class_ids)


def draw(batch: int, regions: int, words: int, embedding: int, dtype: torch.dtype = torch.float32) -> tuple:
    """Features of a batch that all take gradients, the captions of different lengths, two pictures of one class."""
    numbers = torch.Generator().manual_seed(0)
    shapes = (
        (batch, regions, embedding),
        (batch, embedding),
        (batch, words, embedding),
        (batch, embedding),
    )
    features = [torch.randn(*shape, generator=numbers, dtype=dtype).requires_grad_() for shape in shapes]
    lengths = torch.randint(words // 2, words + 1, (batch,), generator=numbers).sort(descending=True).values
    lengths[0] = words
    is_pad = torch.arange(words) >= lengths[:, None]
    class_ids = torch.arange(batch).clamp(min=1)
    return (*features, is_pad, class_ids)


def losses_and_gradients(form: str, inputs: tuple, precision: str = "fp32") -> list[Tensor]:
    """Word loss, sentence loss and their sum's gradients by all features."""
    regions, image, words, sentence, is_pad, class_ids = inputs
    loss = loop_damsm_loss if form == "loop" else damsm_loss
    with autocast(CPU, precision):
        both = loss(regions, image, TextFeatures(words, is_pad, sentence), class_ids, DamsmConfig())
    return [*both, *torch.autograd.grad(sum(both), (regions, image, words, sentence))]


def check(sizes: dict[str, int]) -> None:
    """Losses and gradients are the loop's to 1e-5 of their norm in float32, and to a tenth of it in bfloat16."""
    inputs = draw(**sizes)
    loop = losses_and_gradients("loop", inputs)
    for precision, tolerance in (("fp32", 1e-5), ("bf16", 0.1)):
        for mine, exact in zip(losses_and_gradients("batched", inputs, precision), loop, strict=True):
            assert (mine - exact).norm() < tolerance * exact.norm()


def main() -> None:
    options = parser(__doc__, rounds=15).parse_args()
    sizes = TINY if options.tiny else FULL
    set_up(cores(), "cpu")
    check(sizes)
    inputs = draw(**sizes)
    forms = {
        "loop, fp32": ("loop", "fp32"),
        "batched, fp32": ("batched", "fp32"),
        "batched, bf16": ("batched", "bf16"),
    }
    timers = {
        name: timer(partial(losses_and_gradients, form, inputs, precision))
        for name, (form, precision) in forms.items()
    }
    in_turn(timers, 2)  # the first calls are slow
    times = in_turn(timers, options.rounds)
    report(
        "damsm",
        sizes | {"rounds": options.rounds},
        {f"{sizes['batch']} pairs": times},
        write=not options.tiny,
    )


if __name__ == "__main__":
    main()
