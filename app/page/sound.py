"""What a recording looks like: its spectrogram, with each word below its time."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from app.hearing import DOUBTFUL_WORD
from app.page.actions import as_png
from app.page.listening import LONGEST

if TYPE_CHECKING:
    from asr.transcript import Transcript, Word

MOST_TOLD = 60  # words of the text that stands for the picture


class Sound(NamedTuple):
    """mel: (80, T), see `pipeline.spectrogram`; ours: whether the confidences are those of our recogniser."""

    mel: np.ndarray
    seconds: float
    words: "list[Word]"
    ours: bool = True


def sound_of(sound: Any, transcript: "Transcript", ours: bool = True) -> Sound:
    """sound: as `asr.audio.as_samples` takes it. Small enough to be kept until its picture is asked for."""
    from asr.audio import as_samples
    from pipeline import spectrogram

    mel = spectrogram(as_samples(sound, LONGEST + 1))
    return Sound(mel.astype(np.float16), transcript.seconds, transcript.words, ours)


def draw(sound: Sound) -> bytes:
    """A PNG; doubtful words of our recogniser in another colour."""
    from asr.features import HIGHEST_HERTZ, LOWEST_HERTZ
    from visualization.spectrogram import Span, spectrogram_page

    words = [
        Span(word.text, word.start, word.end, not sound.ours or word.confidence >= DOUBTFUL_WORD)
        for word in sound.words
    ]
    mel = sound.mel.astype(np.float32)
    page = spectrogram_page(mel, sound.seconds, words, band=(LOWEST_HERTZ, HIGHEST_HERTZ))
    facts = {"Software": "saybird", "text": " ".join(word.text for word in sound.words)}
    return as_png(page, facts)


def told(sound: Sound) -> str:
    """The picture in words."""
    times = ", ".join(f"{word.text} {word.start:.1f} to {word.end:.1f}" for word in sound.words[:MOST_TOLD])
    more = ", and more" if len(sound.words) > MOST_TOLD else ""
    return f"Spectrogram of {sound.seconds:.1f} seconds. Each word with its seconds: {times}{more}."
