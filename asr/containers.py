"""Whether a sound file is whole, by what its container says; libsndfile reads most of those cut short as if they were.

Containers that say nothing, or were streamed and could not know their length, count as whole.
"""

import io
import os
from collections.abc import Iterator
from typing import BinaryIO

UNKNOWN_32 = 0x7FFF0000  # sizes from here on are those of a stream: some write 0x7FFFFFFF, some 0xFFFFFFFF


def size_of(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def kind_of(file: BinaryIO) -> str:
    """Which container begins here: wav, aiff, au, w64, caf, ogg, flac, mp3, mp4, matroska, aac, or "" for another."""
    file.seek(0)
    head = file.read(16)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[:4] == b"riff" and head[4:8] == b"\x2e\x91\xcf\x11":
        return "w64"
    if head[4:8] == b"ftyp":
        return "mp4"
    starts = {
        b".snd": "au", b"caff": "caf", b"OggS": "ogg", b"fLaC": "flac", b"ID3": "mp3", b"\x1aE\xdf\xa3": "matroska",
    }  # fmt: skip
    for start, kind in starts.items():
        if head.startswith(start):
            return kind
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    return "mp3" if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 else ""


def is_cut_short(file: BinaryIO) -> bool:
    """Whether the container promises more bytes than there are."""
    checks = {
        "wav": _riff_is_cut, "aiff": _form_is_cut, "au": _au_is_cut, "w64": _w64_is_cut, "caf": _caf_is_cut,
        "ogg": _ogg_is_cut, "mp3": _mp3_is_cut, "mp4": _mp4_is_cut,
        "matroska": _matroska_is_cut,
    }  # fmt: skip
    check = checks.get(kind_of(file))
    return check is not None and check(file, size_of(file))


def _number(data: bytes, order: str) -> int:
    return int.from_bytes(data, order)  # type: ignore[arg-type]


def _chunks(file: BinaryIO, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and promised length of the chunks of a RIFF or FORM file."""
    at = 12
    while at + 8 <= size:
        file.seek(at)
        name, length = file.read(4), _number(file.read(4), order)
        yield name, at + 8, length
        at += 8 + length + length % 2


def _riff_is_cut(file: BinaryIO, size: int) -> bool:
    if streamed_wav(file) is not None:
        return False
    file.seek(4)
    promised = _number(file.read(4), "little") + 8
    # a padding byte is omitted by some writers
    if promised < UNKNOWN_32 and promised > size + 1:
        return True
    return any(
        name == b"data" and length < UNKNOWN_32 and first + length > size + 1
        for name, first, length in _chunks(file, size, "little")
    )


def streamed_wav(file: BinaryIO) -> int | None:
    """Where the samples begin in a wav that was written to a pipe, so that its sizes say nothing; None for others."""
    if kind_of(file) != "wav":
        return None
    file.seek(4)
    whole = _number(file.read(4), "little")
    is_unknown = whole == 0 or whole >= UNKNOWN_32
    size = size_of(file)
    for name, first, length in _chunks(file, size, "little"):
        if name == b"data":
            return first if length >= UNKNOWN_32 or (is_unknown and length == 0) else None
    return None


def with_size(file: BinaryIO, first: int, most: int) -> BinaryIO:
    """A streamed wav with its sizes filled in, of at most `most` bytes of samples; they begin at `first`."""
    file.seek(0)
    content = bytearray(file.read(first + most))
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    content[first - 4 : first] = (len(content) - first).to_bytes(4, "little")
    return io.BytesIO(content)


def _form_is_cut(file: BinaryIO, size: int) -> bool:
    file.seek(4)
    promised = _number(file.read(4), "big") + 8
    return 8 < promised < UNKNOWN_32 and promised > size + 1


def _au_is_cut(file: BinaryIO, size: int) -> bool:
    file.seek(4)
    first, length = _number(file.read(4), "big"), _number(file.read(4), "big")
    return length < UNKNOWN_32 and first + length > size


def _w64_is_cut(file: BinaryIO, size: int) -> bool:
    file.seek(16)
    promised = _number(file.read(8), "little")
    return promised < 2**62 and promised > size + 7  # chunks are filled up to 8 bytes


def _caf_is_cut(file: BinaryIO, size: int) -> bool:
    at = 8
    while at + 12 <= size:
        file.seek(at)
        name, length = file.read(4), _number(file.read(8), "big")
        if length >= 2**63:  # -1: the samples go on to the file's end
            return False
        at += 12 + length
        if name == b"data":
            return at > size
    return at != size


def _ogg_is_cut(file: BinaryIO, size: int) -> bool:
    """Whether the last page ends beyond the file. One without the end flag is whole: some recorders set none."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(27)
        if len(head) < 27 and b"OggS".startswith(head[:4]):
            return True
        if head[:4] != b"OggS":  # something else behind the last page
            return False
        sizes = file.read(head[26])
        at += 27 + head[26] + sum(sizes)
        if len(sizes) < head[26] or at > size:
            return True
    return False


# kbit/s by (MPEG 1 or not) of layer III, and Hz of MPEG 1; 2 and 2.5 have a half and a quarter of it
_BITRATES = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)


def _mp3_frame(head: bytes) -> int:
    """Bytes of the layer III frame that begins with these 4; 0 where none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2 or head[1] >> 3 & 3 == 1:
        return 0
    version, rate, bits = head[1] >> 3 & 3, head[2] >> 2 & 3, head[2] >> 4
    if rate == 3 or bits in (0, 15):
        return 0
    hertz = _RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    return (144 if version == 3 else 72) * _BITRATES[version == 3][bits] * 1000 // hertz + (head[2] >> 1 & 1)


def _mp3_is_cut(file: BinaryIO, size: int) -> bool:
    """Whether the last frame ends beyond the file, or there are fewer frames than the first (Xing, Info) counts."""
    at = 0
    file.seek(0)
    head = file.read(10)
    if head[:3] == b"ID3":
        at = 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
    frames, counted = 0, None
    while at < size:
        file.seek(at)
        head = file.read(4)
        length = _mp3_frame(head)
        if not length:  # a tag at the end, or padding
            break
        if frames == 0:
            first = head + file.read(min(length, 256) - 4)
            for mark in (b"Xing", b"Info"):
                place = first.find(mark, 4, 64)
                if place > 0 and _number(first[place + 4 : place + 8], "big") & 1:
                    counted = _number(first[place + 8 : place + 12], "big")
        at += length
        frames += 1
        if at > size:
            return True
    return counted is not None and frames < counted


def _mp4_is_cut(file: BinaryIO, size: int) -> bool:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        length = _number(file.read(4), "big")
        file.read(4)
        if length == 1:
            length = _number(file.read(8), "big")
        if length == 0:  # up to the file's end
            return False
        if length < 8:
            return True
        at += length
    return at != size


def _matroska_is_cut(file: BinaryIO, size: int) -> bool:
    """Whether the segment, which follows the header, ends beyond the file; a browser's stream does not say where."""
    at = 4 + _variable_size(file, 4)[1]
    at += _variable_size(file, 4)[0] or 0
    file.seek(at)
    if file.read(4) != b"\x18\x53\x80\x67":
        return at + 4 > size
    length, taken = _variable_size(file, at + 4)
    return length is not None and at + 4 + taken + length > size


def _variable_size(file: BinaryIO, at: int) -> tuple[int | None, int]:
    """EBML's number at a place, None where all its bits are set: unknown; and how many bytes it takes."""
    file.seek(at)
    first = file.read(1) or b"\x01"
    taken = 9 - max(first[0].bit_length(), 1)
    value = _number(first + file.read(taken - 1), "big") & ((1 << 7 * taken) - 1)
    return (None if value == (1 << 7 * taken) - 1 else value), taken
