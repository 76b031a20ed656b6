"""Errors and time of the recogniser's ways to decode: `python -m benchmarks.decoding --speech FOLDER:SPLIT`.

Greedy, beam, and beam with the language model, on the same clips; with --weights, --word-bonus and --phone-weight also
every combination of these, to choose them on a validation split. The real-time factor is the processor time of the
whole recogniser, from samples to text, by the length of the clips, each alone: on one thread, that of an idle machine;
what else runs on it does not count. The encoder's part is the same in every row.
"""

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from asr.audio import SAMPLE_RATE
from asr.recognizer import Recognizer
from benchmarks.common import RESULTS, cores, shuffled_clips, speech_parser
from core.files import write_json
from core.model_registry import find_folder
from metrics.wer import word_error_rate


class Weights(NamedTuple):
    """Of the search: the recogniser's settings of the same names."""

    language_model_weight: float
    word_bonus: float
    phone_weight: float


def weights(recognizer: Recognizer) -> Weights:
    return Weights(*(getattr(recognizer, name) for name in Weights._fields))


def set_weights(recognizer: Recognizer, chosen: Weights) -> None:
    for name, value in chosen._asdict().items():
        setattr(recognizer, name, value)


def parser() -> argparse.ArgumentParser:
    options = speech_parser(__doc__, "decoding")
    add = options.add_argument
    add("--language-model", default="auto", help="a file, or auto for the recogniser's own")
    add("--threads", type=int, default=1)
    add("--weights", default="", help="of the language model, with commas")
    add("--word-bonus", default="", help="nats a word, with commas")
    add("--phone-weight", default="", help="of the phones in the search of a lexicon, with commas")
    return options


def measure(
    recognizer: Recognizer, clips: Sequence[np.ndarray], texts: Sequence[str], beam: int
) -> dict[str, float]:
    """Word error rate in %, its interval, and the real-time factor of clips (S,) at 16 kHz."""
    start = time.process_time()
    heard = [recognizer.transcribe_batch([clip], beam)[0] for clip in clips]
    seconds = time.process_time() - start
    wer = word_error_rate(texts, heard)
    low, high, _ = wer.interval
    length = sum(map(len, clips)) / SAMPLE_RATE
    return {
        "wer": round(100 * wer.value, 2),
        "low": round(100 * low, 2),
        "high": round(100 * high, 2),
        "real_time_factor": round(seconds / length, 4),
    }


def rows(
    recognizer: Recognizer,
    clips: Sequence[np.ndarray],
    texts: Sequence[str],
    beam: int,
    settings: Sequence[Weights] = (),
) -> list[dict[str, Any]]:
    """The table: greedy, beam, with the recogniser's language model where it has one, and with each of the settings."""
    model, own = recognizer.language_model, weights(recognizer)
    measure(recognizer, clips[:1], texts[:1], beam)  # the first call is slow
    found = [{"decoding": "greedy"} | measure(recognizer, clips, texts, 0)]
    recognizer.language_model = None
    found.append({"decoding": f"beam {beam}"} | measure(recognizer, clips, texts, beam))
    recognizer.language_model = model
    for chosen in [own, *settings] if model else []:
        set_weights(recognizer, chosen)
        name = f"beam {beam}, language model {chosen.language_model_weight:g}, word {chosen.word_bonus:g}"
        if recognizer.reader:
            name += f", phones {chosen.phone_weight:g}"
        found.append({"decoding": name} | measure(recognizer, clips, texts, beam))
    set_weights(recognizer, own)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    folder, _, split = args.speech.rpartition(":")
    clips, texts = (part[: args.clips] for part in shuffled_clips(args.speech, args.cache))
    recognizer = Recognizer.load(find_folder(args.recognizer), language_model=args.language_model)
    own = weights(recognizer)
    given = [[float(part) for part in words.split(",") if part]
             for words in (args.weights, args.word_bonus, args.phone_weight)]  # fmt: skip
    grid = [
        Weights(*some) for some in itertools.product(*(g or [o] for g, o in zip(given, own, strict=True)))
    ]
    table = rows(recognizer, clips, texts, args.beam, grid if any(given) else [])
    for row in table:
        print(
            f"{row['decoding']:50} WER {row['wer']:6.2f} % ({row['low']:.1f} to {row['high']:.1f})   "
            f"real-time factor {row['real_time_factor']:.4f}"
        )
    if args.write:
        seconds = round(sum(map(len, clips)) / SAMPLE_RATE)
        protocol = {"speech": Path(folder).name, "split": split, "clips": len(clips), "seconds": seconds,
                    "recognizer": recognizer.checksum, "threads": args.threads}  # fmt: skip
        machine = {"cores": cores(), "torch": torch.__version__}
        result = {"benchmark": "decoding", "machine": machine, "protocol": protocol, "results": table}
        write_json(RESULTS / "decoding.json", result)


if __name__ == "__main__":
    main()
