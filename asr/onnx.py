"""A recogniser as one ONNX network: sound in, log probabilities of CTC's tokens and of phones out."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asr.audio import SAMPLE_RATE
from asr.features import HOP, SMALLEST_POWER, WINDOW, clip_normalised
from asr.language_model import FILE as LANGUAGE_MODEL
from asr.language_model import save_language_model
from asr.lexicon import FILE as LEXICON
from asr.lexicon import PHONES
from asr.recognizer import SEARCH_SETTINGS, Recognizer
from core.errors import UserError
from core.onnx import write_onnx

LONGEST = 60  # seconds


class RecognizerGraph(nn.Module):
    """Front end, encoder and heads for one clip. The spectrum is a product with a matrix of sines and cosines, which
    every runtime has."""

    sines: Tensor
    filters: Tensor

    def __init__(self, recognizer: Recognizer):
        """Raises UserError for features that are normalised while they come, frame by frame."""
        super().__init__()
        front_end = recognizer.front_end
        if front_end.normalisation != "clip":
            raise UserError(
                "its features are normalised frame by frame, which a graph cannot hold; recognisers with "
                "model.normalisation=clip are exported"
            )
        self.encoder, self.heads = recognizer.model.encoder, nn.ModuleList(recognizer.model.frame_heads)
        angles = torch.arange(WINDOW)[:, None] * torch.arange(WINDOW // 2 + 1) * (2 * math.pi / WINDOW)
        window = front_end.window.cpu().double()[:, None]
        self.register_buffer("sines", torch.cat([window * angles.cos(), window * angles.sin()], 1).float())
        self.register_buffer("filters", front_end.filters.cpu())

    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        """samples (1, S) at 16 kHz in [-1, 1], S at least a window of 400 -> log probabilities (1, T', V) of tokens,
        and, where the network tells them, (1, frames * T', P) of phones."""
        frames = samples.unfold(1, WINDOW, HOP)  # (1, T, WINDOW)
        real, imaginary = (frames @ self.sines).chunk(2, dim=2)
        log = (
            ((real.square() + imaginary.square()) @ self.filters).clamp(min=SMALLEST_POWER).log()
        )  # (1, T, 80)
        is_pad = torch.zeros_like(log[..., 0], dtype=torch.bool)
        memory, _ = self.encoder(clip_normalised(log, is_pad), is_pad)
        return tuple(head(memory).log_softmax(dim=2) for head in self.heads)


def export_recognizer(recognizer: Recognizer, path: Path) -> dict[str, Any]:
    """Write `path`, and beside it the lexicon and the language model where the recogniser has them -> what whoever runs
    it must know. Raises UserError as `RecognizerGraph` and `write_onnx` do."""
    graph = RecognizerGraph(recognizer)
    dynamic = {"samples": {1: torch.export.Dim("samples", min=SAMPLE_RATE // 10, max=LONGEST * SAMPLE_RATE)}}
    outputs = ["log_probabilities", "phone_log_probabilities"][: len(graph.heads)]
    write_onnx(graph, {"samples": torch.randn(1, 2 * SAMPLE_RATE + 123) / 10}, outputs, dynamic, path)
    return {
        "kind": "recognizer",
        "tokens": ["", *recognizer.tokenizer.as_json()[1:]],
        "sample_rate": SAMPLE_RATE,
        "end_silence": recognizer.end_silence or 0.0,
        "frame_seconds": recognizer.frame_seconds,
        "sha256": recognizer.checksum,
    } | export_words(recognizer, path.parent)


def export_words(recognizer: Recognizer, folder: Path) -> dict[str, Any]:
    """Write what words are found with -> the settings of the search; nothing of a recogniser that spells its words."""
    head, lexicon, model = recognizer.model.to_phones, recognizer.lexicon, recognizer.language_model
    if head is None or lexicon is None or model is None:
        return {}
    lexicon.save(folder / LEXICON)
    save_language_model(model, folder / LANGUAGE_MODEL)
    return {
        "phones": {"names": PHONES, "frames": head.frames, "log_prior": head.log_prior.tolist()},
        "search": {name: getattr(recognizer, name) for name in SEARCH_SETTINGS},
        "confidence": recognizer.calibration.as_json() if recognizer.calibration else None,
    }
