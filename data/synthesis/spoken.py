"""Sets of synthetic speech in the layout of LJSpeech, one sentence a clip.

A clip is a function of (seed, index) and of the choice of engines, voices and texts. Any first part of a set is an
even mix of them. Running it again makes only what is missing, and a larger count goes on where a smaller one ended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.files import make_folder, read_json, write_json
from data.painted_birds.recordings import write_speech_lists
from data.painted_birds.settings import building, listing
from data.parallel import in_parallel
from data.synthesis.clips import framed_at_level, write_flac
from data.synthesis.engines import find_engine, is_never_trained, training_voices
from data.synthesis.texts import SOURCES, read_texts

VERSION = 1  # raised when a change here or of an engine changes clips
BLENDED = 0.5  # share of clips in a voice between two, for engines that can


@dataclass(frozen=True)
class Choice:
    """What decides every clip but their number."""

    seed: int
    split: str  # the name of the list in splits/
    engines: dict[str, float]  # and their shares
    voices: dict[str, list[str]]  # of each engine
    texts: dict[str, float]  # and their shares
    tempo: tuple[float, float]
    blend: bool
    version: int = VERSION


@dataclass(frozen=True)
class Clip:
    id: str
    engine: str
    voice: str
    text: str
    tempo: float  # factor
    pitch: float  # factor
    silence: tuple[float, float]  # seconds before and after
    gain: float  # of full scale at the loudest sample


def choose_voices(engines: Sequence[str], voices: Sequence[str]) -> dict[str, list[str]]:
    """The voices of each engine: "train", "never-trained", or their names. Raises UserError for unknown ones."""
    chosen: dict[str, list[str]] = {}
    for engine in engines:
        known = find_engine(engine).voices
        if list(voices) == ["train"]:
            chosen[engine] = list(training_voices(engine))
        elif list(voices) == ["never-trained"]:
            chosen[engine] = [voice for voice in known if is_never_trained(engine, voice)]
        else:
            chosen[engine] = [voice for voice in voices if voice in known]
        if not chosen[engine]:
            raise UserError(f"{engine} has none of the voices {' '.join(voices)}; it has: {', '.join(known)}")
    unknown = [
        v for v in voices if v not in ("train", "never-trained") and not any(v in c for c in chosen.values())
    ]
    if unknown:
        raise UserError(f'no voice "{unknown[0]}" of {", ".join(engines)}')
    return chosen


def plan(choice: Choice, texts: dict[str, list[str]], count: int) -> list[Clip]:
    """The first `count` clips. Raises UserError where a split named train would hold what is kept for measuring."""
    if choice.split == "train":
        kept = [f"{e} {v}" for e, voices in choice.voices.items() for v in voices if is_never_trained(e, v)]
        kept += [name for name in choice.texts if name.endswith(("-val", "-test"))]
        if kept:
            raise UserError(f"{kept[0]} is kept for measuring and never trained on; name the split test")
    return [_clip(choice, texts, index) for index in range(count)]


def _clip(choice: Choice, texts: dict[str, list[str]], index: int) -> Clip:
    rng = np.random.default_rng([choice.seed, 50, index])
    # an additive recurrence in three dimensions (Roberts 2018): any run of indices is spread evenly over all three
    engine = _pick(choice.engines, index * 0.8191725134 % 1)
    source = _pick(choice.texts, index * 0.6710436067 % 1)
    names = choice.voices[engine]
    voice = names[int(index * 0.5497004779 % 1 * len(names))]
    if choice.blend and find_engine(engine).blends and len(names) > 1 and rng.random() < BLENDED:
        other = names[int(rng.integers(len(names)))]
        voice = f"{voice}*{rng.uniform(0.3, 0.7):.2f}+{other}" if other != voice else voice
    sentences = texts[source]
    return Clip(
        id=f"{engine}-{index + 1:05d}",
        engine=engine,
        voice=voice,
        text=sentences[int(rng.integers(len(sentences)))],
        tempo=round(float(rng.uniform(*choice.tempo)), 3),
        pitch=round(float(rng.uniform(0.6, 1.4)), 3),
        silence=(float(rng.uniform(0.05, 0.3)), float(rng.uniform(0.05, 0.3))),
        gain=float(rng.uniform(0.3, 0.95)),
    )


def _pick(shares: dict[str, float], at: float) -> str:
    """The name at `at` in [0, 1) where each has its share."""
    edges = np.cumsum(list(shares.values()))
    return list(shares)[int(np.searchsorted(edges, at * edges[-1], side="right"))]


def make_spoken(
    folder: Path,
    choice: Choice,
    count: int,
    root: Path,
    folders: Mapping[str, Path] | None = None,
    workers: int | None = None,
) -> list[Clip]:
    """Speak what is missing of the first `count` clips into `folder`; the lists are whole from the beginning.

    root: the folder of data sets, where texts and voices lie; folders: of texts whose set lies elsewhere; workers:
    processes, without it one a core. Raises UserError where an engine, a voice or a text is not there, and where the
    folder holds a set of another choice.
    """
    places = {source: root / SOURCES[source][0] for source in choice.texts if source in SOURCES}
    places.update(folders or {})
    texts = {source: read_texts(source, places.get(source, root)) for source in choice.texts}
    clips = plan(choice, texts, count)
    make_folder(folder / "wavs")
    with building(folder):
        _check_settings(folder, choice)
        lists = [(choice.split, clip.id, clip.text, f"{clip.engine}:{clip.voice}") for clip in clips]
        write_speech_lists(folder, lists)
        _speak_missing(folder / "wavs", clips, root, workers)
    return clips


def ensure_clips(folder: Path, clips: Sequence[Clip], root: Path) -> list[Path]:
    """Speak those of the clips that no earlier call has spoken into `folder`: the file of each, by its id, in order.

    root: the folder of data sets, where voices that are files lie. Raises UserError where an engine or a voice is not
    there.
    """
    with building(folder):
        _speak_missing(folder, clips, root)
    return [_file(folder, clip) for clip in clips]


def _speak_missing(folder: Path, clips: Sequence[Clip], root: Path, workers: int | None = None) -> None:
    spoken = listing(folder)
    tasks = [(path, clip, root) for clip in clips if (path := _file(folder, clip)).name not in spoken]
    if tasks:
        in_parallel(_record, tasks, "speaking", [1] * len(tasks), "clip", workers)


def _file(folder: Path, clip: Clip) -> Path:
    return folder / f"{clip.id}.flac"


def _check_settings(folder: Path, choice: Choice) -> None:
    """Write down the choice; refuse a folder that was made with another."""
    path, settings = folder / "settings.json", {key: _plain(value) for key, value in asdict(choice).items()}
    if path.exists():
        stored = read_json(path)
        for key, value in settings.items():
            if not isinstance(stored, dict) or stored.get(key) != value:
                raise UserError(
                    f"{folder} was made with other {key}; remove that folder or choose another --name"
                )
    write_json(path, settings)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _record(task: tuple[Path, Clip, Path]) -> None:
    path, clip, root = task
    write_flac(path, *record(clip, root))


def record(clip: Clip, root: Path) -> tuple[np.ndarray, int]:
    """The samples (S,) int16 of a clip and their rate in Hz. Raises UserError where the voice says nothing."""
    samples, rate = find_engine(clip.engine).open(root)(clip.text, clip.voice, clip.tempo, clip.pitch)
    if not samples.any():
        raise UserError(f'the voice {clip.engine} {clip.voice} says nothing of "{clip.text[:40]}"')
    return framed_at_level(samples, rate, clip.gain, clip.silence), rate
