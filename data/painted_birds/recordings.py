"""Captions of painted birds, spoken, as a set on disk in the layout of LJSpeech.

Running it again makes only what is missing; what is written is whole, and its bytes are a function of the seed.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.files import write_text
from data.painted_birds import voices
from data.painted_birds.settings import building, check_names, listing, settings_of, write_settings
from data.painted_birds.species import species_list, species_marks
from data.parallel import in_parallel
from data.synthesis.clips import write_flac


@dataclass(frozen=True)
class SpeechSettings:
    """What decides every byte of a set of spoken captions; the seed and the species are those of the birds."""

    seed: int = 0
    train_species: int = 2000
    test_species: int = 200
    train: int = 4000  # clips
    val: int = 100
    test: int = 300  # unseen captions of the test species, in voices heard in training
    test_voices: int = 300  # unseen captions of the test species, in voices never heard in training
    version: int = voices.VERSION


def ensure_spoken_captions(
    root: Path | str,
    splits: Sequence[str] = voices.SPLITS,
    settings: dict[str, int] | None = None,
    clips: Callable[[int], Collection[int]] | None = None,
) -> Path:
    """Make what is missing of <root>/spoken_captions and return that folder.

    clips: the number of clips of a split -> those that are needed now, where not all are; the lists are whole, and
    another call speaks the rest.

    `settings` are fields of SpeechSettings; without them a set that is there keeps its own. Raises UserError as
    `ensure_painted_birds` does, and where espeak-ng or one of its voices is not there.
    """
    folder = Path(root) / "spoken_captions"
    check_names("split", splits, voices.SPLITS)
    made_of, done = settings_of(folder, SpeechSettings(), settings)
    lists_there = all((folder / name).exists() for name in ("metadata.csv", "speakers.csv"))
    lists_there &= all((folder / "splits" / f"{split}.txt").exists() for split in splits)
    complete = clips is not None or set(splits) <= set(done)
    if _missing(folder, made_of, splits, clips) or not lists_there or not complete:
        with building(folder):
            _build(folder, made_of, splits, settings_of(folder, SpeechSettings(), settings)[1], clips)
    return folder


def _missing(
    folder: Path,
    made_of: SpeechSettings,
    splits: Sequence[str],
    clips: Callable[[int], Collection[int]] | None,
) -> list[tuple[str, int]]:
    """Split and index of every clip that is needed and not there."""
    there = listing(folder / "wavs")
    needed = clips or range
    every = ((split, i) for split in splits for i in needed(getattr(made_of, split)))
    return [(split, i) for split, i in every if f"{_clip_id(split, i)}.flac" not in there]


def _build(
    folder: Path,
    made_of: SpeechSettings,
    splits: Sequence[str],
    done: list[str],
    needed: Callable[[int], Collection[int]] | None,
) -> None:
    write_settings(folder, made_of, done)
    train, test = (
        [(colours, species_marks(made_of.seed, stream, i)) for i, colours in enumerate(of_split)]
        for stream, of_split in enumerate(
            species_list(made_of.seed, made_of.train_species, made_of.test_species)
        )
    )
    begun = {path.stem for path in (folder / "splits").glob("*.txt")}  # of which a part is spoken
    listed = [split for split in voices.SPLITS if split in {*splits, *done, *begun}]
    clips = {
        (split, i): voices.clip(made_of.seed, split, i, test if split.startswith("test") else train)
        for split in listed
        for i in range(getattr(made_of, split))
    }
    missing = _missing(folder, made_of, splits, needed)
    tasks = [(folder / "wavs" / f"{_clip_id(*key)}.flac", clips[key]) for key in missing]
    if tasks:
        in_parallel(_record_clip, tasks, "speaking captions", [1] * len(tasks), "clip")
    write_speech_lists(folder, [(key[0], _clip_id(*key), c.text, c.voice) for key, c in clips.items()])
    whole = done if needed else [split for split in voices.SPLITS if split in {*splits, *done}]
    write_settings(folder, made_of, whole)


def write_speech_lists(folder: Path, clips: Sequence[tuple[str, str, str, str]]) -> None:
    """LJSpeech's lists, and who speaks, of clips in wavs/: the split, id, text and voice of each."""
    for split in dict.fromkeys(split for split, *_ in clips):
        lines = "".join(f"{clip_id}\n" for of, clip_id, _, _ in clips if of == split)
        write_text(folder / "splits" / f"{split}.txt", lines)
    # LJSpeech's three columns; the third is the text with numbers written out, and ours has none
    write_text(
        folder / "metadata.csv", "".join(f"{clip_id}|{text}|{text}\n" for _, clip_id, text, _ in clips)
    )
    write_text(folder / "speakers.csv", "".join(f"{clip_id}|{voice}\n" for _, clip_id, _, voice in clips))


def _clip_id(split: str, index: int) -> str:
    return f"{split}-{index + 1:05d}"


def _record_clip(task: tuple[Path, voices.Clip]) -> None:
    path, clip = task
    write_flac(path, *voices.record(clip))


def clip_ids(folder: Path, split: str) -> list[str]:
    """The clips of a split, spoken yet or not, in order."""
    return (folder / "splits" / f"{split}.txt").read_text(encoding="utf-8").split()
