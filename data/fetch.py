"""Files from the internet: resumed where they were cut, checked, and unpacked inside their folder only."""

import hashlib
import http.client
import os
import re
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from core.errors import UserError
from core.files import make_folder, write_text
from data.downloads import Download
from data.packed import check_space

ATTEMPTS = 4  # of a connection that is cut, before it is a user's matter
TIMEOUT = 30  # seconds without a byte
ARCHIVES = (".tgz", ".tar.gz", ".tar.bz2", ".zip")
GROWTH = 1.5  # an archive of pictures or sound unpacked, beside itself


def fetch(download: Download, folder: Path) -> Path:
    """What a download makes, in `folder`; fetched and unpacked if it is not there.

    A file that was cut goes on where it stopped (HTTP Range), also after the process has ended. Raises UserError
    where the address cannot be reached, the checksum is another, the disk is too small, or an archive would write
    outside its folder.
    """
    made = folder / download.makes
    if made.exists():
        return made
    make_folder(folder)
    name = Path(urllib.parse.urlsplit(download.url).path).name
    is_archive = name.endswith(ARCHIVES)
    file = folder / name
    if not file.exists():
        partial = folder / f"{name}.part"
        needed = int(download.bytes * (1 + GROWTH if is_archive else 1)) - _size(partial)
        check_space(folder, needed, f"downloading {name}")
        _download(download.url, partial)
        _check(download, partial, name)
        try:
            os.replace(partial, file)
        except OSError as error:
            raise UserError(f"cannot write {file}: {error.strerror}; choose another folder") from error
    if is_archive:
        unpack(file, folder)
        file.unlink(missing_ok=True)
    if not made.exists():
        raise UserError(f"{download.url} holds no {download.makes}; its publisher has changed it")
    return made


def _download(url: str, partial: Path) -> None:
    """Fill `partial` from where it ends to the end of the file at `url`."""
    host = urllib.parse.urlsplit(url).hostname
    by_hand = f"or fetch {url} by other means into {partial.parent}"
    last = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(0.2 * 4**attempt)
        try:
            if _go_on(url, partial):
                return
            last = "the connection was cut"
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise UserError(f"{url}: {error.code} {error.reason}; its publisher has moved it") from error
            last = f"{error.code} {error.reason}"
        except urllib.error.URLError as error:
            if not isinstance(error.reason, TimeoutError | ConnectionError) or isinstance(
                error.reason, ConnectionRefusedError
            ):
                reason = getattr(error.reason, "strerror", None) or error.reason
                raise UserError(
                    f"cannot reach {host} ({reason}); connect to the internet and run this again, {by_hand}"
                ) from error
            last = str(error.reason)
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            last = str(error) or type(error).__name__
        except OSError as error:
            raise UserError(
                f"cannot write {partial}: {error.strerror}; free some space, the same command goes on"
            ) from error
    raise UserError(
        f"{host} sent {_size(partial):,} bytes of {partial.stem} and then nothing more ({last}); run this again to go "
        f"on from there, {by_hand}"
    )


def _go_on(url: str, partial: Path) -> bool:
    """One connection; True where the file is whole."""
    have = _size(partial)
    request = urllib.request.Request(url, headers={"User-Agent": "data.prepare"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send; the checksum tells whether that is right
            return True
        raise
    with answer:
        resumed = answer.status == 206
        start = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if resumed and (start is None or int(start[1]) != have):
            raise http.client.HTTPException("another range than was asked for")
        have = have if resumed else 0
        left = answer.headers.get("Content-Length")
        total = have + int(left) if left and left.isdigit() else None
        with (
            open(partial, "ab" if resumed else "wb") as file,
            tqdm(
                total=total, initial=have, desc=partial.stem, unit="B", unit_scale=True, disable=None
            ) as bar,
        ):
            while block := answer.read(2**18):
                file.write(block)
                bar.update(len(block))
    return total is None or _size(partial) >= total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check(download: Download, partial: Path, name: str) -> None:
    kind, _, expected = download.checksum.partition(":")
    seen = partial.parent / f"{name}.sha256"
    kept = seen.read_text(encoding="utf-8", errors="replace").split() if seen.exists() else []
    if not expected and kept:
        kind, expected = "sha256", kept[0]
    with open(partial, "rb") as file:
        found = hashlib.file_digest(file, kind or "sha256").hexdigest()
    if not found.startswith(expected):
        partial.unlink()
        raise UserError(
            f"{name} has the {kind.upper()} {found[: len(expected)]}, {expected} is expected: it was damaged on the "
            f"way, or {download.url} has changed; it is removed, run this again"
        )
    if not expected:
        write_text(seen, f"{found}  {name}\n")
        print(f"{name}: no checksum is published; its SHA-256 is kept in {seen.name} and checked from now on")


# --- archives ----------------------------------------------------------------------------------------------------


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar or zip file into a folder, all or nothing. Raises UserError where it is damaged, does not fit the
    disk, or holds a path out of the folder, a link out of it, or a device; what was there is kept."""
    beside = Path(tempfile.mkdtemp(prefix=f".unpacking-{archive.name}.", dir=folder))
    try:
        members = _zip(archive, beside) if archive.suffix == ".zip" else _tar(archive, beside)
        for _ in tqdm(members, desc=f"unpacking {archive.name}", unit="file", disable=None):
            pass
        for part in sorted(beside.iterdir()):
            if not (folder / part.name).exists():
                os.replace(part, folder / part.name)
    except (tarfile.FilterError, _Outside) as error:
        raise UserError(f"{archive} was refused: {str(error)[:120]}; take it from its publisher") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise UserError(f"{archive} is damaged ({str(error)[:80]}); remove it and run this again") from error
    except OSError as error:
        reason = error.strerror or str(error)[:80]
        raise UserError(
            f"cannot unpack {archive}: {reason}; free some space, or remove it to fetch it anew"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


class _Outside(Exception):
    pass


def _tar(archive: Path, folder: Path) -> Iterator[str]:
    with tarfile.open(archive) as file:
        for member in file:
            check_space(folder, member.size, f"unpacking {archive.name}")
            file.extract(member, folder, filter="data")
            yield member.name


def _zip(archive: Path, folder: Path) -> Iterator[str]:
    with zipfile.ZipFile(archive) as file:
        check_space(folder, sum(member.file_size for member in file.infolist()), f"unpacking {archive.name}")
        for member in file.infolist():
            name = member.filename.replace("\\", "/")
            is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
            if name.startswith("/") or ".." in name.split("/") or re.match("[A-Za-z]:", name) or is_link:
                raise _Outside(f"{member.filename!r} would be written outside the destination")
            file.extract(member, folder)
            yield name
