"""The command `python -m data.prepare spoken`: which engines read which sentences, from words of the command line."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError
from data.painted_birds.settings import MOST
from data.synthesis.engines import ENGINES, find_engine
from data.synthesis.spoken import Choice, choose_voices, make_spoken
from data.synthesis.texts import SOURCES

USUAL_TEXTS = ("cub-train:2", "painted-train", "ljspeech:0.5", "librispeech:0.5")
USUAL_TEMPO = (0.8, 1.2)
SPOKEN_OPTIONS = ("name", "engines", "voices", "texts", "count", "split", "tempo", "workers")


def add_spoken_options(group: Any) -> None:
    group.add_argument("--name", help="folder of the set in --root (default: spoken)")
    group.add_argument(
        "--engines", nargs="+", metavar="NAME[:SHARE]",
        help=f"of {', '.join(ENGINES)} (default: those that are installed)",
    )  # fmt: skip
    group.add_argument(
        "--voices", nargs="+", metavar="VOICE", help="train, never-trained, or names (default: train)"
    )
    group.add_argument(
        "--texts", nargs="+", metavar="NAME[=FOLDER][:SHARE]",
        help=f"of {', '.join(SOURCES)}, or text files; FOLDER where the set lies outside --root "
        f"(default: those of {' '.join(USUAL_TEXTS)} that are there)",
    )  # fmt: skip
    group.add_argument(
        "--count", type=int, metavar="N", help="clips; a larger number goes on (default: 1000)"
    )
    group.add_argument(
        "--split", help="name of its list (default: train, val or test, as voices and texts are)"
    )
    group.add_argument(
        "--tempo",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="factors of the voices' own (default: 0.8 1.2)",
    )
    group.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")


def prepare_spoken(given: Namespace, root: Path, asked: Mapping[str, int]) -> int:
    """Make the set that the options describe, pack it, and say what it holds. Raises UserError."""
    for option in asked:
        if option != "seed":
            raise UserError(f"--{option.replace('_', '-')} is no option of spoken; see --help")
    if given.source is not None or given.download:
        raise UserError("--source and --download are for sets that are read; spoken is made in --root")
    texts, folders = _texts(given.texts or usual_texts(root))
    engines = _shares(given.engines or [name for name, engine in ENGINES.items() if engine.is_there(root)])
    for engine in engines:
        find_engine(engine)
    count = _in_range("--count", 1000 if given.count is None else given.count, 1, MOST)
    tempo = given.tempo or USUAL_TEMPO
    if not 0.5 <= tempo[0] <= tempo[1] <= 2.0:
        raise UserError(
            f"--tempo {tempo[0]:g} {tempo[1]:g}: two factors from 0.5 to 2 were expected, the lower first"
        )
    asked_voices = given.voices or ["train"]
    kept = [part for name in texts for part in ("test", "val") if name.endswith(f"-{part}")]
    split = given.split or ("test" if asked_voices == ["never-trained"] else kept[0] if kept else "train")
    choice = Choice(
        seed=_in_range("--seed", asked.get("seed", 0), 0, 2**63),
        split=_file_name("--split", split),
        engines=engines,
        voices=choose_voices(list(engines), asked_voices),
        texts=texts,
        tempo=(float(tempo[0]), float(tempo[1])),
        blend=asked_voices == ["train"],
    )
    folder = root / _file_name("--name", given.name or "spoken")
    workers = _in_range("--workers", given.workers, 1, 1024) if given.workers is not None else None
    make_spoken(folder, choice, count, root, folders, workers)
    from data.speech import load_speech

    clips = load_speech(folder, split, folder / "cache", layout="ljspeech")
    hours, speakers = float(clips.lengths.sum()) / 16_000 / 3600, len(set(clips.speakers))
    print(f"{split}: {len(clips)} clips of {speakers} voices, {hours:.2f} h, in {folder}")
    return 0


def usual_texts(root: Path) -> list[str]:
    """Those of USUAL_TEXTS whose set lies in `root`; painted captions need none."""
    return [word for word in USUAL_TEXTS if (root / SOURCES[word.partition(":")[0]][0]).is_dir()]


def _shares(words: list[str] | tuple[str, ...]) -> dict[str, float]:
    """ "flite:0.5" -> flite's share 0.5; 1 where none is given."""
    shares: dict[str, float] = {}
    for word in words:
        name, colon, share = word.rpartition(":")
        try:
            value = float(share) if colon else 1.0
        except ValueError:  # a path with a colon in it
            name, value = word, 1.0
        name = name if colon and name else word
        if not 0 < value < float("inf"):
            raise UserError(f'"{word}": a share above 0 was expected')
        shares[name] = value
    return shares


def _texts(words: list[str] | tuple[str, ...]) -> tuple[dict[str, float], dict[str, Path]]:
    """Shares of the sources, and the folders of those that name one."""
    texts: dict[str, float] = {}
    folders: dict[str, Path] = {}
    for word, share in _shares(words).items():
        name, equals, folder = word.partition("=")
        if name in SOURCES and equals:
            folders[name] = Path(folder)
            word = name
        texts[word] = share
    return texts, folders


def _in_range(option: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise UserError(f"{option} {value}: a whole number from {low} to {high:,} was expected")
    return value


def _file_name(option: str, name: str) -> str:
    if not name or name in (".", "..") or any(letter in name for letter in "/\\\0"):
        raise UserError(f'{option} "{name}": the name of a folder or list was expected, without slashes')
    return name
