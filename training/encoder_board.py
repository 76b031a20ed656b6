"""What TensorBoard shows of a text encoder that trains with images: which regions its words attend to."""

import math

import numpy as np
import torch

from data.captioned_images import CaptionedImages
from data.sampling import to_unit
from t2i.encoders.base import ConditionEncoder
from training.board import as_tensor
from training.run import Run
from visualization.attention import attention_grid
from visualization.canvas import stack

PAIRS = 3


@torch.inference_mode()
def show_attention(
    run: Run, step: int, model: ConditionEncoder, images: CaptionedImages, count: int = PAIRS
) -> None:
    """Show how much of each region every word takes, of `count` pairs spread evenly over the set; nothing for an
    encoder whose words attend to none."""
    chosen = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)).tolist()
    captions, pictures = [images.captions[i][0] for i in chosen], to_unit(images.batch(chosen, None))
    model.eval()
    attention = model.word_attention(pictures.to(next(model.parameters()).device), captions)  # (B, L, R)
    if attention is None:
        return
    side = math.isqrt(attention.shape[2])
    maps = attention.unflatten(2, (side, side)).float().cpu().numpy()
    pages = []
    for picture, of_words, caption in zip(pictures.numpy(), maps, captions, strict=True):
        words = model.known(caption)
        pages.append(attention_grid(picture, of_words[: len(words)], words, caption))
    run.image(step, "attention", as_tensor(stack(pages)))
