"""Where to cut a recording: pieces of speech, found as they are spoken.

Every decision rests on what came before it alone, so that a stream is cut where the whole recording is.
"""

import numpy as np

from asr.audio import SAMPLE_RATE
from asr.voice_activity import STEP, Activity, VoiceActivity

LEVEL_STEP = SAMPLE_RATE // 40  # samples whose level is measured at once, 25 ms
SPEECH, SILENCE = (
    0.6,
    0.35,
)  # probabilities: speech begins with SHORTEST_SPEECH windows above the first, and ends ...
SHORTEST_SPEECH = (
    6  # ... below the second; windows of STEP samples, 0.19 s: what is shorter is a click or a clang
)
LONG_SILENCE = 1.0  # seconds at either end of a piece: where there is more, ...
KEPT_SILENCE = 0.5  # ... this much is left
LONGEST_PAUSE = 1.5  # seconds of silence that end a piece, whatever follows
SENTENCES = 8.0  # seconds: what lasts longer may be several sentences, and is cut in its longest pause ...
SENTENCE_PAUSE = 0.6  # ... of so many seconds; single sentences are what recognisers are trained on
LONGEST_PIECE = 20.0  # seconds that are decoded at once, pause or not
SHORTEST_PIECE = 2.0  # seconds on either side of a cut
DIGITAL_SILENCE = 1e-4  # largest sample, -80 dB: below it nothing was recorded, somebody filled up

Piece = tuple[int, int]  # first and last sample (exclusive)


def loudness(samples: np.ndarray) -> np.ndarray:
    """The RMS (N,) of every whole 25 ms of samples (S,), 0 to 1; of all samples where they fill none."""
    if not len(samples):
        return np.zeros(1)
    count = max(len(samples) // LEVEL_STEP, 1)
    windows = (
        samples[: count * LEVEL_STEP].reshape(count, -1) if len(samples) >= LEVEL_STEP else samples[None]
    )
    return np.sqrt(np.square(windows, dtype=np.float64).mean(axis=1))


def framed(piece: np.ndarray, seconds: float) -> tuple[np.ndarray, int]:
    """A piece (S,) with `seconds` of digital silence at either end, whatever it had of it, and the sample of the piece
    at which it begins.

    So silence around a recording changes nothing of its text.
    """
    silence = int(seconds * SAMPLE_RATE)
    sounding = np.flatnonzero(np.abs(piece) > DIGITAL_SILENCE)
    first, last = (int(sounding[0]), int(sounding[-1]) + 1) if len(sounding) else (0, len(piece))
    return np.pad(piece[first:last], silence), first - silence


def split(samples: np.ndarray, activity: Activity | None = None) -> list[Piece]:
    """The pieces of samples (S,) that hold speech, at most LONGEST_PIECE seconds each, in their order."""
    segmenter = Segmenter(activity)
    return [*segmenter.feed(samples), *segmenter.finish()]


class Segmenter:
    """The pieces of a stream at 16 kHz, each as soon as it is known.

    A piece ends after LONGEST_PAUSE seconds of silence. What lasts longer than SENTENCES seconds is cut in the middle
    of its longest pause where that may be one between sentences; what lasts LONGEST_PIECE in any pause, and where there
    is none, at its quietest place.
    """

    def __init__(self, activity: Activity | None = None) -> None:
        """activity: of this stream alone; Silero's network for None."""
        self._activity = activity or VoiceActivity()
        self._skipped = 0  # samples of digital silence before the first sound, where the windows begin
        self._samples = 0  # so far, from there on
        self._levels: list[float] = []  # RMS of the windows from `_kept` on
        self._sounding: list[
            int
        ] = []  # sample (exclusive) up to which each of these windows is not digital silence
        self._partial = np.zeros(0, np.float32)  # of a window
        self._kept = 0  # window
        self._seen = 0  # windows whose probability is known
        self._floor = 0  # sample before which everything is done with
        self._since: int | None = None  # window since which the probability has been that of speech
        self._speech: list[
            list[int]
        ] = []  # first and last window (exclusive) of what was said since the floor

    @property
    def open(self) -> int | None:
        """The first sample of the piece that is being spoken; None where nobody has spoken since the last."""
        return self._skipped + self._begin() if self._speech else None

    @property
    def needed(self) -> int:
        """The first sample that may still become part of a piece."""
        return self._skipped + self._needed()

    def feed(self, samples: np.ndarray) -> list[Piece]:
        """The next samples (S,) -> the pieces that end with them."""
        if not self._samples:
            sounding = np.abs(samples) > DIGITAL_SILENCE
            first = int(sounding.argmax()) if sounding.any() else len(samples)
            self._skipped, samples = self._skipped + first, samples[first:]
        self._samples += len(samples)
        sound = np.concatenate([self._partial, samples])
        count = len(sound) // STEP
        self._measure(sound[: count * STEP].reshape(-1, STEP))
        self._partial = sound[count * STEP :]
        return self._go_on(self._activity.feed(samples))

    def finish(self) -> list[Piece]:
        """The pieces that are left when the stream ends."""
        if len(self._partial):
            self._measure(np.pad(self._partial, (0, STEP - len(self._partial)))[None])
        pieces = self._go_on(self._activity.finish())
        if self._speech:
            begin, end = self._begin(), self._end()
            last = end + int(KEPT_SILENCE * SAMPLE_RATE) if self._fades_out() else self._samples
            pieces.append((self._skipped + begin, self._skipped + last))
            self._speech = []
        return pieces

    def _measure(self, windows: np.ndarray) -> None:
        """The next windows (N, STEP)."""
        first = self._kept + len(self._levels)
        self._levels += np.sqrt(np.square(windows, dtype=np.float64).mean(axis=1)).tolist()
        for number, is_sound in enumerate(np.abs(windows) > DIGITAL_SILENCE, start=first):
            last = STEP - int(is_sound[::-1].argmax()) if is_sound.any() else 0
            self._sounding.append(number * STEP + last if last else 0)

    def _fades_out(self) -> bool:
        """Whether more than LONG_SILENCE seconds after the speech so far there is still something, as far as is seen:
        a quiet room, say. Digital silence might be anything's end."""
        return (
            max(self._sounding[: self._seen - self._kept], default=0) - self._end()
            > LONG_SILENCE * SAMPLE_RATE
        )

    def _needed(self) -> int:
        return (
            self._begin()
            if self._speech
            else self._trimmed(self._seen if self._since is None else self._since)
        )

    def _begin(self) -> int:
        return self._trimmed(self._speech[0][0])

    def _trimmed(self, window: int) -> int:
        """Where a piece begins whose speech begins with a window."""
        first = window * STEP
        is_long = first - self._floor > LONG_SILENCE * SAMPLE_RATE
        return first - int(KEPT_SILENCE * SAMPLE_RATE) if is_long else self._floor

    def _end(self) -> int:
        """The sample (exclusive) at which the speech so far ends."""
        return min(self._speech[-1][1] * STEP, self._samples)

    def _go_on(self, probabilities: np.ndarray) -> list[Piece]:
        pieces: list[Piece] = []
        for probability in probabilities.tolist():
            now = self._seen + 1
            is_on = self._since is not None and self._seen - self._since >= SHORTEST_SPEECH
            if probability < (SILENCE if is_on else SPEECH):
                self._since = None
            elif self._since is None:
                self._since = self._seen
            self._seen = now
            if self._since is not None and now - self._since >= SHORTEST_SPEECH:
                if self._speech and self._speech[-1][1] >= self._since:
                    self._speech[-1][1] = now
                else:
                    self._speech.append([self._since, now])
            while self._speech and (piece := self._ended()) is not None:
                pieces.append(piece)
        done = max(self._needed() // STEP - self._kept, 0)
        self._kept, self._levels, self._sounding = (
            self._kept + done,
            self._levels[done:],
            self._sounding[done:],
        )
        return [(self._skipped + first, self._skipped + last) for first, last in pieces]

    def _ended(self) -> Piece | None:
        """The piece that ends with the newest window, which is then done with."""
        begin, end = self._begin(), self._end()
        if self._seen * STEP - end >= LONGEST_PAUSE * SAMPLE_RATE:
            last = end + int(KEPT_SILENCE * SAMPLE_RATE)
            if not self._fades_out():
                last = max(last, *self._sounding[: self._seen - self._kept])
            self._speech, self._floor = [], last
            return begin, last
        if end - begin > SENTENCES * SAMPLE_RATE and (cut := self._longest_pause(SENTENCE_PAUSE)):
            return self._cut(begin, cut)
        if self._seen * STEP - begin >= LONGEST_PIECE * SAMPLE_RATE:
            return self._cut(begin, self._longest_pause(0.0) or self._quietest())
        return None

    def _cut(self, begin: int, window: int) -> Piece:
        self._floor = window * STEP + STEP // 2
        self._speech = [[max(first, window), last] for first, last in self._speech if last > window]
        return begin, self._floor

    def _margins(self) -> tuple[int, int]:
        """First and last window at which the piece may be cut."""
        margin = int(SHORTEST_PIECE * SAMPLE_RATE)
        return -(-(self._begin() + margin) // STEP), self._seen - -(-margin // STEP)

    def _longest_pause(self, seconds: float) -> int | None:
        """The window in the middle of the longest pause of at least so many seconds, none being one at all."""
        earliest, latest = self._margins()
        if seconds:
            latest = self._seen  # what follows a pause that long need not be long
        pauses = [
            (start - end, (start + end) // 2)
            for (_, end), (start, _) in zip(self._speech, self._speech[1:], strict=False)
            if earliest <= (start + end) // 2 <= latest and start - end >= seconds * SAMPLE_RATE / STEP
        ]
        return max(pauses, key=lambda pause: pause[0])[1] if pauses else None

    def _quietest(self) -> int:
        earliest, latest = self._margins()
        levels = np.convolve(self._levels, np.ones(3), "same")[earliest - self._kept : latest - self._kept]
        return earliest + int(levels.argmin())
