"""A hundred sounds in which nobody speaks, each a function of its number and a seed: silence, noise, tones, music,
machines."""

from collections.abc import Callable

import numpy as np

RATE = 16_000
SCALE = (0, 2, 4, 5, 7, 9, 11, 12)  # semitones of a major scale


def sounds(seed: int = 0) -> dict[str, np.ndarray]:
    """By name, others with another seed: samples (S,) float32 at 16 kHz in [-1, 1], 1 to 10 s."""
    kinds: dict[str, tuple[int, Callable[[np.random.Generator, int], np.ndarray]]] = {
        "silence": (4, _silence), "quiet room": (6, _quiet_room), "noise": (20, _noise), "tone": (20, _tone),
        "clicks": (6, _clicks), "hum": (6, _hum), "chirps": (8, _chirps), "melody": (10, _melody),
        "chords": (10, _chords), "drums": (5, _drums), "band": (5, _band),
    }  # fmt: skip
    found: dict[str, np.ndarray] = {}
    for kind, (count, make) in kinds.items():
        for number in range(count):
            rng = np.random.default_rng([len(found), 7 + seed])
            sound = make(rng, number)
            level = 1.0 if kind in ("silence", "quiet room") else rng.uniform(0.05, 0.9)
            found[f"{kind} {number}"] = (level * sound).astype(np.float32)
    return found


def _time(seconds: float) -> np.ndarray:
    return np.arange(int(seconds * RATE)) / RATE


def _full(sound: np.ndarray) -> np.ndarray:
    return sound / np.abs(sound).max()


def _coloured(rng: np.random.Generator, seconds: float, power: float) -> np.ndarray:
    """Noise whose power falls with frequency to `power`: 0 white, 1 pink, 2 brown."""
    hertz = np.fft.rfftfreq(int(seconds * RATE), 1 / RATE)
    spectrum = rng.standard_normal(len(hertz)) + 1j * rng.standard_normal(len(hertz))
    return _full(np.fft.irfft(spectrum * np.maximum(hertz, 20.0) ** (-power / 2), int(seconds * RATE)))


def _silence(rng: np.random.Generator, number: int) -> np.ndarray:
    return np.zeros(int((0.3, 1, 3, 10)[number] * RATE))


def _quiet_room(rng: np.random.Generator, number: int) -> np.ndarray:
    return _coloured(rng, 5.0, number % 3) * 10 ** (-rng.uniform(45, 65) / 20)


def _noise(rng: np.random.Generator, number: int) -> np.ndarray:
    return _coloured(rng, rng.uniform(2, 10), -0.5 + number % 5 * 0.75)


def _tone(rng: np.random.Generator, number: int) -> np.ndarray:
    t, hertz = _time(rng.uniform(1, 6)), rng.uniform(80, 3000)
    phase = 2 * np.pi * hertz * t
    return (
        np.sin(phase),
        0.5 * np.sin(phase) + 0.5 * np.sin(1.3 * phase),
        np.sin(phase + 200 * np.pi * t**2),
        np.sin(phase + 5 * np.sin(12 * np.pi * t)),
        np.sin(phase) * (np.sin(4 * np.pi * t) > 0),
    )[number % 5]


def _clicks(rng: np.random.Generator, number: int) -> np.ndarray:
    sound = np.zeros(4 * RATE)
    for at in rng.integers(0, len(sound) - 800, 12):
        sound[at : at + 800] += rng.standard_normal(800) * np.exp(-np.arange(800) / 100)
    return _full(sound)


def _hum(rng: np.random.Generator, number: int) -> np.ndarray:
    t, hertz = _time(4.0), (50, 60, 100)[number % 3]
    return _full(np.sum([np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, 9)], axis=0))


def _chirps(rng: np.random.Generator, number: int) -> np.ndarray:
    """A bird: short whistles that rise and fall."""
    sound = np.zeros(6 * RATE)
    for at in np.cumsum(rng.uniform(0.1, 0.6, 9)):
        t = _time(rng.uniform(0.05, 0.3))
        phase = 2 * np.pi * (rng.uniform(1500, 5000) * t + rng.uniform(-8000, 8000) * t**2)
        sound[int(at * RATE) : int(at * RATE) + len(t)] += np.sin(phase) * np.hanning(len(t))
    return _full(sound)


def _note(rng: np.random.Generator, hertz: float, seconds: float, timbre: int) -> np.ndarray:
    """0: a sine, 1: an organ, 2: a clarinet, 3: a plucked string."""
    t = _time(seconds)
    numbers = {0: [1], 2: list(range(1, 12, 2))}.get(timbre, list(range(1, 9)))
    fading = (lambda k: np.exp(-k * t)) if timbre == 3 else (lambda k: 1.0)
    parts = [np.sin(2 * np.pi * hertz * k * t + rng.uniform(0, 6)) / k * fading(k) for k in numbers]
    return np.sum(parts, axis=0) * np.minimum(t / 0.01, 1) * np.exp(-t / seconds)


def _music(rng: np.random.Generator, number: int, notes: bool, chords: bool, drums: bool) -> np.ndarray:
    seconds, step, root = rng.uniform(3, 8), rng.uniform(0.15, 0.5), rng.uniform(110, 330)
    sound = np.zeros(int((seconds + 3) * RATE))

    def add(at: float, what: np.ndarray) -> None:
        sound[int(at * RATE) : int(at * RATE) + len(what)] += what

    for beat, at in enumerate(np.arange(0.0, seconds, step)):
        if notes:
            add(at, _note(rng, root * 2 ** (rng.choice(SCALE) / 12), step * 1.5, number % 4))
        if chords and beat % 3 == 0:
            degree = int(rng.choice([0, 3, 4, 5]))
            for third in (0, 2, 4):
                add(at, _note(rng, root * 2 ** (SCALE[(degree + third) % 7] / 12), step * 3, number % 4))
        if drums:
            t = _time(0.3)
            kick = 2 * np.sin(2 * np.pi * (50 * t - 8 * np.exp(-30 * t))) * np.exp(-15 * t)
            add(at, kick if beat % 2 == 0 else rng.standard_normal(len(t)) * np.exp(-25 * t))
    return _full(sound[: int(seconds * RATE)])


def _melody(rng: np.random.Generator, number: int) -> np.ndarray:
    return _music(rng, number, notes=True, chords=False, drums=False)


def _chords(rng: np.random.Generator, number: int) -> np.ndarray:
    return _music(rng, number, notes=number % 2 == 1, chords=True, drums=False)


def _drums(rng: np.random.Generator, number: int) -> np.ndarray:
    return _music(rng, number, notes=False, chords=False, drums=True)


def _band(rng: np.random.Generator, number: int) -> np.ndarray:
    return _music(rng, number, notes=True, chords=True, drums=True)
