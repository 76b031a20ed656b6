"""Draw the pictures of real birds: `python -m recipes.real_gallery --data datasets/cub --network FILE`.

Captions are those that `evaluate.py --samples 200` measures. What is chosen is chosen by DAMSM's score and
says so: the best of eight seeds, and the worst of all for the failures.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from core.errors import Parser, UserError, run_cli
from core.files import make_folder
from core.model_registry import PAINTERS, REAL_DAMSM
from evaluation.batches import collect
from evaluation.evaluator import Evaluator
from evaluation.options import parse_options
from recipes.common import DOCS, save
from visualization import grids
from visualization.attention import attention_grid

if TYPE_CHECKING:
    from torch import Tensor

    from evaluation.pairs import Pairs
    from t2i.encoders.damsm import Damsm

SHOWN, SEEDS, NEAREST = 16, 8, 3
LOOKED_AT = 13  # of the shown: a bird of two colours
SOUGHT = 200  # pairs among which the failures are


def main() -> int:
    p = Parser(prog="python -m recipes.real_gallery", description="Draw the README's pictures of real birds.")
    p.add_argument("--data", type=Path, required=True, help="CUB in StackGAN's layout")
    p.add_argument(
        "--network", type=Path, required=True, help="weights of the network that neighbours are near in"
    )
    p.add_argument("--model", type=Path, default=PAINTERS["real"])
    p.add_argument("--encoder", type=Path, default=REAL_DAMSM)
    p.add_argument(
        "--attngan", type=Path, help="model folder of an AttnGAN, to be drawn too with its attention"
    )
    given = p.parse(None)
    import torch

    evaluated = {name: value for name, value in vars(given).items() if name != "attngan"}
    words = [f"--{name}={value}" for name, value in evaluated.items()]
    options = parse_options(["--metric", "fid", f"--samples={SOUGHT}", *words])
    evaluator = Evaluator(options, torch.device("cpu"))
    encoder, pairs = evaluator.encoder, evaluator.pairs()
    first = pairs.only(range(SHOWN))
    make_folder(DOCS)
    with torch.inference_mode():
        generated = torch.cat(list(evaluator.generated_images(pairs)))
        real = torch.cat(list(evaluator.real_images(first)))
        both = list(zip(generated[:SHOWN].numpy(), real.numpy(), strict=True))
        note = f"the first {SHOWN} of {SOUGHT} test captions drawn at random: generated, and their photographs below"
        save(grids.captioned(both, first.texts, note), "real_samples.jpg")

        best = [[best_of(evaluator, first, row).numpy()] for row in range(SHOWN)]
        note = f"the same captions, the best of {SEEDS} seeds by DAMSM's score"
        save(grids.captioned(best, first.texts, note), "real_best.jpg")

        parts = [slice(i, i + SEEDS) for i in range(0, SOUGHT, SEEDS)]  # a part's pairs fit into memory
        found = np.concatenate([scores(encoder, generated[part], pairs.texts[part]) for part in parts])
        worst = np.argsort(found)[:8]
        note = f"the eight of {SOUGHT} pairs that DAMSM scores lowest"
        stacks = [[generated[i].numpy()] for i in worst]
        save(grids.captioned(stacks, [pairs.texts[i] for i in worst], note, columns=4), "real_failures.jpg")

        save(neighbours(evaluator, pairs, generated), "real_neighbours.jpg")
        if given.attngan:
            draw_attngan(first, given.attngan)
    return 0


def scores(encoder: "Damsm", images: "Tensor", texts: list[str]) -> np.ndarray:
    """How well each picture (N, 3, s, s) fits its own text, (N,): the sum of DAMSM's word and sentence scores."""
    from t2i.encoders.damsm import sentence_scores, word_scores

    (regions, image), text, config = (
        encoder.encode_images(images),
        encoder.encode(texts),
        encoder.config,
    )
    both = word_scores(regions, text, config.gamma1, config.gamma2) + sentence_scores(image, text.sentence)
    return both.diagonal().numpy()


def best_of(evaluator: Evaluator, pairs: "Pairs", row: int) -> "Tensor":
    """Of the seeds 0 to 7 the picture (3, s, s) that scores highest for the text of one pair."""
    tries = replace(pairs.only([row] * SEEDS), noise=list(range(SEEDS)))
    images = evaluator.generator.generate(tries, slice(None))
    return images[scores(evaluator.encoder, images, tries.texts).argmax()]


def draw_attngan(first: "Pairs", folder: Path) -> None:
    """What AttnGAN paints for the first captions, and where it looked for the words of one."""
    from pipeline import load_painter

    painting = load_painter(folder).paint(first.texts, first.noise)
    if not painting.attention:
        raise UserError(
            f"{folder} attends to no words; give --attngan a painter of that family, with two stages"
        )
    images = painting.images[-1].numpy()
    note = "the same captions, painted by AttnGAN"
    save(grids.captioned([[image] for image in images], first.texts, note), "real_attngan.jpg")
    words, text = painting.tokens[LOOKED_AT], first.texts[LOOKED_AT]
    maps = painting.attention[-1][LOOKED_AT, : len(words)].numpy()
    note = "AttnGAN, from 64 to 128 px"
    save(attention_grid(images[LOOKED_AT], maps, words, f"“{text}”", note), "real_attention.jpg")


def neighbours(evaluator: Evaluator, pairs: "Pairs", generated: "Tensor") -> Image.Image:
    """Generated pictures with the nearest training photographs, and how near test photographs are to these."""
    from metrics.vectors import squared_distances

    extractor = evaluator.extractor
    train = evaluator.captioned("train", pairs.real.size)
    known = evaluator.real_features(train, extractor)
    test = evaluator.real_features(pairs.real, extractor)[pairs.indices]
    own = collect(extractor.function, generated.split(evaluator.options.batch))
    apart = [np.sqrt(squared_distances(some, known)) for some in (own, test)]
    medians = [float(np.median(distances.min(axis=1))) for distances in apart]
    stacks: list[list[Any]] = []
    for row in range(8):
        near = np.argsort(apart[0][row])[:NEAREST]
        photographs = train.batch(near.tolist(), None).float().numpy() / 127.5 - 1
        stacks.append([generated[row].numpy(), *photographs])
    note = (
        f"generated above, the {NEAREST} nearest training photographs below; median distance to the nearest: "
        f"generated {medians[0]:.2f}, test photographs {medians[1]:.2f}"
    )
    print(note)
    return grids.captioned(stacks, [""] * len(stacks), note)


if __name__ == "__main__":
    run_cli(main)
