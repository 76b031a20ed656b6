"""Reads the colours of a bird's parts from a picture: the judge of painted birds, never their teacher."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from storage.model_folder import load_model, load_weights
from t2i.precision import at_least_float32


@dataclass
class PartClassifierConfig:
    parts: list[str] = field(default_factory=list)  # P names
    colours: list[str] = field(default_factory=list)  # K names
    width: int = 32  # channels of the first convolution
    size: int = 128  # side at which pictures are read, px


class PartClassifier(nn.Module):
    """Strided convolutions, one layer of features, a softmax over the colours for each part."""

    kind = "part_classifier"

    def __init__(self, config: PartClassifierConfig):
        super().__init__()
        self.config = config
        self.parts, self.colours, self.size = config.parts, config.colours, config.size
        channels = [3, config.width, 2 * config.width, 4 * config.width, 4 * config.width]
        layers: list[nn.Module] = []
        for inputs, outputs in zip(channels, channels[1:], strict=False):
            layers += [
                nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.trunk = nn.Sequential(*layers)
        cells = (config.size // 16) ** 2
        self.to_features = nn.Linear(channels[-1] * cells, 256)
        self.dropout = nn.Dropout(0.2)
        self.to_logits = nn.Linear(256, len(config.parts) * len(config.colours))
        self.checksum = "untrained"

    @classmethod
    def load(cls, folder: Path | str) -> "PartClassifier":
        """A trained classifier, in eval mode. Raises UserError as `load_model` does."""
        files = load_model(folder, cls.kind)
        model = cls(PartClassifierConfig(**files.config))
        load_weights(model, files.state, folder)
        model.checksum = files.checksum
        return model.eval().requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> penultimate features (B, 256)."""
        if images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        return at_least_float32(F.relu(self.to_features(self.trunk(images).flatten(1))))

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> logits (B, P, K)."""
        logits = self.to_logits(self.dropout(self.features(images)))
        return at_least_float32(logits).unflatten(1, (len(self.parts), len(self.colours)))

    def colour_ids(self, parts: Sequence[dict[str, str]]) -> Tensor:
        """Colour names by part of B birds -> (B, P) colour numbers, -1 where a part is not named."""
        number = {colour: index for index, colour in enumerate(self.colours)}
        return torch.tensor([[number[bird[p]] if p in bird else -1 for p in self.parts] for bird in parts])
