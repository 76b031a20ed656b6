"""A speech encoder of one's own, registered from outside: `python -m examples.asr_encoder_gru`.

Five steps on a few spoken captions show that it runs; it recognises nothing yet. In `asr/encoders/` it would be a file
like this one and a line in `asr/encoders/registry.py`, and then `train_asr.py model.encoder=gru` trains it.
"""

import torch
from torch import Tensor, nn

from asr.encoders.base import ModelConfig
from asr.encoders.registry import register
from asr.features import N_MELS


class GruEncoder(nn.Module):
    """Four neighbouring frames of 10 ms together, then a bidirectional GRU."""

    subsampling = 4  # T' = ceil(T / 4): an encoder frame is 40 ms

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.to_width = nn.Linear(4 * N_MELS, config.width)
        layers, half = config.encoder_layers, config.width // 2
        self.gru = nn.GRU(config.width, half, layers, batch_first=True, bidirectional=True)

    def forward(self, features: Tensor, is_pad: Tensor) -> tuple[Tensor, Tensor]:
        """features (B, T, 80), is_pad (B, T) -> memory (B, T', E), is_pad (B, T')."""
        missing = -features.shape[1] % 4
        features = nn.functional.pad(features.masked_fill(is_pad[..., None], 0.0), (0, 0, 0, missing))
        x = torch.relu(self.to_width(features.unflatten(1, (-1, 4)).flatten(2)))  # (B, T', E)
        is_pad = is_pad[:, ::4]  # (B, T')
        lengths = (~is_pad).sum(dim=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        x, _ = nn.utils.rnn.pad_packed_sequence(
            self.gru(packed)[0], batch_first=True, total_length=x.shape[1]
        )
        return x, is_pad


register("gru", GruEncoder)


def main() -> None:
    from asr.recognizer import Recognizer
    from data.prepare import ensure_spoken_captions
    from training.asr import RunConfig, SpeechData, TrainAsr, train

    few = {"train": 48, "val": 4, "test": 4, "test_voices": 4}
    root = str(ensure_spoken_captions("runs/example_speech", settings=few))
    model = ModelConfig(encoder="gru", width=64, encoder_layers=2, decoder_layers=1, feed_forward=128)
    run = RunConfig(name="example_gru", steps=5)
    train(
        TrainAsr(
            SpeechData(root=root, cache=f"{root}/cache"), model, batch_seconds=24, warmup=1, beam=0, run=run
        )
    )
    print(repr(Recognizer.load("runs/example_gru/model").transcribe("samples/blue_bird.ogg").text))


if __name__ == "__main__":
    main()
