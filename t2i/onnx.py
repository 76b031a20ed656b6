"""A painter as one ONNX network: a caption's word numbers and noise in, the images of every stage out."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import UserError
from core.files import write_bytes
from core.onnx import write_onnx
from t2i.encoders.base import TextFeatures
from t2i.encoders.damsm import Damsm
from t2i.families.adversarial import draw_noise, noise_width
from t2i.painter import Painter

MOST_BIRDS = 64  # painted at once
SEEDS = 64  # whose noise is written too


class PainterGraph(nn.Module):
    """The text encoder and the generator in a row, for one caption and B birds."""

    def __init__(self, painter: Painter):
        """Raises UserError for an encoder that reads no words."""
        super().__init__()
        if not isinstance(painter.encoder, Damsm):
            raise UserError(
                f"its encoder is a {painter.encoder.kind}; painters that read words, with a damsm, are exported"
            )
        self.text_encoder, self.generator = painter.encoder.text_encoder, painter.generator
        self.widths = (noise_width(painter.config), painter.config.condition)

    def forward(self, words: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """words (1, L) int64; noise (B, Z + C), of the generator and of conditioning augmentation, from N(0, 1) ->
        the images (B, 3, s, s) of every stage, then the attention (B, L, s, s) of every attending stage."""
        B = noise.shape[0]
        features = self.text_encoder.encode_alone(words)
        text = TextFeatures(*(part.expand(B, *part.shape[1:]) for part in features))
        z, epsilon = noise.split(self.widths, dim=1)
        output = self.generator(z, epsilon, text)
        return (*output.images, *output.attention)


def export_painter(painter: Painter, path: Path) -> dict[str, Any]:
    """Write `path`, and beside it noise.bin, rows (SEEDS, Z + C) in float32 of the first seeds -> what whoever runs it
    must know. Raises UserError as `PainterGraph` and `write_onnx` do."""
    graph = PainterGraph(painter)
    noise = torch.cat(draw_noise(range(SEEDS), painter.config), dim=1)
    write_bytes(path.with_name("noise.bin"), noise.numpy().astype("<f4").tobytes())
    noise = noise[:3]
    words = torch.ones(1, 5, dtype=torch.long)
    with torch.no_grad():
        attending = len(graph(words, noise)) - len(painter.resolutions)
    outputs = [f"image{side}" for side in painter.resolutions]
    outputs += [f"attention{stage}" for stage in range(1, attending + 1)]
    dynamic = {
        "words": {1: torch.export.Dim("length", max=painter.encoder.max_words)},
        "noise": {0: torch.export.Dim("birds", max=MOST_BIRDS)},
    }
    write_onnx(graph, {"words": words, "noise": noise}, outputs, dynamic, path)
    return {
        "kind": painter.kind,
        "words": painter.encoder.vocabulary_words,
        "max_words": painter.encoder.max_words,
        "noise": noise.shape[1],
        "seeds": SEEDS,
        "sides": painter.resolutions,
        "outputs": outputs,
        "sha256": painter.checksum,
    }
