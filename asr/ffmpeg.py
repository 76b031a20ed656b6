"""What libsndfile cannot read (webm, m4a, mp4, aac), by the program ffmpeg, where it is installed."""

import io
import re
import shutil
import subprocess
import tempfile
from typing import BinaryIO

from asr.audio import UnreadableSound
from asr.containers import is_cut_short
from core.errors import printable

DEMUXERS = {"mp4": "mov", "matroska": "matroska", "aac": "aac"}  # the one that our own look at the file chose
MOST_BYTES = 1 << 28  # of decoded sound: 46 minutes of stereo at 48 kHz
MOST_SECONDS = 60.0  # of decoding


def decode(file: BinaryIO, kind: str, name: str, max_seconds: float) -> BinaryIO:
    """A file of the container `kind` -> a wav of 16 bit of its first sound, no longer than just above `max_seconds`.

    Raises UnreadableSound where ffmpeg is not there, takes too long or cannot read it.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise UnreadableSound(
            f"{kind}, which needs ffmpeg",
            f"{name} is {kind}, which needs the program ffmpeg: install it (apt install ffmpeg, brew install ffmpeg), "
            "or convert the recording to wav",
        )
    if is_cut_short(file):
        raise UnreadableSound("cut short", f"{name} is truncated or damaged; copy or record it again")
    with tempfile.NamedTemporaryFile(suffix=f".{kind}") as copy:  # mp4 cannot be read from a pipe
        file.seek(0)
        shutil.copyfileobj(file, copy)
        copy.flush()
        command = [
            program, "-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file,pipe", "-f", DEMUXERS[kind],
            "-i", f"file:{copy.name}", "-map", "0:a:0", "-vn", "-sn", "-dn", "-t", f"{max_seconds + 1:g}",
            "-fs", str(MOST_BYTES), "-c:a", "pcm_s16le", "-f", "wav", "pipe:1",
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise UnreadableSound(
                "decoding takes too long",
                f"ffmpeg took over {MOST_SECONDS:g} s to read {name}; convert it to wav",
            ) from error
        except OSError as error:
            raise UnreadableSound(
                "ffmpeg does not start",
                f"cannot start {program} to read {name}: {error.strerror}; reinstall it",
            ) from error
    if done.returncode != 0 or len(done.stdout) <= 44:
        words = re.sub(r"\[[^]]*\]", "", done.stderr.decode(errors="replace")).replace(copy.name, name)
        said = printable(" ".join(words.split())[-120:])
        raise UnreadableSound(
            "ffmpeg cannot read it",
            f"ffmpeg cannot read {name} ({said or 'no sound in it'}); record it again",
        )
    return io.BytesIO(done.stdout)
