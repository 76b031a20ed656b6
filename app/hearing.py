"""A recording on the command line: read, recognised, and refused where it is too doubtful."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.console import Say, short
from app.options import STDIN, source_name
from asr.recognizers.registry import external
from core.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from asr.transcript import Transcript
    from pipeline import SpeechToImage

# Confidences of the released recogniser, which are calibrated: about so many of the words are right. Of 370 clips of
# people and voices that it never heard, those below 0.5 had 60 to 80 % of their words wrong, those above 0.8 4 to 15 %
# (docs/recognition.md). Other recognisers measure theirs in other ways: nothing is refused for them.
DOUBTFUL_WORD, REFUSED, DOUBTFUL = 0.5, 0.5, 0.75


def read_sound(path: Path) -> "np.ndarray":
    """A sound file, or standard input for "-", -> samples (S,) at 16 kHz. Raises UserError."""
    from asr.audio import load_audio

    try:
        if path == STDIN:
            return load_audio(sys.stdin.buffer)
        # samples/ are found from any folder, as weights/ are
        beside = Path(__file__).resolve().parents[1] / path
        return load_audio(beside if not path.exists() and path.parts[:1] == ("samples",) else path)
    except (OSError, ValueError) as error:  # no permission, a name that the system refuses, a disk that fails
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {str(path)[:100]}: {why}") from error


def hear(
    bird: "SpeechToImage", samples: "np.ndarray", args: argparse.Namespace, favoured: Sequence[str], say: Say
) -> "Transcript":
    """Recognise the recording of --speech and say what was heard. favoured: words that the search raises.

    Raises UserError where it is too doubtful.
    """
    from core.runtime import one_thread

    with one_thread():
        heard = bird.hear(samples, args.beam, favoured)
    if heard.no_speech:
        where = "standard input" if args.speech == STDIN else args.speech
        raise UserError(f"{where}: {heard.why_nothing}, or write a sentence: --text")
    marked = " ".join(
        word.text if word.confidence >= DOUBTFUL_WORD else f"{word.text}?({word.confidence:.2f})"
        for word in heard.words
    )
    say("heard", f"{marked}   (confidence {heard.confidence:.2f})")
    if any(word.confidence < DOUBTFUL_WORD for word in heard.words):
        say("", f"? marks words below {DOUBTFUL_WORD}: they may be something else")
    if external(getattr(args, "recognizer", None) or ""):
        return heard
    if heard.confidence < REFUSED and not args.anyway:
        raise UserError(
            f'{source_name(args)} was not understood: the nearest sentence is "{short(heard.text)}", confidence '
            f"{heard.confidence:.2f} of at least {REFUSED}. It knows read English and descriptions of birds best, e.g. "
            '"this bird has a red crown and black wings"; say it again, write it with --text, or add --anyway'
        )
    if heard.confidence < DOUBTFUL:
        say("warning", f"confidence {heard.confidence:.2f} is low: something else may have been said")
    return heard


def heard_json(heard: "Transcript", args: argparse.Namespace, checksum: str) -> dict[str, Any]:
    """What --json says of a recording; checksum: of the recogniser."""
    from dataclasses import asdict

    return {
        "source": source_name(args),
        "text": heard.text,
        "confidence": heard.confidence,
        "seconds": heard.seconds,
        "words": [asdict(word) for word in heard.words],
        "recognizer": {"sha256": checksum},
    }
