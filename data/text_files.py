"""Text files of data sets: captions and lists, in the encodings that editors write."""

import codecs
import os
import re
from pathlib import Path

from core.errors import UserError

MOST_BYTES = 2**30  # of a list; COCO's captions are a tenth of it


def read_text(path: Path | str) -> str:
    """A text file in UTF-8, with or without a byte-order mark, or in UTF-16 with one.

    Bytes that are no UTF-8 become U+FFFD, as AttnGAN reads CUB's captions. Raises OSError where the file cannot be
    read, ValueError where it holds NUL characters, as binary files and UTF-16 without its mark do.
    """
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise ValueError("over 1 GB; no list or caption file is so large")
        content = file.read()
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")
    if "\0" in text:
        raise ValueError("NUL characters in it; save it as UTF-8 text")
    return text


def read_lines(path: Path) -> list[tuple[int, str]]:
    """(number, line) of a list's lines that are not empty. Raises UserError where it cannot be read."""
    try:
        text = read_text(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; restore it") from error
    except ValueError as error:
        raise UserError(f"cannot read {path}: {error}") from error
    return [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def check_name(name: str, listed_in: Path) -> str:
    """The name of a picture, "class/name", with forward slashes. Raises UserError where it leads out of the set, or
    holds characters that no file name has."""
    plain = name.replace("\\", "/").removeprefix("./")
    if re.search("[\0-\x1f\x7f\ud800-\udfff]", plain):
        raise UserError(f"{listed_in} lists {ascii(name)[:80]}, which is no file name; restore it")
    if not plain or ".." in plain.split("/") or plain.startswith("/") or re.match("[A-Za-z]:", plain):
        raise UserError(f"{listed_in} lists {ascii(name)[:80]}, which leads out of the set; restore it")
    if len(os.fsencode(plain)) > 1000:
        raise UserError(f"{listed_in} lists a name of {len(plain)} characters ({plain[:40]}…); restore it")
    return plain
