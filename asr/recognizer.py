"""Sound to transcript: the one object that a user of this room needs."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr.audio import HOP, QUIET, SAMPLE_RATE, WINDOW, LogMel, clean, load_audio, loudest_window, pad_samples
from asr.decode import align, beam_search, greedy_ctc
from asr.model import SUBSAMPLING, ModelConfig, SpeechTransformer
from asr.tokenizer import EDGE, CharacterTokenizer
from core.errors import UserError
from core.model_folder import load_model, load_weights, save_model

KIND = "recognizer"
FRAME_SECONDS = SUBSAMPLING * HOP / SAMPLE_RATE  # 0.04 s, an encoder frame
SHORTEST = WINDOW / SAMPLE_RATE  # seconds


@dataclass(frozen=True)
class Word:
    text: str
    start: float  # seconds from the clip's beginning
    end: float
    confidence: float  # 0 to 1


@dataclass(frozen=True)
class Transcript:
    text: str  # lower case; "" where no speech was heard
    words: list[Word] = field(default_factory=list)
    confidence: float = 0.0  # 0 to 1, the geometric mean over characters
    seconds: float = 0.0  # the clip's length

    @property
    def no_speech(self) -> bool:
        return not self.text


class Recognizer:
    """A trained recogniser in use.

    `heed_ctc` is CTC's weight in the search, between 0 (attention alone) and 1 (CTC alone).
    """

    def __init__(self, model: SpeechTransformer, tokenizer: CharacterTokenizer, heed_ctc: float = 0.3):
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.heed_ctc = heed_ctc
        self.front_end = LogMel().to(self.device)
        self.checksum = ""

    @property
    def device(self) -> torch.device:
        return self.model.to_ctc.weight.device

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> "Recognizer":
        """Read a model folder. Raises UserError where it holds something else or is damaged."""
        files = load_model(folder, KIND)
        tokenizer = CharacterTokenizer.from_json(files.vocabulary)
        config = dict(files.config)
        heed_ctc = config.pop("heed_ctc", 0.3)
        try:
            with one_thread():
                model = SpeechTransformer(ModelConfig(**config), len(tokenizer))
        except TypeError as error:
            raise UserError(
                f"{folder}/config.json does not describe a recogniser ({error}); restore it"
            ) from error
        load_weights(model, files.state, folder)
        recognizer = cls(model.to(device), tokenizer, heed_ctc)
        recognizer.checksum = files.checksum
        return recognizer

    def save(self, folder: Path | str, card: str, training: dict | None = None, half: bool = True) -> Path:
        """Write the model folder that `load` reads."""
        config = asdict(self.model.config) | {"heed_ctc": self.heed_ctc}
        return save_model(
            folder, KIND, self.model.state_dict(), config, card, self.tokenizer.as_json(), training, half
        )

    def transcribe(
        self, sound: Path | str | np.ndarray, beam: int = 8, max_seconds: float = 60.0
    ) -> Transcript:
        """Hear one sentence: a sound file, or samples (S,) at 16 kHz in [-1, 1] (int16 is converted).

        beam: the width of the joint search, or 0 for CTC's best path. Raises UserError where the file cannot be
        read (see `load_audio`) or the array is not one clip.
        """
        samples = load_audio(sound, max_seconds) if isinstance(sound, str | Path) else as_samples(sound)
        seconds = len(samples) / SAMPLE_RATE
        if not self._may_hold_speech(samples):
            return Transcript("", seconds=seconds)
        with one_thread():
            memory, ctc_logits, is_pad = self._encode([samples])
            tokens = self._search(memory, ctc_logits, is_pad, beam)[0]
            if not self.tokenizer.decode(tokens).strip():
                return Transcript("", seconds=seconds)
            return self._describe(tokens, memory, ctc_logits[0], is_pad, seconds)

    def transcribe_batch(
        self, clips: list[np.ndarray], beam: int = 8, batch_seconds: float = 120.0
    ) -> list[str]:
        """The texts of many clips (S,) at 16 kHz, in their order; clips of similar length share a batch."""
        clips = [as_samples(clip) for clip in clips]
        texts = [""] * len(clips)
        order = sorted(
            (i for i, clip in enumerate(clips) if self._may_hold_speech(clip)), key=lambda i: len(clips[i])
        )
        while order:
            longest = len(clips[order[-1]])
            count = max(int(batch_seconds * SAMPLE_RATE / longest), 1)
            chosen, order = order[-count:], order[:-count]
            memory, ctc_logits, is_pad = self._encode([clips[i] for i in chosen])
            for i, tokens in zip(chosen, self._search(memory, ctc_logits, is_pad, beam), strict=True):
                texts[i] = _one_space(self.tokenizer.decode(tokens))
        return texts

    @staticmethod
    def _may_hold_speech(samples: np.ndarray) -> bool:
        return len(samples) >= WINDOW and loudest_window(samples) >= QUIET

    @torch.no_grad()
    def _encode(self, clips: list[np.ndarray]) -> tuple[Tensor, Tensor, Tensor]:
        """B clips -> memory (B, T, E), CTC logits (B, T, V), is_pad (B, T)."""
        samples, lengths = (part.to(self.device) for part in pad_samples(clips))
        memory, is_pad = self.model.encoder(*self.front_end(samples, lengths))
        return memory, self.model.to_ctc(memory), is_pad

    def _search(self, memory: Tensor, ctc_logits: Tensor, is_pad: Tensor, beam: int) -> list[list[int]]:
        if beam <= 0:
            return greedy_ctc(ctc_logits, is_pad)
        found = beam_search(self.model.decoder, memory, ctc_logits, is_pad, beam, self.heed_ctc)
        return [hypothesis.tokens for hypothesis in found]

    @torch.no_grad()
    def _describe(
        self, tokens: list[int], memory: Tensor, ctc_logits: Tensor, is_pad: Tensor, seconds: float
    ) -> Transcript:
        """Times from CTC's alignment; confidence from both posteriors, weighted as in the search.

        memory (1, T, E), ctc_logits (T, V), is_pad (1, T) of one clip.
        """
        ctc = ctc_logits.float().log_softmax(dim=-1)  # (T, V)
        spans = align(ctc, tokens) or [(0, len(ctc) - 1)] * len(tokens)
        told = torch.tensor([[EDGE, *tokens]], device=self.device)
        attention = self.model.decoder(told, memory, is_pad)[0].float().log_softmax(dim=-1)  # (L + 1, V)
        scores = []
        for position, (token, (first, last)) in enumerate(zip(tokens, spans, strict=True)):
            heard = ctc[first : last + 1, token].max().item()
            scores.append(self.heed_ctc * heard + (1 - self.heed_ctc) * attention[position, token].item())
        words, begin = [], 0
        text = self.tokenizer.decode(tokens)
        for piece in text.split(" "):
            end = begin + len(piece)
            if piece:
                start_time, end_time = (
                    spans[begin][0] * FRAME_SECONDS,
                    (spans[end - 1][1] + 1) * FRAME_SECONDS,
                )
                confidence = float(np.exp(np.mean(scores[begin:end])))
                words.append(Word(piece, round(start_time, 3), round(min(end_time, seconds), 3), confidence))
            begin = end + 1
        return Transcript(_one_space(text), words, float(np.exp(np.mean(scores))), seconds)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One clip's products are too small to share: on a busy machine, threads that wait for each other took 50 times
    as long (2.7 s of processor time against 0.05 s for a sentence)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_samples(sound: np.ndarray) -> np.ndarray:
    """One clip as float32 (S,) in [-1, 1]. Raises UserError where it is not one."""
    sound = np.asarray(sound)
    if sound.ndim != 1:
        raise UserError(
            f"samples of shape {sound.shape} were given, (S,) at {SAMPLE_RATE} Hz, mono, was expected"
        )
    if sound.dtype == np.int16:
        return sound.astype(np.float32) / 32768
    if not np.issubdtype(sound.dtype, np.floating):
        raise UserError(f"samples of type {sound.dtype} were given, float in [-1, 1] or int16 was expected")
    return clean(sound.astype(np.float32))


def _one_space(text: str) -> str:
    return " ".join(text.split())
