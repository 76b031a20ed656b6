"""PocketSphinx 5 (Huggins-Daines et al. 2006) with the American English model of its package: a mark to compare with.

python evaluate.py --metric wer --speech LibriSpeech --split test-clean --recognizer pocketsphinx
"""

import hashlib
import re
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.audio import LONGEST, SAMPLE_RATE, Sound
from asr.recognizers.base import as_transcript
from asr.transcript import Transcript, Word, transcribe_in_pieces
from asr.voice_activity import Activity, VoiceActivity
from core.files import sha256


class SphinxRecognizer:
    """`SpeechRecognizer` by a decoder of PocketSphinx, which has no beam that a number of hypotheses would set."""

    partial_beam = 0

    def __init__(self, decoder: Any, model: Path, activity: Callable[[], Activity] = VoiceActivity) -> None:
        self.decoder, self.folder, self.activity = decoder, model, activity
        self._lock = threading.Lock()  # a decoder hears one piece at a time

    @cached_property
    def checksum(self) -> str:
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()

    def transcribe(self, sound: Sound, beam: int = 0, max_seconds: float = LONGEST) -> Transcript:
        return transcribe_in_pieces(self, sound, beam, max_seconds)

    def transcribe_batch(self, clips: list[np.ndarray], beam: int = 0) -> list[str]:
        return [self.transcribe(clip, beam).text for clip in clips]

    def transcribe_piece(self, samples: np.ndarray, start: float, beam: int) -> Transcript:
        pcm = (np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16).tobytes()
        with self._lock:
            self.decoder.start_stream()  # forgets the noise of what it heard before
            self.decoder.start_utt()
            self.decoder.process_raw(pcm, full_utt=True)
            self.decoder.end_utt()
            rate = self.decoder.config["frate"]  # frames a second
            words = [
                Word(spelling(s.word), s.start_frame / rate, (s.end_frame + 1) / rate, s.prob)
                for s in self.decoder.seg() or ()
            ]
        return as_transcript(words, start, len(samples) / SAMPLE_RATE)


def spelling(word: str) -> str:
    """A word of the dictionary without the number of its pronunciation, "the(2)"; "" for silence and noise."""
    return "" if word.startswith(("<", "[", "+")) else re.sub(r"\(\d+\)$", "", word)


def open_recognizer(which: str, device: torch.device) -> SphinxRecognizer:
    """The model of its package, on the processor."""
    import pocketsphinx

    # means of the whole piece, not those of what was heard before
    decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE, cmn="batch", loglevel="FATAL")
    return SphinxRecognizer(decoder, Path(pocketsphinx.get_model_path()) / "en-us")
