"""What a recogniser returns, and what is expected of one: ours (`asr.recognizer`) and others (`asr.recognizers`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from asr.audio import LONGEST, QUIET, SAMPLE_RATE, Sound, as_samples
from asr.confidence import joined
from asr.features import WINDOW
from asr.pauses import Piece, loudness, split
from asr.voice_activity import Activity


@dataclass(frozen=True)
class Word:
    text: str
    start: float  # seconds from the recording's beginning
    end: float
    confidence: float  # 0 to 1


@dataclass(frozen=True)
class Transcript:
    text: str  # lower case; "" where no speech was heard
    words: list[Word] = field(default_factory=list)
    confidence: float = 0.0  # 0 to 1, the geometric mean over characters
    seconds: float = 0.0  # the recording's length
    loudest: float = 0.0  # RMS of its loudest 25 ms, 0 to 1

    @property
    def no_speech(self) -> bool:
        return not self.text

    @property
    def too_quiet(self) -> bool:
        """There is sound, but all of it is below the level that is listened to."""
        return 0.0 < self.loudest < QUIET

    @property
    def why_nothing(self) -> str:
        """Why no speech was heard, and what to do; "" where some was."""
        if self.text:
            return ""
        if self.too_quiet:
            level, least = (20 * np.log10(value) for value in (self.loudest, QUIET))
            return (
                f"too quiet: its loudest part is at {level:.0f} dB of full scale, {least:.0f} dB is needed; "
                "speak closer to the microphone, or raise its level"
            )
        return "no speech heard; record a sentence"


class SpeechRecognizer(Protocol):
    """What the pipeline, the evaluation and a stream need of a recogniser.

    beam: the hypotheses kept; 0 is a greedy search; a recogniser without a beam pays no heed to it.
    """

    @property
    def checksum(self) -> str:
        """SHA-256 of its weights."""
        ...

    @property
    def activity(self) -> Callable[[], Activity]:
        """Makes what finds speech in one recording; where there is none, no text may be invented."""
        ...

    @property
    def partial_beam(self) -> int:
        """Of the texts while somebody speaks, which have to be quick."""
        ...

    def transcribe(self, sound: Sound, beam: int = ..., max_seconds: float = LONGEST) -> Transcript:
        """Hear a recording of at most `max_seconds`; see `asr.audio.as_samples`. Raises UserError where it cannot be
        read."""
        ...

    def transcribe_batch(self, clips: list[np.ndarray], beam: int = ...) -> list[str]:
        """The texts of many clips (S,) at 16 kHz, in their order."""
        ...

    def transcribe_piece(self, samples: np.ndarray, start: float, beam: int) -> Transcript:
        """Decode samples (S,) at 16 kHz, a piece of a recording that begins at `start` seconds."""
        ...


def transcribe_in_pieces(
    recognizer: SpeechRecognizer, sound: Sound, beam: int, max_seconds: float = LONGEST
) -> Transcript:
    """`SpeechRecognizer.transcribe`: only what holds speech is decoded, in pieces between its pauses."""
    samples = as_samples(sound, max_seconds)
    pieces = [
        recognizer.transcribe_piece(samples[first:last], first / SAMPLE_RATE, beam)
        for first, last in speech_pieces(samples, recognizer.activity())
    ]
    return join_pieces(pieces, len(samples) / SAMPLE_RATE, float(loudness(samples).max()))


def speech_pieces(samples: np.ndarray, activity: Activity) -> list[Piece]:
    """First and last sample of what holds speech."""
    return [(first, last) for first, last in split(samples, activity) if is_audible(samples[first:last])]


def is_audible(piece: np.ndarray) -> bool:
    """Whether samples (S,) are long and loud enough to be decoded."""
    return len(piece) >= WINDOW and float(loudness(piece).max()) >= QUIET


def join_pieces(pieces: Sequence[Transcript], seconds: float, loudest: float) -> Transcript:
    """The transcript of a recording of `seconds` from those of its pieces; the confidence is a mean over characters."""
    pieces = [piece for piece in pieces if piece.text]
    text = " ".join(piece.text for piece in pieces)
    if not text:
        return Transcript("", seconds=seconds, loudest=loudest)
    confidence = joined([piece.confidence for piece in pieces], [len(piece.text) for piece in pieces])
    return Transcript(text, [word for piece in pieces for word in piece.words], confidence, seconds, loudest)
