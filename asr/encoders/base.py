"""What an encoder is built from, and what it must do."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from core.errors import UserError
from core.fields import bounded, one_of


@dataclass
class ModelConfig:
    """The recogniser's architecture; saved with its weights."""

    encoder: str = "transformer"  # a name of asr.encoders.registry
    # of the features: over the whole clip, or running (see asr.features)
    normalisation: str = one_of("clip", ("clip", "running"))
    width: int = bounded(160, 2, 8192)  # E
    heads: int = bounded(4, 1, 256)
    encoder_layers: int = bounded(8, 1, 256)
    decoder_layers: int = bounded(2, 0, 256)  # 0 for CTC without an attention decoder
    feed_forward: int = bounded(640, 1, 65_536)
    kernel: int = bounded(15, 1, 999)  # encoder frames that a depthwise convolution sees; odd
    # of the Conformer's blocks those in the middle that see half as many frames (Kim et al. 2022, "Squeezeformer", 3.1)
    half_rate: int = bounded(0, 0, 256)
    phones: bool = False  # whether it also tells the phone of every 20 ms, for a search in a lexicon
    subsampling: int = one_of(4, (4, 8))  # frames of 10 ms that one of the encoder's covers
    subsampling_channels: int = bounded(
        32, 1, 1024
    )  # of the Conformer's convolutions over time and frequency
    dropout: float = bounded(0.1, 0.0, 0.99)


def check_sizes(config: ModelConfig, where: str = "") -> None:
    """Raises UserError where sizes do not fit each other: heads of even width, a kernel with a middle."""
    if config.width % (2 * config.heads):
        raise UserError(
            f"{where}width={config.width}, heads={config.heads}: the width must be a multiple of twice the heads"
        )
    if config.half_rate > max(config.encoder_layers - 2, 0):
        raise UserError(
            f"{where}half_rate={config.half_rate}, encoder_layers={config.encoder_layers}: the first block and the "
            "last see all frames; expected two blocks fewer at most"
        )
    if config.kernel % 2 == 0:
        raise UserError(f"{where}kernel={config.kernel}: an odd number was expected")


@runtime_checkable
class Encoder(Protocol):
    """An `nn.Module` built from a ModelConfig. Padding changes nothing in what it returns, in training neither.

    All its tensors are parameters or persistent buffers: it is built without values, which its saved state then gives.
    """

    subsampling: int  # frames of 10 ms that one of its frames covers: T' = ceil(T / subsampling)

    def __call__(self, features: Tensor, is_pad: Tensor) -> tuple[Tensor, Tensor]:
        """features (B, T, 80), is_pad (B, T) -> memory (B, T', E) with E = config.width, is_pad (B, T')."""
        ...


@runtime_checkable
class LayeredEncoder(Encoder, Protocol):
    """An encoder that shows what its layers make half-way, for intermediate CTC."""

    def with_middle(self, features: Tensor, is_pad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """features (B, T, 80), is_pad (B, T) -> memory (B, T', E), what the middle layer makes, normalised as the
        memory is (B, T', E), and is_pad (B, T')."""
        ...
