"""Recorded sentences with their transcripts, in the layouts of LJSpeech and LibriSpeech.

    LJSpeech      <root>/metadata.csv           id|text|normalised text, no quoting
                  <root>/wavs/<id>.wav          or another format
                  <root>/splits/<split>.txt     ids, one a line; without them the split is by chapters
    LibriSpeech   <root>/<split>/<reader>/<chapter>/<reader>-<chapter>.trans.txt    id TEXT
                  <root>/<split>/<reader>/<chapter>/<id>.flac

Sound of every format, rate and number of channels that `asr.audio` reads becomes mono 16 kHz int16 in a packed
cache (data/packed.py), once.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import Literal

import numpy as np

from asr.audio import UnreadableSound, mix, read_recording, resample
from core.errors import UserError
from data.files import File
from data.packed import DamagedItem, Packed, fingerprint, open_or_pack, open_sound_items
from data.speech_layouts import Clip, chapter_split, list_clips, no_audio_line

__all__ = ["SpeechSet", "chapter_split", "load_speech"]

FULL_SCALE = 32_768  # int16 value of 1.0
VERSION = 2  # raised when decoding or resampling changes: older caches are packed anew
BLOCK = 512  # bytes at a file's beginning, middle and end that its mark is made of

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


def load_speech(
    root: Path | str,
    split: str,
    cache: Path | str,
    layout: Literal["auto", "ljspeech", "librispeech"] = "auto",
    on_damaged: Literal["error", "skip"] = "error",
    max_seconds: float = 20.0,
    split_by: Literal["auto", "files", "chapters"] = "auto",
    advice: str = "--skip-damaged",
) -> SpeechSet:
    """Read one split of a set in the layout of LJSpeech or LibriSpeech.

    split: of LJSpeech a name in splits/ (split_by="files"), or train, val, test by chapters (split_by="chapters", see
    `chapter_split`); "auto" takes the files where the set has them. Of LibriSpeech the name of a subset, such as
    "train-clean-100". Clips longer than `max_seconds` are dropped and counted; so are LJSpeech's lines without audio,
    since parts of that set are common. Clips that are damaged, empty or without a transcript, and in LibriSpeech those
    without audio, are collected over the whole split; they are a UserError, or with on_damaged="skip" left out and
    named in a warning; `advice` is how the caller's user asks for that. Raises UserError too for an unknown layout or
    split, and where no audio is left.
    """
    root, cache = Path(root), Path(cache)
    layout, listed = list_clips(root, split, layout, split_by)  # type: ignore[assignment]
    problems: dict[str, str] = {}
    clips_with_sound: list[Clip] = []
    files: list[File] = []
    missing = 0
    for clip in listed:
        if clip.audio is None and layout == "ljspeech":
            missing += 1
        elif clip.audio is None:
            problems[clip.id] = "no audio"
        elif not clip.text.strip():
            problems[clip.id] = "no transcript"
        else:
            clips_with_sound.append(clip)
            files.append(clip.audio)
    if missing == len(listed):
        raise UserError(no_audio_line(root, split, len(listed), split_by))

    skip = on_damaged == "skip"
    clips, problems = open_sound_items(
        lambda: open_or_pack(
            cache_stem(root, cache, split, split_by),
            fingerprint("speech", layout, VERSION, max_seconds, [mark_of(root, file) for file in files]),
            len(files),
            lambda item: read_clip(files[item].path, max_seconds),
            "int16",
            f"packing {split} speech",
            "clip",
            keep_going=skip,
        ),
        [clip.id for clip in clips_with_sound],
        problems,
        [clip.id for clip in listed],
        f"{split} clips in {root}",
        "" if skip else advice,
    )
    if not len(clips):
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
    kept = [clips_with_sound[item] for item in clips.kept]
    return SpeechSet(
        [clip.id for clip in kept],
        [clip.text for clip in kept],
        [clip.speaker for clip in kept],
        clips,
        missing,
        len(clips.dropped),
        problems,
    )


def cache_stem(root: Path, cache: Path, split: str, split_by: str) -> Path:
    """Where a split of the set at `root` is packed: sets in folders of one name have caches of their own."""
    place = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:8]
    return cache / f"{root.resolve().name}-{place}-{split}{'-chapters' if split_by == 'chapters' else ''}"


def mark_of(root: Path, file: File) -> list[str | int]:
    """Which version of which file this is: its path in the set, size, time of the last change, and a checksum of some
    of its bytes, since a copy may keep the time and a new recording the length."""
    digest = hashlib.sha256()
    try:
        with open(file.path, "rb") as opened:
            for start in (0, max(file.bytes - BLOCK, 0) // 2, max(file.bytes - BLOCK, 0)):
                opened.seek(start)
                digest.update(opened.read(BLOCK))
    except OSError:  # decoding it will say why
        pass
    return [os.path.relpath(file.path, root), file.bytes, file.changed, digest.hexdigest()[:16]]


def read_clip(path: Path, max_seconds: float) -> np.ndarray | None:
    """Samples (S,) int16, mono 16 kHz; None where longer than `max_seconds`. Raises DamagedItem."""
    try:
        recording = read_recording(path, max_seconds)
    except UnreadableSound as error:
        raise DamagedItem(error.reason) from error
    if recording.seconds > max_seconds:
        return None
    if not np.isfinite(recording.samples).all():
        raise DamagedItem("values that are not numbers")
    mono = resample(mix(recording.samples), recording.rate)
    return np.clip(np.rint(mono * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
