"""Draw the pipeline from one spoken sentence, docs/pipeline.jpg: `python -m recipes.pipeline_figure`.

Above: the spectrogram with the words that were recognised. Below: the stages of the generator and the attention of the
words that name a colour. The clip is the one that the README starts with, the seed 0.
"""

import numpy as np
from PIL import Image

from core.errors import Parser, run_cli
from data.painted_birds.grammar import COLOURS
from recipes.common import save
from recipes.gallery import CLIP
from visualization.attention import overlay
from visualization.canvas import GAP, INK, MARGIN, paste, sheet, to_image
from visualization.spectrogram import Span, spectrogram_page
from visualization.text import font

WIDE = 20  # px between the stages and the attention


def main() -> int:
    Parser(prog="python -m recipes.pipeline_figure", description="Draw docs/pipeline.jpg.").parse(None)
    from asr.audio import load_audio
    from pipeline import SpeechToImage, spectrogram

    bird, sound = SpeechToImage.load(), load_audio(CLIP)
    heard = bird.hear(sound)
    samples = bird.paint(heard.text, [0])
    words = [Span(word.text, word.start, word.end) for word in heard.words]
    above = spectrogram_page(spectrogram(sound), heard.seconds, words)
    maps = samples.attention[-1][0].numpy()
    coloured = {word: maps[i] for i, word in enumerate(samples.tokens[0]) if word in COLOURS}
    below = stages_and_attention([stage[0].numpy() for stage in samples.images], coloured, above.width)
    page, _ = sheet(above.width, above.height + below.height)
    page.paste(above, (0, 0))
    page.paste(below, (0, above.height))
    save(page, "pipeline.jpg")
    return 0


def stages_and_attention(stages: list[np.ndarray], maps: dict[str, np.ndarray], width: int) -> Image.Image:
    """Stages (3, s, s) in [-1, 1] and, by word, maps (m, m) over the last of them: a row of panels with titles."""
    panels = [(f"{stage.shape[-1]} px", to_image(stage)) for stage in stages]
    panels += [(f"“{word}”", overlay(to_image(stages[-1]), of)) for word, of in maps.items()]
    inside = width - 2 * MARGIN - WIDE
    side = (inside - GAP * (len(panels) - 1)) // len(panels)
    page, pen = sheet(width, side + 44 + MARGIN)
    for i, (title, panel) in enumerate(panels):
        x = MARGIN + i * (side + GAP) + (WIDE if i >= len(stages) else 0)
        resample = Image.Resampling.NEAREST if panel.width < side // 2 else Image.Resampling.BICUBIC
        paste(page, panel.resize((side, side), resample), x, 0, side)
        pen.text((x + side / 2, side + 8), title, INK, font(19), anchor="ma")
    return page


if __name__ == "__main__":
    run_cli(main)
