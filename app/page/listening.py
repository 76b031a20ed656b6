"""One visitor's microphone: chunks in, the text so far out, and at the end what the whole recording says."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.page.models import Models
from asr.microphone import read_chunk

if TYPE_CHECKING:
    from asr.streaming import Partial, StreamingRecognizer
    from asr.transcript import Transcript

LONGEST = 60.0  # seconds that are listened to; what is said after that is not heard


class Listening:
    """A recording that is being made.

    `feed` never waits for a model: a browser holds back what is said meanwhile, and throws it away when the visitor
    presses stop. A thread decodes what has come. The last chunk may come after `finish`, for it goes its own way.
    """

    def __init__(self, models: Models) -> None:
        from asr.transcript import Transcript

        self.models, self.transcript = models, Transcript("")
        self.rate, self.seconds = 0, 0.0
        self.blocks: list[np.ndarray] = []  # (S, channels) each, all that has come
        self.partial: Partial | None = None
        self.is_done = False  # the visitor pressed stop
        self._decoded = 0  # blocks
        self._stream: StreamingRecognizer | None = None
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._failure: Exception | None = None

    @property
    def is_full(self) -> bool:
        return self.seconds >= LONGEST

    def feed(self, content: bytes) -> "Partial | None":
        """The next chunk -> the text so far, None before any. Raises UserError as `read_chunk` does, and what the
        decoding of earlier chunks raised."""
        rate, samples = read_chunk(content)
        with self._lock:
            if len(samples) and not self.is_full and rate == (self.rate or rate):
                self.rate = rate
                self.blocks.append(samples)
                self.seconds += len(samples) / rate
            if self._worker is None and self._decoded < len(self.blocks):
                self._worker = threading.Thread(target=self._decode, daemon=True)
                self._worker.start()
        self._complain()
        return self.partial

    def finish(self) -> "Transcript":
        """What was said, of all that has come until now. Raises what its decoding raised."""
        while (worker := self._worker) is not None:
            worker.join()
        self._complain()
        with self.models.turn():
            if self._stream is not None:
                self.transcript, self._stream, self.is_done = self._stream.finish(), None, True
        return self.transcript

    def _decode(self) -> None:
        """Decode until nothing is left."""
        from asr.streaming import StreamingRecognizer

        while True:
            with self._lock:
                count = len(self.blocks)
                if count == self._decoded or self._failure:
                    self._worker = None
                    return
            try:
                with self.models.turn():
                    if self._stream is None:  # at the beginning, or after the end: then all of it anew
                        recognizer = self.models.hearing().recognizer
                        self._stream = StreamingRecognizer(recognizer, self.rate)  # type: ignore[arg-type]
                        self._decoded = 0
                    self.partial = self._stream.feed(np.concatenate(self.blocks[self._decoded : count]))
                self._decoded = count
            except Exception as error:  # told to the visitor by the next `feed` or `finish`
                self._failure = error

    def sound(self) -> tuple[int, np.ndarray]:
        """The whole recording: rate in Hz and samples (S, channels)."""
        return self.rate, np.concatenate(self.blocks) if self.blocks else np.zeros((0, 1), np.int16)

    def _complain(self) -> None:
        if self._failure is not None:
            raise self._failure


def take(path: Path | str) -> bytes:
    """A chunk's content; its file is removed. b"" where another visitor's chunk of the same content, which has the same
    name, was removed just before: that is silence."""
    path = Path(path)
    try:
        content = path.read_bytes()
        path.unlink()
    except FileNotFoundError:
        return b""
    return content
