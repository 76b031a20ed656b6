"""Where pictures go: names from sentences, folders that can be written, PNG files that say how to make them again."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import UserError, printable
from core.files import make_folder, write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

FOLDER = Path("outputs")
LONGEST_NAME = 60  # letters that a file name takes from a sentence
ROOM = 2**20  # bytes that a folder must be able to take: about a page of pictures


def clean_text(text: str) -> str:
    """A sentence on one line. Control characters become blanks; bytes that are not UTF-8, which Python reads from the
    command line as surrogates, are read as Latin-1, the usual encoding of such terminals."""
    letters = (chr(ord(c) - 0xDC00) if "\udc80" <= c <= "\udcff" else c for c in text)
    letters = ("\ufffd" if "\ud800" <= c <= "\udfff" else c if c.isprintable() else " " for c in letters)
    return " ".join("".join(letters).split())


def digest(text: str) -> str:
    """Six hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def slug(text: str) -> str:
    """The text's letters and digits as a file name, accents left out.

    Where letters have no ASCII form, a checksum of the text stands for them: texts in other scripts get names of their
    own.
    """
    letters = unicodedata.normalize("NFKD", text.casefold())
    name = re.sub(r"[^a-z0-9]+", "-", letters.encode("ascii", "ignore").decode()).strip("-")
    name = name[:LONGEST_NAME].rstrip("-")
    if name and not any(c.isalnum() and not c.isascii() for c in letters):
        return name
    return f"{name or 'birds'}-{digest(text)}"


def siblings(path: Path, kinds: Sequence[str]) -> list[Path]:
    """The pictures that a command writes: the grid at `path`, and beside it one for each further kind."""
    return [path, *(path.with_name(f"{path.stem}-{kind}.png") for kind in kinds)]


def free_path(path: Path, text: str, kinds: Sequence[str]) -> Path:
    """`path`; or, where it or a sibling holds the picture of another sentence, the name with the text's checksum."""
    if all(not p.exists() or stored_text(p) == text for p in siblings(path, kinds)):
        return path
    return path.with_stem(f"{path.stem}-{digest(text)}")


def stored_text(path: Path) -> str | None:
    """The sentence in the metadata of a PNG that `save_png` wrote; None for any other file."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            return str(image.info.get("text"))
    except (OSError, ValueError, SyntaxError):
        return None


def check_out(path: Path) -> None:
    """Raise UserError where `path` cannot be the name of a picture."""
    if path.suffix.lower() != ".png":
        raise UserError(f'--out {path} ends in "{path.suffix}"; pictures are written as .png')
    try:
        if path.is_dir():
            raise UserError(f"--out {path} is a folder; name a file in it, e.g. {path / 'birds.png'}")
        if path.exists() and not path.is_file():
            raise UserError(f"--out {path} is not an ordinary file; choose another path")
    except (OSError, ValueError) as error:  # a name that the system refuses
        raise cannot_write(path, error) from error


def check_room(paths: Sequence[Path]) -> None:
    """Raise UserError, before any work is done, where pictures of these names cannot be written: the folder cannot be
    made, is read-only or full, or a name is too long."""
    longest = max(paths, key=lambda path: len(path.name.encode("utf-8", "surrogatepass")))
    probe = longest.with_name(f".{longest.name}.xxxxxxxx")  # as long as the name of the unfinished file
    try:
        make_folder(longest.parent)
        try:
            probe.write_bytes(bytes(ROOM))
        finally:
            probe.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise cannot_write(longest, error) from error


def cannot_write(path: Path, error: Exception) -> UserError:
    why = getattr(error, "strerror", None) or error
    return UserError(f"cannot write {path}: {why}; choose another path with --out")


def png_facts(facts: dict[str, str]) -> "PngInfo":
    """Facts as PNG text, which viewers and `PIL.Image.open(path).info` show."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, value in facts.items():
        info.add_text(key, printable(value))
    return info


def save_png(image: "Image", path: Path, facts: dict[str, str]) -> None:
    """Write a picture with its facts; see `png_facts`."""
    info = png_facts(facts)
    write_atomically(path, lambda beside: image.save(beside, format="PNG", pnginfo=info))
