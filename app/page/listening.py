"""The visitors' microphones: blocks of sound in, the text so far out, and at the end what a whole recording says."""

import base64
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from app.page.models import Models
from asr.audio import LOWEST_RATE, RATES, SAMPLE_RATE
from core.errors import UserError

if TYPE_CHECKING:
    from asr.streaming import Partial, StreamingRecognizer
    from asr.transcript import Transcript

LONGEST = 60.0  # seconds that are listened to; what is said after that is not heard
MOST_BLOCK = 4 << 20  # letters of a block in base64
MOST_SPEAKERS = 32  # whose recordings are kept; the one that spoke last drops out last
LONGEST_ID = 64  # letters


class Listening:
    """A recording that is being made.

    `feed` never waits for a model, so that a busy one delays the text and loses no sound: a thread decodes what has
    come.
    """

    def __init__(self, models: Models, recognizer: str = "") -> None:
        """recognizer: its name, "" for the first of `models`."""
        self.models, self.recognizer = models, recognizer
        self.rate, self.seconds = 0, 0.0
        self.heard: list[np.ndarray] = []  # (S,) int16 each, all that came
        self.blocks: list[np.ndarray] = []  # those that wait to be decoded
        self.partial: Partial | None = None
        self._stream: StreamingRecognizer | None = None
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._failure: Exception | None = None

    @property
    def sound(self) -> tuple[int, np.ndarray]:
        """The rate in Hz and all samples (S,) int16, as `asr.audio.as_samples` takes them."""
        return self.rate or SAMPLE_RATE, np.concatenate([np.zeros(0, np.int16), *self.heard])

    @property
    def is_full(self) -> bool:
        return self.seconds >= LONGEST

    def feed(self, rate: int, samples: np.ndarray) -> "Partial | None":
        """The next samples (S,) int16 at `rate` Hz -> the text so far, None before any. Raises what the decoding of
        earlier ones raised."""
        with self._lock:
            if len(samples) and not self.is_full and rate == (self.rate or rate):
                self.rate = rate
                self.heard.append(samples)
                self.blocks.append(samples)
                self.seconds += len(samples) / rate
            if self._worker is None and self.blocks:
                self._worker = threading.Thread(target=self._decode, daemon=True)
                self._worker.start()
        self._complain()
        return self.partial

    def finish(self) -> "Transcript":
        """What was said; the recording ends. Raises what its decoding raised."""
        from asr.transcript import Transcript

        with self.models.usage.count("speak"):
            while (worker := self._worker) is not None:
                worker.join()
            self._complain()
            with self.models.turn():
                return self._stream.finish() if self._stream is not None else Transcript("")

    def _decode(self) -> None:
        """Decode until nothing is left."""
        from asr.streaming import StreamingRecognizer

        while True:
            with self._lock:
                waiting, self.blocks = self.blocks, []
                if not waiting or self._failure:
                    self._worker = None
                    return
            try:
                with self.models.turn():
                    if self._stream is None:
                        recognizer = self.models.hearing(self.recognizer).recognizer
                        self._stream = StreamingRecognizer(recognizer, self.rate)  # type: ignore[arg-type]
                    self.partial = self._stream.feed(np.concatenate(waiting))
            except Exception as error:  # told to the visitor by the next `feed` or `finish`
                self._failure = error

    def _complain(self) -> None:
        if self._failure is not None:
            raise self._failure


class Speakers:
    """The recordings that are being made, by a name that only the browser that made it up knows."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self._there: OrderedDict[str, Listening] = OrderedDict()
        self._lock = threading.Lock()

    def feed(self, data: Any) -> Listening:
        """A block as `read_block` takes it, with an `id` -> whose recording it is."""
        rate, samples = read_block(data)
        name = data.get("id")
        if not isinstance(name, str) or not 16 <= len(name) <= LONGEST_ID:
            raise UserError("the recording has no name; reload the page")
        with self._lock:
            if name not in self._there:
                while len(self._there) >= MOST_SPEAKERS:
                    self._there.popitem(last=False)
                self._there[name] = Listening(self.models, str(data.get("recognizer") or ""))
            self._there.move_to_end(name)
            one = self._there[name]
        one.feed(rate, samples)
        return one

    def take(self, name: Any) -> Listening:
        """The recording of a name, which is forgotten then; an empty one where there is none."""
        with self._lock:
            return self._there.pop(str(name), None) or Listening(self.models)


def read_block(data: Any) -> tuple[int, np.ndarray]:
    """What a browser sends, {"rate": Hz, "pcm": base64 of little-endian int16} -> the rate and samples (S,) int16.

    Raises UserError for anything else.
    """
    rate, pcm = (data.get("rate"), data.get("pcm")) if isinstance(data, dict) else (None, None)
    if not isinstance(pcm, str) or len(pcm) > MOST_BLOCK:
        raise UserError("the microphone sent no sound; reload the page, or upload a recording")
    if not isinstance(rate, int | float) or not LOWEST_RATE <= rate <= RATES[1]:
        raise UserError(
            f"the microphone works at {str(rate)[:20]} Hz, {LOWEST_RATE} to {RATES[1]} Hz can be heard"
        )
    try:
        content = base64.b64decode(pcm, validate=True)
    except ValueError as error:
        raise UserError("the microphone sent no sound; reload the page, or upload a recording") from error
    return int(rate), np.frombuffer(content, "<i2", len(content) // 2)
