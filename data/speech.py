"""Recorded sentences with their transcripts, in the layouts of LJSpeech and LibriSpeech.

    LJSpeech      <root>/metadata.csv           id|text|normalised text, no quoting
                  <root>/wavs/<id>.wav          or any other format that soundfile reads
                  <root>/splits/<split>.txt     ids, one a line; without them the split is by chapters
    LibriSpeech   <root>/<split>/<reader>/<chapter>/<reader>-<chapter>.trans.txt    id TEXT
                  <root>/<split>/<reader>/<chapter>/<id>.flac

Clips of any rate and number of channels become mono 16 kHz int16 in a packed cache (data/packed.py), once.
"""

import functools
import logging
import math
import os
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from core.errors import UserError, suggest
from data.packed import DamagedItem, DamagedItems, Packed, damage_line, fingerprint, open_or_pack

SAMPLE_RATE = 16_000  # Hz
FULL_SCALE = 32_768  # int16 value of 1.0
SUFFIXES = (
    ".wav",
    ".flac",
    ".opus",
    ".ogg",
    ".mp3",
    ".oga",
    ".aiff",
    ".aif",
    ".au",
    ".w64",
)  # in order of preference
VERSION = 1  # raised when decoding or resampling changes: older caches are packed anew

log = logging.getLogger(__name__)


class SpeechSet:
    """The clips of one split, N of them.

    ids, texts (as written), speakers; lengths (N,) int64 in samples at 16 kHz. Of those listed for the split but not
    here: missing, the number without audio; too_long, the number dropped for their length; damaged, id -> reason.
    """

    def __init__(
        self,
        ids: list[str],
        texts: list[str],
        speakers: list[str],
        clips: Packed,
        missing: int,
        too_long: int,
        damaged: dict[str, str],
    ) -> None:
        self.ids, self.texts, self.speakers, self.clips = ids, texts, speakers, clips
        self.missing, self.too_long, self.damaged = missing, too_long, damaged
        self.lengths = np.array([shape[0] for shape in clips.shapes], np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def samples(self, i: int) -> np.ndarray:
        """The i-th clip (S,) float32 in [-1, 1], mono, 16 kHz."""
        return self.clips[int(i)].astype(np.float32) / FULL_SCALE


class _Clip(NamedTuple):
    id: str
    text: str
    speaker: str
    path: Path | None  # None where there is no audio
    bytes: int


def load_speech(
    root: Path | str,
    split: str,
    cache: Path | str,
    layout: Literal["auto", "ljspeech", "librispeech"] = "auto",
    on_damaged: Literal["error", "skip"] = "error",
    max_seconds: float = 20.0,
    split_by: Literal["auto", "files", "chapters"] = "auto",
) -> SpeechSet:
    """Read one split of a set in the layout of LJSpeech or LibriSpeech.

    split: of LJSpeech a name in splits/ (split_by="files"), or train, val, test by chapters (split_by="chapters", see
    `chapter_split`); "auto" takes the files where the set has them. Of LibriSpeech the name of a subset, such as
    "train-clean-100". Clips longer than `max_seconds` are dropped and counted; so are LJSpeech's lines without audio,
    since parts of that set are common. Clips that are damaged, empty or without a transcript, and in LibriSpeech those
    without audio, are collected over the whole split; they are a UserError, or with on_damaged="skip" left out and
    named in a warning. Raises UserError too for an unknown layout or split, and where no audio is left.
    """
    root, cache = Path(root), Path(cache)
    if layout == "auto":
        layout = _detect_layout(root)
    if layout == "ljspeech":
        listed = _ljspeech(root, split, split_by)
    elif layout == "librispeech":
        listed = _librispeech(root, split)
    else:
        near = suggest(layout, ("ljspeech", "librispeech"))
        raise UserError(f'no layout "{layout}"{near}: it is auto, ljspeech or librispeech')

    problems: dict[str, str] = {}
    sound: list[_Clip] = []
    paths: list[Path] = []
    missing = 0
    for clip in listed:
        if clip.path is None and layout == "ljspeech":
            missing += 1
        elif clip.path is None:
            problems[clip.id] = "no audio"
        elif not clip.text.strip():
            problems[clip.id] = "no transcript"
        else:
            sound.append(clip)
            paths.append(clip.path)
    if missing == len(listed):
        raise UserError(_no_audio_line(root, split, len(listed), split_by))

    clips = None
    try:
        clips = open_or_pack(
            cache / f"{root.resolve().name}-{split}{'-chapters' if split_by == 'chapters' else ''}",
            fingerprint(
                layout,
                VERSION,
                max_seconds,
                [(clip.id, path.name, clip.bytes) for clip, path in zip(sound, paths, strict=True)],
            ),
            len(sound),
            lambda item: _read_clip(paths[item], max_seconds),
            "int16",
            f"packing {split} speech",
            "clip",
            keep_going=on_damaged == "skip",
        )
        broken = clips.damaged
    except DamagedItems as error:
        broken = error.reasons
    problems |= {sound[item].id: reason for item, reason in broken.items()}
    problems = {clip.id: problems[clip.id] for clip in listed if clip.id in problems}
    if problems:
        line = damage_line(root, problems, len(listed), f"{split} clips")
        if on_damaged != "skip" or clips is None:
            raise UserError(f"{line}; restore them, or leave them out with --skip-damaged")
        log.warning("%s; they are left out", line)
    if clips is None or not len(clips):
        raise UserError(f"no usable clip of at most {max_seconds:g} s is left in the {split} split of {root}")
    if missing:
        log.warning(
            "%s of %s %s clips in %s have no audio; going on with the rest", missing, len(listed), split, root
        )
    if clips.dropped:
        log.warning(
            "%s %s clips in %s are longer than %g s and left out",
            len(clips.dropped),
            split,
            root,
            max_seconds,
        )
    kept = [sound[item] for item in clips.kept]
    return SpeechSet(
        [clip.id for clip in kept],
        [clip.text for clip in kept],
        [clip.speaker for clip in kept],
        clips,
        missing,
        len(clips.dropped),
        problems,
    )


def _detect_layout(root: Path) -> Literal["ljspeech", "librispeech"]:
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


def _ljspeech(root: Path, split: str, split_by: str) -> list[_Clip]:
    texts = read_metadata(root)
    audio = _find_audio(root / "wavs")
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
    return [_Clip(id, texts[id], _speaker(id), *audio.get(id, (None, 0))) for id in ids]


def read_metadata(root: Path) -> dict[str, str]:
    """LJSpeech's metadata.csv as id -> normalised text, or the plain text where that column is empty or absent."""
    path = root / "metadata.csv"
    try:
        content = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; expected lines of: id|text|normalised text"
        ) from error
    texts: dict[str, str] = {}
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split("|")  # quotes are part of the text
        if len(fields) not in (2, 3) or not fields[0].strip():
            raise UserError(f'{path}:{number} is "{line[:60]}"; expected: id|text|normalised text')
        if fields[0] in texts:
            raise UserError(f"{path}:{number} lists {fields[0]} a second time; remove one of the lines")
        texts[fields[0]] = fields[2] if len(fields) == 3 and fields[2].strip() else fields[1]
    if not texts:
        raise UserError(f"{path} is empty; expected lines of: id|text|normalised text")
    return texts


def _split_ids(root: Path, split: str, split_by: str, ids: list[str], audio: dict[str, Any]) -> list[str]:
    files = sorted(path.stem for path in (root / "splits").glob("*.txt"))
    if split_by not in ("auto", "files", "chapters"):
        raise UserError(f'no way to split "{split_by}": it is auto, files or chapters')
    if split_by == "files" or (split_by == "auto" and files):
        if split not in files:
            names = ", ".join(files) or "no file at all"
            raise UserError(f'no split "{split}" in {root}{suggest(split, files)}: splits/ holds {names}')
        listed = (root / "splits" / f"{split}.txt").read_text(encoding="utf-8-sig").split("\n")
        # the published lists come as "LJ001-0001", and with Tacotron 2 as "path/LJ001-0001.wav|text"
        named = [Path(line.split("|")[0].strip()).name for line in listed if line.strip()]
        named = [name.removesuffix(".wav") for name in named]
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


def _no_audio_line(root: Path, split: str, count: int, split_by: str) -> str:
    other = "" if split_by == "chapters" else ', or split the clips that are there with split_by="chapters"'
    return f"none of the {count} clips of the {split} split of {root} has audio; get the recordings{other}"


# --- LibriSpeech ---


def _subsets(root: Path) -> list[str]:
    if not root.is_dir():
        return []
    return sorted(
        part.name for part in root.iterdir() if part.is_dir() and next(part.glob("*/*/*.trans.txt"), None)
    )


def _librispeech(root: Path, split: str) -> list[_Clip]:
    subsets = _subsets(root)
    if split not in subsets:
        names = ", ".join(subsets) or "no subset (<subset>/<reader>/<chapter>/*.trans.txt)"
        raise UserError(f'no split "{split}" in {root}{suggest(split, subsets)}: it holds {names}')
    clips = []
    for listing in sorted((root / split).glob("*/*/*.trans.txt")):
        audio = _find_audio(listing.parent)
        for line in listing.read_text(encoding="utf-8", errors="replace").split("\n"):
            if line.strip():
                id, _, text = line.strip().partition(" ")
                clips.append(_Clip(id, text, listing.parent.parent.name, *audio.get(id, (None, 0))))
    if not any(clip.path for clip in clips):
        raise UserError(_no_audio_line(root, split, len(clips), "chapters"))
    return clips


# --- audio ---


def _find_audio(folder: Path) -> dict[str, tuple[Path, int]]:
    """Id -> (path, bytes) of the recordings in a folder."""
    rank = {suffix: i for i, suffix in enumerate(SUFFIXES)}
    usable = []
    try:
        for entry in os.scandir(folder):
            stem, suffix = os.path.splitext(entry.name)
            if suffix.lower() in rank and entry.is_file():
                usable.append((rank[suffix.lower()], entry.name, stem, entry))
    except OSError:
        return {}
    # the preferred format comes last and stays
    ordered = sorted(usable, key=lambda one: one[:2], reverse=True)
    return {stem: (Path(entry.path), entry.stat().st_size) for _, _, stem, entry in ordered}


def _read_clip(path: Path, max_seconds: float) -> np.ndarray | None:
    """Samples (S,) int16, mono 16 kHz; None where longer than `max_seconds`."""
    try:
        import soundfile
    except ImportError as error:  # a packed set is read without it
        raise UserError("reading recordings needs soundfile; install it (pip install soundfile)") from error
    try:
        with soundfile.SoundFile(path) as file:
            rate, frames = file.samplerate, file.frames
            limit = int(max_seconds * rate)
            sound = file.read(
                limit + 1, dtype="float32", always_2d=True
            )  # (S, channels), never a whole audiobook
    except MemoryError:
        raise
    except Exception as error:  # libsndfile's errors, and those of its wrapper on odd headers
        reason = " ".join(str(getattr(error, "error_string", error)).split())
        raise DamagedItem(reason[:80] or "not a sound file") from error
    if not len(sound):
        raise DamagedItem("no sound in it")
    if len(sound) > limit:
        return None
    if len(sound) < frames < 2**62 or _is_cut_short(path):  # above: libsndfile's "unknown"
        raise DamagedItem("cut short")
    mono = sound.mean(axis=1)
    if not np.isfinite(mono).all():
        raise DamagedItem("values that are not numbers")
    if rate != SAMPLE_RATE:
        with torch.inference_mode():
            mono = _resampler(rate)(torch.from_numpy(mono)).numpy()
    return np.clip(np.rint(mono * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def _is_cut_short(path: Path) -> bool:
    """Whether a wav ends before its header says; libsndfile reads such a file as if it were whole."""
    with open(path, "rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return False
    promised = int.from_bytes(head[4:8], "little")
    streamed = promised == 0 or promised >= 0x7FFFFF00  # written to a pipe, the size unknown
    return (
        not streamed and promised + 8 > path.stat().st_size + 1
    )  # +1: a padding byte that some writers omit


@functools.lru_cache(maxsize=8)
def _resampler(rate: int) -> torch.nn.Module:
    import torchaudio

    common = math.gcd(rate, SAMPLE_RATE)
    return torchaudio.transforms.Resample(rate // common, SAMPLE_RATE // common)
