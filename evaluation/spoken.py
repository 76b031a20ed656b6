"""Captions spoken by an engine of `data.synthesis`, and clips as the recogniser hears them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UserError, suggest

if TYPE_CHECKING:
    import numpy as np

    from asr.transcript import SpeechRecognizer
    from data.synthesis.spoken import Clip

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


def check_voices(kind: str) -> None:
    """Raises UserError where `kind` is no --voices: "training" or "unheard" ones of espeak-ng, or another engine, whose
    voices that are never trained on are meant."""
    from data.synthesis.engines import NEVER_TRAINED

    engines = [name for name, kept in NEVER_TRAINED.items() if kept and name != "espeak"]
    kinds = ("training", "unheard", *engines)
    if kind not in kinds:
        raise UserError(
            f'no --voices "{kind}"{suggest(kind, kinds)}: they are training or unheard, both of espeak-ng, or those '
            f"never trained on of {', '.join(engines)}"
        )


def speak(
    captions: Sequence[str], kind: str, seed: int, root: Path, cache: Path
) -> tuple[list["np.ndarray"], str]:
    """Captions in voices of a kind, see `check_voices`: clips (S,) float32 at 16 kHz, and what the protocol says of the
    voices.

    Voice and tempo are drawn by (seed, index of the caption). root: the folder of data sets, where voices that are
    files lie; cache: where clips of engines but espeak-ng, which is quicker than reading them, are kept. Raises
    UserError where an engine or a voice is not there.
    """
    if kind in ("training", "unheard"):
        voices, told = espeak_voices(kind)
        return [speak_by_espeak(caption, voices, seed, i) for i, caption in enumerate(captions)], told
    from asr.audio import load_audio
    from data.synthesis.engines import NEVER_TRAINED
    from data.synthesis.spoken import ensure_clips

    voices = NEVER_TRAINED[kind]
    clips = [clip_of(caption, kind, voices, seed, i) for i, caption in enumerate(captions)]
    files = ensure_clips(cache / "spoken" / kind, clips, root)
    told = f"{len(voices)} of {kind}, never trained on: {', '.join(voices)}"
    return [load_audio(file) for file in files], told


def clip_of(caption: str, engine: str, voices: Sequence[str], seed: int, index: int) -> "Clip":
    """A caption in a voice and tempo drawn by (seed, index). Its id is a checksum of all that decides its samples."""
    import numpy as np

    from data.packed import fingerprint
    from data.synthesis.options import USUAL_TEMPO
    from data.synthesis.spoken import VERSION, Clip

    rng = np.random.default_rng([seed, index, 2])
    voice = voices[int(rng.integers(len(voices)))]
    tempo = round(float(rng.uniform(*USUAL_TEMPO)), 3)
    clip = Clip("", engine, voice, caption, tempo, pitch=1.0, silence=(0.1, 0.1), gain=0.6)
    return replace(clip, id=fingerprint(VERSION, asdict(clip))[:16])


def speak_by_espeak(caption: str, voices: Sequence[str], seed: int, index: int) -> "np.ndarray":
    """A caption in a voice, tempo and pitch drawn by (seed, index): samples (S,) float32 at 16 kHz."""
    import numpy as np

    from asr.audio import resample
    from data.painted_birds.voices import PITCHES, RATES, Clip, record

    rng = np.random.default_rng([seed, index, 2])
    voice = voices[int(rng.integers(len(voices)))]
    clip = Clip(caption, voice, rng.uniform(*RATES), rng.uniform(*PITCHES), silence=(0.1, 0.1), gain=0.6)
    samples, rate = record(clip)
    return resample(samples.astype(np.float32) / 32768, rate)


def espeak_voices(kind: str) -> tuple[tuple[str, ...], str]:
    """espeak-ng's voices of a kind, "training" or "unheard", and what the protocol says of them."""
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
    root: Path,
    cache: Path,
) -> tuple[list[str], dict[str, Any]]:
    """What the recogniser hears when the captions are spoken as `speak` does, and how that was done."""
    from metrics.wer import word_error_rate

    clips, told = speak(captions, kind, seed, root, cache)
    heard = hear(clips, recognizer, beam, progress)
    return heard, {
        "voices": told,
        "beam": beam,
        "word error rate of the transcripts": word_error_rate(captions, heard, seed).value,
    }
