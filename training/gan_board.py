"""What TensorBoard shows of a generator: images of fixed captions, the captions, and what their words attended to."""

import torch
from torchvision.utils import make_grid

from data.captioned_images import CaptionedImages
from t2i.painter import Painter
from training.board import as_tensor
from training.run import Run
from visualization.attention import attention_grid
from visualization.canvas import stack

COUNT, COLUMNS = 16, 8
ATTENTION = 2  # of the images, whose attention is shown as well


def show_samples(run: Run, step: int, painter: Painter, birds: CaptionedImages, count: int = COUNT) -> None:
    """Show the painter's images of `count` captions of the set, the same with the same seeds at every call: a grid,
    the attention maps of its first images where the family has any, and once a run the captions."""
    chosen = range(0, len(birds), max(len(birds) // count, 1))[:count]
    captions = [birds.captions[i][0] for i in chosen]
    samples = painter.paint(captions, range(len(captions)))
    images = samples.images[-1].float().cpu()
    grid = make_grid(images, nrow=COLUMNS, normalize=True, value_range=(-1, 1))
    run.image(step, "grid", (grid * 255).round().to(torch.uint8))
    if step < run.settings.sample_every:
        lines = [f"{i}. {caption}" for i, caption in enumerate(captions, start=1)]
        run.text(step, "grid/captions", f"From left to right, {COLUMNS} a row:\n\n" + "\n".join(lines))
    if samples.attention:
        maps = samples.attention[-1].float().cpu().numpy()  # (B, L, s, s) of the last stage that attends
        pages = [
            attention_grid(images[i].numpy(), maps[i, : len(words)], words, captions[i])
            for i, words in enumerate(samples.tokens[:ATTENTION])
        ]
        run.image(step, "attention", as_tensor(stack(pages)))
