"""What each trainer shows in TensorBoard, read back from its files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_recognizer import configured

from asr.layers import CrossAttention
from asr.recognizer import Recognizer
from training import asr
from training.asr_board import decoder_attention, transcript_table
from training.config import RunConfig
from visualization.alignment import alignment_page


def read(run: Path) -> EventAccumulator:
    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"tensors": 0, "scalars": 0, "audio": 0})
    board.Reload()
    return board


def rates(board: EventAccumulator, name: str) -> list[float]:
    return [event.value for event in board.Scalars(f"learning_rate/{name}")]


def texts(board: EventAccumulator, name: str) -> list[str]:
    return [event.tensor_proto.string_val[0].decode() for event in board.Tensors(f"{name}/text_summary")]


def settings(folder: Path, **changes) -> RunConfig:
    given = {"name": "a", "root": str(folder), "steps": 2, "log_every": 1, "sample_every": 1, "threads": 1}
    return RunConfig(**given | {"device": "cpu", "precision": "fp32"} | changes)


# ---- train_asr ----


def test_the_recogniser_shows_rates_transcripts_sound_and_attention(tmp_path: Path):
    asr.train(configured(tmp_path / "LJ", run=settings(tmp_path), lr=1e-3))
    board = read(tmp_path / "a")
    assert rates(board, "recognizer") == pytest.approx([0.5e-3, 1e-3])
    tables = texts(board, "validation/transcripts")
    assert len(tables) == 2 and all("| LJ001-0008 | the tail is grey |" in table for table in tables)
    audio = board.Tags()["audio"]
    assert sorted(audio) == ["validation/LJ001-0008", "validation/LJ001-0009"]
    assert [len(board.Audio(tag)) for tag in audio] == [1, 1]  # once a run, not at every validation
    assert len(board.Images("attention")) == 2
    assert (tmp_path / "a" / "samples" / "attention_000002.png").is_file()

    recognizer = Recognizer.load(tmp_path / "a" / "model")
    clip = np.random.default_rng(0).standard_normal(8000).astype(np.float32) / 10
    pieces, weights = decoder_attention(recognizer, clip, "A red bird")
    assert "".join(pieces) == "a red bird"
    assert weights.shape == (10, 12)  # 48 windows of 10 ms fit into 0.5 s, four to a frame of the encoder
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(10))


def test_the_weights_shown_are_those_attended_with():
    torch.manual_seed(0)
    layer = CrossAttention(8, 2)
    x, memory, is_pad = (
        torch.randn(2, 3, 8),
        torch.randn(2, 5, 8),
        torch.arange(5) >= torch.tensor([[5], [3]]),
    )
    key, value = layer.project(memory)
    weights = layer.weights(x, key, is_pad[:, None, None])
    assert weights.shape == (2, 2, 3, 5) and not weights[1, :, :, 3:].any()
    again = layer.to_out((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x, key, value, is_pad[:, None, None]), again)


def test_a_table_of_transcripts():
    table = transcript_table(["a", "b"], ["a red bird", "..."], ["a | bird", ""]).splitlines()
    assert table[2:] == ["| a | a red bird | a \\| bird | 33 % |", "| b | ... | – | – |"]


@pytest.mark.parametrize("count", [1, 10, 3000])
def test_a_page_of_any_number_of_characters(count):
    page = alignment_page(np.zeros((count, 7), np.float32), ["a"] * count, 2.0, "caption")
    assert page.width == alignment_page(np.ones((1, 1)), [" "], 0.1).width and page.height < 7000
    with pytest.raises(ValueError, match="at least one"):
        alignment_page(np.zeros((0, 7)), [], 2.0)
