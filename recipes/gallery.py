"""Draw the pictures of the README from the released models: `python -m recipes.gallery`.

Nothing is chosen by hand: sentences and seeds stand below, the unselected samples are the first pairs that
`evaluate.py` measures, and the failures are those of its pairs that the part classifier reads worst.
"""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core.errors import Parser, run_cli
from core.files import make_folder
from recipes.common import DOCS, save
from visualization import grids
from visualization.attention import attention_grid
from visualization.canvas import sheet

if TYPE_CHECKING:
    from evaluation.pairs import Pairs
    from pipeline import SpeechToImage

CLIP = DOCS.parent / "samples" / "red_crown.ogg"
WORDS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
CHANGED = (  # sentence, and the part that changes
    ("a red bird with a white breast and an orange beak", "body"),
    ("a white bird with red wings and a black head", "wings"),
    ("a brown bird with a red belly and a yellow bill", "belly"),
)
SEED = 5


def main() -> int:
    Parser(
        prog="python -m recipes.gallery", description="Draw the README's pictures of painted birds."
    ).parse(None)
    from pipeline import SpeechToImage

    make_folder(DOCS)
    bird = SpeechToImage.load()
    heard = bird.hear(CLIP)
    painting = bird.paint(heard.text, range(8))
    images, words = [stage.numpy() for stage in painting.images], painting.tokens[0]
    note = f"heard in {CLIP.name}, seeds 0-7, unselected"
    save(world(), "world.jpg")
    save(grids.grid(images[-1], f"“{heard.text}”", note), "birds.jpg")
    save(grids.stages([stage[:6] for stage in images], range(6), f"“{heard.text}”"), "stages.jpg")
    maps = painting.attention[-1][0].numpy()[: len(words)]
    save(attention_grid(images[-1][0], maps, words, f"“{heard.text}”", "seed 0"), "attention.jpg")
    save(changed_words(bird), "words.jpg")
    pairs, generated, real, named, read = measured_pairs()
    both = list(zip(generated[:16], real[:16], strict=True))
    note = "generated above, real below: the first 16 pairs that are measured"
    save(grids.captioned(both, pairs.texts[:16], note), "samples.jpg")
    save(failures(pairs, generated, named, read), "failures.jpg")
    return 0


def world() -> Image.Image:
    """Rendered birds of unseen species, as they are drawn."""
    from data.painted_birds.drawing import draw
    from data.painted_birds.scene import HEIGHT, WIDTH, make_scene
    from data.painted_birds.species import species_list

    _, species = species_list(0, 1, 24)
    page, _ = sheet(6 * WIDTH, 4 * HEIGHT)
    for i, colours in enumerate(species):
        picture, _ = draw(colours, make_scene(0, 1, i, 0))
        page.paste(picture, (i % 6 * WIDTH, i // 6 * HEIGHT))
    return page


def changed_words(bird: "SpeechToImage") -> Image.Image:
    """One colour word changed along each row, everything else and the seed kept."""
    from data.painted_birds.grammar import swap_colour

    rows = [
        [bird.paint(str(swap_colour(sentence, part, word)), [SEED]).images[-1][0].numpy() for word in WORDS]
        for sentence, part in CHANGED
    ]
    labels = [sentence.replace("red", "…") for sentence, _ in CHANGED]
    return grids.table(rows, labels, WORDS, f"one word changed along a row, seed {SEED} throughout")


def measured_pairs() -> "tuple[Pairs, np.ndarray, np.ndarray, list[dict[str, str]], list[dict[str, str]]]":
    """The pairs that `evaluate.py --metric part_colours` measures: generated and real pictures (N, 3, s, s), what
    the captions name and what the classifier reads in the generated ones."""
    import torch

    from data.painted_birds.grammar import named_colours
    from evaluation.evaluator import Evaluator
    from evaluation.measures.part_colours import colours_read
    from evaluation.options import parse_options

    evaluator = Evaluator(parse_options(["--metric", "part_colours"]), torch.device("cpu"))
    classifier, pairs = evaluator.part_classifier, evaluator.pairs()
    with torch.inference_mode():
        generated = list(evaluator.generated_images(pairs))
        real = [batch.numpy() for batch in evaluator.real_images(pairs.only(range(16)))]
        ids = np.concatenate([colours_read(evaluator).function(batch).numpy() for batch in generated])
    images = np.concatenate([batch.numpy() for batch in generated])
    read = [dict(zip(classifier.parts, [classifier.colours[i] for i in row], strict=True)) for row in ids]
    return pairs, images, np.concatenate(real), [named_colours(caption) for caption in pairs.captions], read


def failures(pairs: "Pairs", generated: np.ndarray, named: list[dict], read: list[dict]) -> Image.Image:
    """The pairs with the most named parts that are read as another colour, and what is read."""
    wrong = [
        [part for part in truth if seen[part] != truth[part]] for truth, seen in zip(named, read, strict=True)
    ]
    worst = sorted(range(len(wrong)), key=lambda i: (-len(wrong[i]), i))[:8]
    captions = [
        f"{pairs.texts[i].rstrip('.')}. Read: {', '.join(f'{read[i][part]} {part}' for part in wrong[i])}"
        for i in worst
    ]
    note = f"the eight of {len(pairs)} pairs with the most colours read wrong"
    return grids.captioned([[generated[i]] for i in worst], captions, note, columns=4)


if __name__ == "__main__":
    run_cli(main)
