"""A speaker, live: blocks of sound in, the text so far out; at the end exactly what the whole recording would give."""

from typing import NamedTuple

import numpy as np

from asr.audio import SAMPLE_RATE, as_channels, as_float, check_rate, mix, rate_change
from asr.pauses import LEVEL_STEP, Segmenter, loudness
from asr.recognizer import BEAM
from asr.transcript import SpeechRecognizer, Transcript, is_audible, join_pieces

INTERVAL = 0.4  # seconds of sound from one decoding of what is being said to the next
SHARE = 0.05  # of what is being said that has to be new, so that a long sentence does not take all the time
SETTLED = 0.5  # seconds that a word lies back before two decodings can agree on it


class Partial(NamedTuple):
    """What was heard so far."""

    stable: str  # of finished sentences, for good, and words of the present one on which two decodings agree
    tentative: str  # the words after that, which may still change


class StreamingResampler:
    """`asr.audio.resample` of a stream: the same samples, whatever blocks it comes in."""

    def __init__(self, rate: int) -> None:
        """Raises UserError for a rate in Hz that cannot be resampled."""
        check_rate(rate)
        self.up, self.down, self._filter = rate_change(rate)
        self._context = -(
            -(len(self._filter) // 2) // self.up
        )  # samples of the input on either side of an output
        self._sound = np.zeros(0, np.float32)  # the input from `_first`, a multiple of `down`
        self._first = 0
        self._made = 0  # outputs so far

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """The next samples (S,) -> those at 16 kHz that they complete (N,), N >= 0."""
        self._sound = np.concatenate([self._sound, samples.astype(np.float32)])
        return self._up_to((self._first + len(self._sound) - self._context) * self.up // self.down)

    def finish(self) -> np.ndarray:
        """The rest (N,); the stream ends."""
        return self._up_to(-(-(self._first + len(self._sound)) * self.up // self.down))

    def _up_to(self, count: int) -> np.ndarray:
        """Make the outputs before `count`."""
        if count <= self._made:
            return np.zeros(0, np.float32)
        if self.up == self.down:
            made = self._sound[self._made - self._first : count - self._first]
        else:
            from scipy.signal import resample_poly  # late: it takes a quarter of a second

            offset = self._first * self.up // self.down
            made = resample_poly(self._sound, self.up, self.down, window=self._filter)
            made = made[self._made - offset : count - offset].astype(np.float32, copy=False)
        self._made = count
        unused = max(count * self.down // self.up - self._context - self._first, 0) // self.down * self.down
        self._first, self._sound = self._first + unused, self._sound[unused:]
        return made


class StreamingRecognizer:
    """One speaker, live.

        listener = StreamingRecognizer(Recognizer.load(folder), rate=48_000)
        for block in microphone:  # of any size
            stable, tentative = listener.feed(block)
        transcript = listener.finish()

    `finish` returns what `Recognizer.transcribe` does for the whole recording, and of a recording only the piece that
    is being spoken is kept. Until then that piece is decoded anew every INTERVAL seconds, by CTC's best path or with a
    narrow beam; words that two decodings in a row agree on, and that lie SETTLED seconds back, are stable (local
    agreement: Machacek et al., "Turning Whisper into Real-Time Transcription System", 2023). The last decoding may
    still revise words of the present sentence. Of floating-point samples beyond 1 the excess is cut, where a recording
    as a whole is made quieter.
    """

    def __init__(self, recognizer: SpeechRecognizer, rate: int = SAMPLE_RATE, beam: int = BEAM) -> None:
        """beam: of the final texts. Raises UserError for a rate in Hz that cannot be resampled."""
        self.recognizer, self.beam = recognizer, beam
        self._resampler = StreamingResampler(rate)
        self._segmenter = Segmenter(recognizer.activity())
        self._sound = np.zeros(0, np.float32)  # at 16 kHz from sample `_first` on
        self._first = 0
        self._pieces: list[Transcript] = []  # finished
        self._loudest, self._unmeasured = 0.0, np.zeros(0, np.float32)
        self._decoded = 0  # the sample up to which the present piece was decoded last
        self._words: list[str] = []  # of that decoding
        self._agreed = 0  # how many of them are stable

    @property
    def seconds(self) -> float:
        """What has been heard so far, without what the resampler holds back."""
        return self._heard / SAMPLE_RATE

    @property
    def partial(self) -> Partial:
        """The text so far."""
        finished = [piece.text for piece in self._pieces if piece.text]
        stable, tentative = self._words[: self._agreed], self._words[self._agreed :]
        return Partial(" ".join([*finished, *stable]), " ".join(tentative))

    def feed(self, block: np.ndarray) -> Partial:
        """The next samples, (S,), (S, channels) or (channels, S), float in [-1, 1], int16, int32 or uint8.

        Raises UserError for others.
        """
        samples = np.nan_to_num(as_channels(as_float(np.asarray(block))), nan=0.0, posinf=0.0, neginf=0.0)
        self._take(self._resampler.feed(mix(samples.clip(-1.0, 1.0))))
        begin = self._segmenter.open
        if begin is not None and self._is_due(begin):
            self._look(begin)
        return self.partial

    def finish(self) -> Transcript:
        """The transcript of all that was fed; the stream ends."""
        self._take(self._resampler.finish())
        self._close(self._segmenter.finish())
        loudest = max(
            self._loudest, 0.0 if self._heard >= LEVEL_STEP else float(loudness(self._unmeasured)[0])
        )
        return join_pieces(self._pieces, self.seconds, loudest)

    @property
    def _heard(self) -> int:
        return self._first + len(self._sound)

    def _take(self, samples: np.ndarray) -> None:
        """The next samples (S,) at 16 kHz."""
        self._sound = np.concatenate([self._sound, samples])
        unmeasured = np.concatenate([self._unmeasured, samples])
        whole = len(unmeasured) // LEVEL_STEP * LEVEL_STEP
        if whole:
            self._loudest = max(self._loudest, float(loudness(unmeasured[:whole]).max()))
        self._unmeasured = unmeasured[whole:]
        self._close(self._segmenter.feed(samples))
        done = self._segmenter.needed - self._first
        self._first, self._sound = self._first + done, self._sound[done:]

    def _close(self, pieces: list[tuple[int, int]]) -> None:
        for first, last in pieces:
            samples = self._sound[first - self._first : last - self._first]
            if is_audible(samples):
                self._pieces.append(self.recognizer.transcribe_piece(samples, first / SAMPLE_RATE, self.beam))
            self._decoded, self._words, self._agreed = last, [], 0

    def _is_due(self, begin: int) -> bool:
        new = self._heard - max(self._decoded, begin)
        return new >= max(INTERVAL * SAMPLE_RATE, SHARE * (self._heard - begin))

    def _look(self, begin: int) -> None:
        """Decode what is being said anew, and compare."""
        samples = self._sound[begin - self._first :]
        self._decoded = self._heard
        if not is_audible(samples):
            return
        words = self.recognizer.transcribe_piece(
            samples, begin / SAMPLE_RATE, self.recognizer.partial_beam
        ).words
        settled = [word.text for word in words if word.end <= self.seconds - SETTLED]
        agreed = 0
        for one, two in zip(settled, self._words, strict=False):
            if one != two:
                break
            agreed += 1
        self._words, self._agreed = [word.text for word in words], agreed
