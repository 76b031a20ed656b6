"""Captions spoken by espeak-ng, and clips as the recogniser hears them."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from asr.transcript import SpeechRecognizer

CLIPS_AT_ONCE = 64


def hear(
    clips: "Sequence[np.ndarray]",
    recognizer: "SpeechRecognizer",
    beam: int,
    progress: Callable[..., Iterable[int]],
) -> list[str]:
    """Clips (S,) at 16 kHz -> transcripts, in their order."""
    heard: list[str] = []
    for start in progress(range(0, len(clips), CLIPS_AT_ONCE), "hearing", len(clips), CLIPS_AT_ONCE):
        heard += recognizer.transcribe_batch(list(clips[start : start + CLIPS_AT_ONCE]), beam=beam)
    return heard


def speak(caption: str, voices: Sequence[str], seed: int, index: int) -> "np.ndarray":
    """A caption in a voice, tempo and pitch drawn by (seed, index): samples (S,) float32 at 16 kHz."""
    import numpy as np

    from asr.audio import resample
    from data.painted_birds.voices import PITCHES, RATES, Clip, record

    rng = np.random.default_rng([seed, index, 2])
    voice = voices[int(rng.integers(len(voices)))]
    clip = Clip(caption, voice, rng.uniform(*RATES), rng.uniform(*PITCHES), silence=(0.1, 0.1), gain=0.6)
    samples, rate = record(clip)
    return resample(samples.astype(np.float32) / 32768, rate)


def voices_of(kind: str) -> tuple[tuple[str, ...], str]:
    """The voices of a kind, "training" or "unheard", and what the protocol says of them."""
    from data.painted_birds.voices import TEST_VOICES, TRAIN_VOICES

    if kind == "unheard":
        return TEST_VOICES, f"{len(TEST_VOICES)} of espeak-ng that the recogniser's training never used"
    return TRAIN_VOICES, f"{len(TRAIN_VOICES)} of espeak-ng, those of the recogniser's training"


def transcripts(
    captions: Sequence[str],
    kind: str,
    seed: int,
    beam: int,
    recognizer: "SpeechRecognizer",
    progress: Callable[..., Iterable[int]],
) -> tuple[list[str], dict[str, Any]]:
    """What the recogniser hears when the captions are spoken in voices of a kind, and how that was done."""
    from metrics.wer import word_error_rate

    voices, told = voices_of(kind)
    spoken = [speak(caption, voices, seed, i) for i, caption in enumerate(captions)]
    heard = hear(spoken, recognizer, beam, progress)
    return heard, {
        "voices": told,
        "beam": beam,
        "word error rate of the transcripts": word_error_rate(captions, heard, seed).value,
    }
