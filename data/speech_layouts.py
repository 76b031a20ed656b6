"""Which clips a split has, in the layouts of LJSpeech and LibriSpeech: ids, transcripts, speakers and files.

Beside LJSpeech's metadata.csv there may be who speaks: speakers.csv, "id|speaker" a line, or readers.tsv with the
columns id, gender, age and accent, as volunteers stated them.
"""

import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

from core.errors import UserError, printable, suggest
from data.files import File, find_files
from data.text_files import read_lines

# in order of preference
SUFFIXES = (".wav", ".flac", ".opus", ".ogg", ".mp3", ".oga", ".aiff", ".aif", ".au", ".w64", ".caf",
            ".m4a", ".mp4", ".aac", ".webm")  # fmt: skip


class Clip(NamedTuple):
    id: str
    text: str
    speaker: str
    audio: File | None  # None where there is none


def list_clips(root: Path, split: str, layout: str, split_by: str) -> tuple[str, list[Clip]]:
    """The layout, found where it is "auto", and the clips of a split. Raises UserError as `load_speech` does."""
    if layout not in ("auto", "ljspeech", "librispeech"):
        near = suggest(layout, ("ljspeech", "librispeech"))
        raise UserError(f'no layout "{layout}"{near}: it is auto, ljspeech or librispeech')
    try:
        if layout == "auto":
            layout = detect_layout(root)
        if layout == "ljspeech":
            return layout, _ljspeech(root, split, split_by)
        return layout, _librispeech(root, split)
    except OSError as error:  # no permission, a name too long, a disk that fails
        raise UserError(f"cannot read the speech set at {root}: {error.strerror}") from error
    except ValueError as error:  # a NUL in the path
        raise UserError(f"no speech set at {root}: {error}") from error


def _lines(path: Path) -> list[tuple[int, str]]:
    """Number and content of the lines that hold something. Raises UserError where it is no text in UTF-8 or UTF-16."""
    lines = read_lines(path)
    for number, line in lines:
        if "\N{REPLACEMENT CHARACTER}" in line:
            raise UserError(f"{path}:{number} is not UTF-8 ({ascii(line[:40])}); save the file as UTF-8")
    return lines


def detect_layout(root: Path) -> Literal["ljspeech", "librispeech"]:
    if (root / "metadata.csv").is_file():
        return "ljspeech"
    if _subsets(root):
        return "librispeech"
    inside = [part.name for part in sorted(root.iterdir()) if part.is_dir()] if root.is_dir() else []
    nearer = [part for part in inside if (root / part / "metadata.csv").is_file() or _subsets(root / part)]
    hint = f" (did you mean {root / nearer[0]}?)" if nearer else ""
    raise UserError(
        f"no speech set at {root}{hint}; expected LJSpeech (metadata.csv and wavs/<id>.wav) or LibriSpeech "
        "(<subset>/<reader>/<chapter>/<reader>-<chapter>.trans.txt)"
    )


# --- LJSpeech ---


def _ljspeech(root: Path, split: str, split_by: str) -> list[Clip]:
    texts = read_metadata(root)
    audio = find_files(root / "wavs", SUFFIXES)
    if not audio.keys() & texts.keys():
        raise UserError(
            f"no audio in {root / 'wavs'} for the {len(texts)} lines of metadata.csv; expected wavs/<id>.wav"
        )
    ids = _split_ids(root, split, split_by, list(texts), audio)
    unknown = [id for id in ids if id not in texts]
    if unknown:
        raise UserError(
            f'{root}/splits/{split}.txt names "{unknown[0]}", which metadata.csv does not list; mend one'
        )
    speakers = _read_speakers(root)
    return [Clip(id, texts[id], speakers.get(id, _speaker(id)), audio.get(id)) for id in ids]


def _read_speakers(root: Path) -> dict[str, str]:
    """Id -> speaker, of the clips that a list of the set names. Readers who are known by gender, age and accent alone
    are told apart by these; a clip of a reader who stated nothing is taken as one of another reader."""
    if (root / "speakers.csv").is_file():
        rows = [line.split("|") for _, line in _lines(root / "speakers.csv")]
        return {_plain_id(row[0]): row[1].strip() for row in rows if len(row) == 2 and row[1].strip()}
    if not (root / "readers.tsv").is_file():
        return {}
    header, *rows = (
        [field.strip() for field in line.split("\t")] for _, line in _lines(root / "readers.tsv")
    )
    if header[:4] != ["id", "gender", "age", "accent"]:
        raise UserError(
            f"{root / 'readers.tsv'} has no columns id, gender, age, accent; restore or remove it"
        )
    return {row[0]: " ".join(filter(None, row[1:4])) or row[0] for row in rows}


def read_metadata(root: Path) -> dict[str, str]:
    """LJSpeech's metadata.csv as id -> normalised text, or the plain text where that column is empty or absent.

    An id may be written with its folder and suffix, "wavs/LJ001-0001.wav".
    """
    path = root / "metadata.csv"
    texts: dict[str, str] = {}
    for number, line in _lines(path):
        fields = line.split("|")  # quotes are part of the text
        id = _plain_id(fields[0])
        if len(fields) not in (2, 3) or not id:
            raise UserError(f'{path}:{number} is "{printable(line[:60])}"; expected: id|text|normalised text')
        if id in texts:
            raise UserError(f"{path}:{number} lists {id} a second time; remove one of the lines")
        texts[id] = fields[2] if len(fields) == 3 and fields[2].strip() else fields[1]
    if not texts:
        raise UserError(f"{path} is empty; expected lines of: id|text|normalised text")
    return texts


def _plain_id(name: str) -> str:
    """ "LJ001-0001" of "wavs/LJ001-0001.wav", as some lists have it."""
    name = name.strip().replace("\\", "/").rsplit("/", 1)[-1]
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in SUFFIXES else name


def _split_ids(root: Path, split: str, split_by: str, ids: list[str], audio: dict[str, File]) -> list[str]:
    files = sorted(path.stem for path in (root / "splits").glob("*.txt"))
    if split_by not in ("auto", "files", "chapters"):
        raise UserError(f'no way to split "{split_by}": it is auto, files or chapters')
    if split_by == "files" or (split_by == "auto" and files):
        if split not in files:
            names = ", ".join(files) or "no file at all"
            raise UserError(f'no split "{split}" in {root}{suggest(split, files)}: splits/ holds {names}')
        # the published lists come as "LJ001-0001", and with Tacotron 2 as "path/LJ001-0001.wav|text"
        named = [_plain_id(line.split("|")[0]) for _, line in _lines(root / "splits" / f"{split}.txt")]
        if not named:
            raise UserError(f"{root}/splits/{split}.txt is empty; expected an id of metadata.csv a line")
        return list(dict.fromkeys(named))
    parts = chapter_split([id for id in ids if id in audio])
    if split not in parts:
        names = ", ".join(parts)
        raise UserError(
            f'no split "{split}" in {root}{suggest(split, parts)}: the chapters with audio give {names or "none"} '
            "(train and test need 2 chapters, val 3)"
        )
    return parts[split]


def chapter_split(ids: list[str]) -> dict[str, list[str]]:
    """Ids by split so that no chapter (the id up to its first "-") is in two.

    The last tenth of the chapters, at least one, is test; the one before it val where there are three or more.
    Empty where there are fewer than two chapters.
    """
    chapters = sorted({_chapter(id) for id in ids})
    if len(chapters) < 2:
        return {}
    first_test = len(chapters) - max(1, round(len(chapters) / 10))
    first_val = first_test - 1 if len(chapters) >= 3 else first_test
    parts = {
        "train": chapters[:first_val],
        "val": chapters[first_val:first_test],
        "test": chapters[first_test:],
    }
    return {name: [id for id in ids if _chapter(id) in set(part)] for name, part in parts.items() if part}


def _chapter(id: str) -> str:
    return id.split("-", 1)[0]


def _speaker(id: str) -> str:
    """ "LJ" of "LJ001-0001": the chapter without its number."""
    return re.sub(r"\d+$", "", _chapter(id)) or _chapter(id)


def no_audio_line(root: Path, split: str, count: int, split_by: str) -> str:
    other = "" if split_by == "chapters" else ', or split the clips that are there with split_by="chapters"'
    return f"none of the {count} clips of the {split} split of {root} has audio; get the recordings{other}"


# --- LibriSpeech ---


def _subsets(root: Path) -> list[str]:
    if not root.is_dir():
        return []
    return sorted(
        part.name for part in root.iterdir() if part.is_dir() and next(part.glob("*/*/*.trans.txt"), None)
    )


def _librispeech(root: Path, split: str) -> list[Clip]:
    subsets = _subsets(root)
    if split not in subsets:
        names = ", ".join(subsets) or "no subset (<subset>/<reader>/<chapter>/*.trans.txt)"
        raise UserError(f'no split "{split}" in {root}{suggest(split, subsets)}: it holds {names}')
    clips: dict[str, Clip] = {}
    for listing in sorted((root / split).glob("*/*/*.trans.txt")):
        audio = find_files(listing.parent, SUFFIXES)
        for number, line in _lines(listing):
            id, _, text = line.strip().partition(" ")
            if id in clips:
                raise UserError(f"{listing}:{number} lists {id} a second time; remove one of the lines")
            clips[id] = Clip(id, text, listing.parent.parent.name, audio.get(id))
    if not any(clip.audio for clip in clips.values()):
        raise UserError(no_audio_line(root, split, len(clips), "chapters"))
    return list(clips.values())
