"""Whether a recogniser hears the same words whatever surrounds them: `python -m benchmarks.listening --speech ...`.

Each clip is heard alone, in batches of 16, with 10 s of silence behind it, and streamed in blocks of 100 ms: how many
texts are those of the clip alone, and the word error rate. Then clips with pauses between them are heard as one
recording of ten minutes, whole and streamed: its word error rate beside that of the same clips alone, and by how much
the process grew.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.audio import SAMPLE_RATE
from asr.recognizer import Recognizer
from asr.streaming import StreamingRecognizer
from benchmarks.common import RESULTS, cores, shuffled_clips, speech_parser
from core.files import write_json
from core.model_registry import find_folder
from core.runtime import memory_mb
from metrics.wer import word_error_rate

BATCH = 16
BLOCK = SAMPLE_RATE // 10  # samples of 100 ms
SILENCE = 10 * SAMPLE_RATE
PAUSE = (0.6, 1.2)  # seconds between the clips of a long recording


def parser() -> argparse.ArgumentParser:
    options = speech_parser(__doc__, "listening")
    options.add_argument("--minutes", type=float, default=10.0, help="of the long recording")
    return options


def streamed(recognizer: Recognizer, samples: np.ndarray, beam: int) -> str:
    listener = StreamingRecognizer(recognizer, beam=beam)
    for start in range(0, len(samples), BLOCK):
        listener.feed(samples[start : start + BLOCK])
    return listener.finish().text


def circumstances(
    recognizer: Recognizer, clips: Sequence[np.ndarray], beam: int
) -> Iterator[tuple[str, list[str]]]:
    """How the clips (S,) at 16 kHz are heard, and the texts."""
    yield "alone", [recognizer.transcribe(clip, beam).text for clip in clips]
    yield (
        f"in batches of {BATCH}",
        [
            text
            for first in range(0, len(clips), BATCH)
            for text in recognizer.transcribe_batch(
                list(clips[first : first + BATCH]), beam, batch_seconds=1e9
            )
        ],
    )
    padded = (np.pad(clip, (0, SILENCE)) for clip in clips)
    yield "10 s of silence behind", [recognizer.transcribe(clip, beam).text for clip in padded]
    yield "streamed, 100 ms", [streamed(recognizer, clip, beam) for clip in clips]


def percent(texts: Sequence[str], heard: Sequence[str]) -> float:
    return round(100 * word_error_rate(texts, heard).value, 2)


def by_circumstances(
    recognizer: Recognizer, clips: Sequence[np.ndarray], texts: Sequence[str], beam: int
) -> list[dict[str, Any]]:
    rows, alone = [], list(texts)
    for name, heard in circumstances(recognizer, clips, beam):
        alone = alone if rows else heard
        same = sum(one == other for one, other in zip(heard, alone, strict=True))
        rows.append({"heard": name, "clips": len(clips), "same_text": same, "wer": percent(texts, heard)})
    return rows


def joined(clips: Sequence[np.ndarray], seconds: float) -> tuple[np.ndarray, int]:
    """A recording (S,) of at most `seconds` of clips with pauses between them, and how many they are."""
    rng = np.random.default_rng(0)
    parts: list[np.ndarray] = []
    for count, clip in enumerate(clips):
        pause = np.zeros(int(rng.uniform(*PAUSE) * SAMPLE_RATE), np.float32)
        if sum(map(len, parts)) + len(clip) + len(pause) > seconds * SAMPLE_RATE:
            return np.concatenate(parts), count
        parts += [clip, pause]
    return np.concatenate(parts), len(clips)


def long_recording(
    recognizer: Recognizer, clips: Sequence[np.ndarray], texts: Sequence[str], seconds: float, beam: int
) -> list[dict[str, Any]]:
    recording, count = joined(clips, seconds)
    said = [" ".join(texts[:count])]
    alone = " ".join(recognizer.transcribe(clip, beam).text for clip in clips[:count])
    rows = [{"heard": "clips alone", "seconds": round(len(recording) / SAMPLE_RATE), "clips": count,
             "wer": percent(said, [alone]), "megabytes": 0}]  # fmt: skip
    for name, hear in (("one recording", lambda: recognizer.transcribe(recording, beam).text),
                       ("one recording, streamed", lambda: streamed(recognizer, recording, beam))):  # fmt: skip
        before = memory_mb("VmHWM")
        heard = hear()
        rows.append(rows[0] | {"heard": name, "wer": percent(said, [heard]),
                               "megabytes": round(memory_mb("VmHWM") - before)})  # fmt: skip
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    torch.set_num_threads(1)
    folder, _, split = args.speech.rpartition(":")
    clips, texts = shuffled_clips(args.speech, args.cache)
    recognizer = Recognizer.load(find_folder(args.recognizer))
    rows = by_circumstances(recognizer, clips[: args.clips], texts[: args.clips], args.beam)
    for row in rows:
        print(f"{row['heard']:26} {row['same_text']:4} of {row['clips']} the same   WER {row['wer']:6.2f} %")
    long = long_recording(recognizer, clips, texts, 60 * args.minutes, args.beam)
    for row in long:
        print(f"{row['heard']:26} {row['seconds']} s   WER {row['wer']:6.2f} %   {row['megabytes']} MB more")
    if args.write:
        protocol = {"speech": Path(folder).name, "split": split, "beam": args.beam,
                    "recognizer": recognizer.checksum}  # fmt: skip
        machine = {"cores": cores(), "torch": torch.__version__}
        result = {"benchmark": "listening", "machine": machine, "protocol": protocol, "results": rows + long}
        write_json(RESULTS / "listening.json", result)


if __name__ == "__main__":
    main()
