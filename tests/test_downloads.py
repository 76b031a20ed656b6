"""Downloads from a server on this machine: resumed, checked, unpacked inside their folder, and told in one line."""

import hashlib
import http.server
import io
import re
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_cub import make_set

from core.errors import UserError
from data import fetch as fetching
from data import prepare
from data.downloads import DOWNLOADS, Download
from data.fetch import fetch, unpack
from data.ljspeech_splits import write_published_splits


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files`; knows Range unless told not to; may cut the connection after some bytes, some times."""

    files: dict[str, bytes] = {}
    requests: list[tuple[str, str]] = []
    cuts: list[int] = []  # bytes until the connection is cut, one a request
    knows_range = True

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        type(self).requests.append((self.path, asked))
        content = self.files.get(self.path)
        if content is None:
            return self.send_error(404)
        start = int(re.findall(r"\d+", asked)[0]) if asked and self.knows_range else 0
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + self.cuts.pop(0) if self.cuts else None
        self.wfile.write(content[start:end])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: None)
    handler = type("Handler", (Server,), {"files": {}, "requests": [], "cuts": []})
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    handler.url = f"http://127.0.0.1:{httpd.server_port}"
    yield handler
    httpd.shutdown()
    httpd.server_close()


CONTENT = bytes(range(256)) * 400


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def of(server, name: str = "net.pth", checksum: str = sha256(CONTENT), makes: str = "") -> Download:
    return Download(f"{server.url}/{name}?download=1", 1000, checksum, makes or name, "free")


def test_a_file_is_fetched_once(server, tmp_path):
    server.files["/net.pth?download=1"] = CONTENT
    assert fetch(of(server), tmp_path / "new").read_bytes() == CONTENT
    fetch(of(server), tmp_path / "new")
    assert len(server.requests) == 1 and [path.name for path in (tmp_path / "new").iterdir()] == ["net.pth"]


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_published_checksums_in_full_or_their_first_digits(server, tmp_path, kind):
    server.files["/net.pth?download=1"] = CONTENT
    digest = hashlib.new(kind, CONTENT).hexdigest()
    for i, given in enumerate((digest, digest[:8])):
        assert fetch(of(server, checksum=f"{kind}:{given}"), tmp_path / str(i)).exists()


def test_a_cut_connection_goes_on_where_it_stopped(server, tmp_path):
    server.files["/net.pth?download=1"] = CONTENT
    server.cuts += [30_000, 40_000]
    assert fetch(of(server), tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == ["", "bytes=30000-", "bytes=70000-"]


def test_a_part_of_an_earlier_process_is_used(server, tmp_path):
    server.files["/net.pth?download=1"] = CONTENT
    (tmp_path / "net.pth.part").write_bytes(CONTENT[:50_000])
    assert fetch(of(server), tmp_path).read_bytes() == CONTENT
    assert server.requests[0][1] == "bytes=50000-"
    (tmp_path / "net.pth").rename(tmp_path / "net.pth.part")  # whole, but not yet checked
    assert fetch(of(server), tmp_path).read_bytes() == CONTENT


def test_a_server_without_range_starts_anew(server, tmp_path):
    server.files["/net.pth?download=1"], server.knows_range = CONTENT, False
    (tmp_path / "net.pth.part").write_bytes(CONTENT[:50_000])
    assert fetch(of(server), tmp_path).read_bytes() == CONTENT


def test_what_is_cut_again_and_again_is_kept(server, tmp_path):
    server.files["/net.pth?download=1"] = CONTENT
    server.cuts += [1000] * 4
    with pytest.raises(
        UserError, match=r"127.0.0.1 sent 4,000 bytes of net.pth .*run this again to go on"
    ) as caught:
        fetch(of(server), tmp_path)
    assert "\n" not in str(caught.value)
    assert fetch(of(server), tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_removed(server, tmp_path):
    server.files["/net.pth?download=1"] = CONTENT[:-1] + b"!"
    with pytest.raises(
        UserError, match="net.pth has the SHA256 .* is expected: .*it is removed, run this again"
    ):
        fetch(of(server), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_published_checksum_the_first_one_is_kept(server, tmp_path, capsys):
    server.files["/net.pth?download=1"] = CONTENT
    fetch(of(server, checksum=""), tmp_path)
    assert "no checksum is published" in capsys.readouterr().out
    assert (tmp_path / "net.pth.sha256").read_text().split()[0] == sha256(CONTENT).removeprefix("sha256:")
    (tmp_path / "net.pth").unlink()
    server.files["/net.pth?download=1"] = CONTENT[:-1] + b"!"
    with pytest.raises(UserError, match="net.pth has the SHA256"):
        fetch(of(server, checksum=""), tmp_path)


def test_what_is_not_there_or_cannot_be_reached(server, tmp_path):
    with pytest.raises(UserError, match=r"net.pth\?download=1: 404 Not Found; its publisher has moved it"):
        fetch(of(server), tmp_path)
    offline = of(server)._replace(url="http://127.0.0.1:9/net.pth")
    with pytest.raises(
        UserError, match="cannot reach 127.0.0.1 .*connect to the internet .*or fetch http"
    ) as caught:
        fetch(offline, tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot reach no.such.host.invalid"):
        fetch(offline._replace(url="http://no.such.host.invalid/a.pth"), tmp_path)


def test_a_disk_too_small_is_told_before_anything_is_fetched(server, tmp_path):
    with pytest.raises(UserError, match="downloading net.pth needs .* GB, .* free in"):
        fetch(of(server)._replace(bytes=10**18), tmp_path)
    assert server.requests == []


# --- archives ---


def tar(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            file.addfile(info)
    return out.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(("name", "pack"), [("set.tgz", tar), ("set.zip", zipped)])
def test_an_archive_is_unpacked_and_removed(server, tmp_path, name, pack):
    archive = pack({"birds/a.txt": b"a", "birds/x/b.txt": b"b", "note.txt": b""})
    server.files[f"/{name}?download=1"] = archive
    made = fetch(of(server, name, sha256(archive), "birds"), tmp_path / "set")
    assert (made / "x" / "b.txt").read_bytes() == b"b"
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["birds", "note.txt"]


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("a.tgz", tar({"ok.txt": b"", "../out.txt": b"x"})),
        ("b.tgz", tar({"ok.txt": b""}, {"birds": "../../out"})),
        ("c.tgz", tar({"ok.txt": b""}, {"birds": "/etc/passwd"})),
        ("d.zip", zipped({"ok.txt": b"", "../out.txt": b"x"})),
        ("e.zip", zipped({"ok.txt": b"", "/out.txt": b"x"})),
        ("f.zip", zipped({"ok.txt": b"", "..\\out.txt": b"x"})),
    ],
)
def test_a_path_out_of_the_folder_is_refused(tmp_path, name, archive):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_bytes(archive)
    with pytest.raises(UserError, match="was refused"):
        unpack(folder / name, folder)
    assert [path.name for path in folder.iterdir()] == [name] and [p.name for p in tmp_path.iterdir()] == [
        "in"
    ]


@pytest.mark.parametrize(("name", "pack"), [("set.tgz", tar), ("set.zip", zipped)])
def test_a_damaged_archive_leaves_nothing_half_done(tmp_path, name, pack):
    whole = pack({f"birds/{i}.txt": bytes(range(256)) * 9 for i in range(9)})
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="is damaged|cannot unpack"):
        unpack(tmp_path / name, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


# --- the command ---


def test_the_command_fetches_reads_and_says_what_is_missing(server, tmp_path, monkeypatch, capsys):
    root = make_set(tmp_path / "made")
    archive = tar(
        {
            str(path.relative_to(root)): path.read_bytes()
            for path in (root / "CUB_200_2011").rglob("*")
            if path.is_file()
        }
    )
    server.files["/CUB.tgz?download=1"] = archive
    monkeypatch.setitem(DOWNLOADS, "cub", [of(server, "CUB.tgz", sha256(archive), "CUB_200_2011")])
    words = ["cub", "--download", "--root", str(tmp_path / "sets"), "--size", "16"]
    with pytest.raises(
        UserError, match="still missing are the captions: take text/ .*github.com/taoxugit/AttnGAN"
    ):
        prepare.main(words)
    for part in ("text", "train", "test"):
        (root / part).rename(tmp_path / "sets" / "cub" / part)
    prepare.main(words)
    said = capsys.readouterr().out
    assert "train: 4 pictures of 2 classes" in said and "CUB_200_2011: free; 0 MB from http" in said
    assert len(server.requests) == 1


LJSPEECH = Path(__file__).resolve().parents[2] / "shared" / "realdata" / "speech" / "LJSpeech-1.1"


def ljspeech_archive(ids: list[str]) -> bytes:
    """A set of LJSpeech's layout: half a second of a tone for each id."""
    tone = np.sin(np.arange(11_025) * 0.1)
    sounds = {}
    for id in ids:
        sound = io.BytesIO()
        soundfile.write(sound, tone, 22_050, format="WAV")
        sounds[f"LJSpeech-1.1/wavs/{id}.wav"] = sound.getvalue()
    metadata = "".join(f"{id}|Said {id}.|said\n" for id in ids)
    return tar({"LJSpeech-1.1/metadata.csv": metadata.encode(), **sounds})


def test_ljspeech_comes_with_the_usual_lists(server, tmp_path, monkeypatch, capsys):
    archive = ljspeech_archive(["LJ001-0001", "LJ001-0002", "LJ022-0023", "LJ045-0096", "LJ049-0022"])
    server.files["/lj.tgz?download=1"] = archive
    monkeypatch.setitem(DOWNLOADS, "ljspeech", [of(server, "lj.tgz", sha256(archive), "LJSpeech-1.1")])
    prepare.main(["ljspeech", "--download", "--root", str(tmp_path)])
    said = capsys.readouterr().out
    assert "train: 2 clips" in said
    lists = tmp_path / "LJSpeech-1.1" / "splits"
    assert (lists / "train.txt").read_text() == "LJ001-0001\nLJ001-0002\n"
    assert (lists / "val.txt").read_text() == "LJ022-0023\n"
    assert set((lists / "test.txt").read_text().split()) == {"LJ045-0096", "LJ049-0022"}
    (lists / "train.txt").write_text("LJ001-0002\n")  # one's own lists stay
    prepare.main(["ljspeech", "--download", "--root", str(tmp_path)])
    assert "train: 1 clips" in capsys.readouterr().out


@pytest.mark.skipif(not LJSPEECH.is_dir(), reason="needs ../shared/realdata")
def test_the_usual_lists_are_those_of_tacotron(tmp_path):
    (tmp_path / "metadata.csv").write_bytes((LJSPEECH / "metadata.csv").read_bytes())
    write_published_splits(tmp_path)
    for split, count in (("train", 12_500), ("val", 100), ("test", 500)):
        ours = (tmp_path / "splits" / f"{split}.txt").read_text().split()
        theirs = (LJSPEECH / "splits" / f"{split}.txt").read_text().split()
        assert len(ours) == count and sorted(ours) == sorted(theirs)


def test_voices_are_fetched_by_the_command(server, tmp_path, monkeypatch):
    files = {f"{voice}.bin": bytes([i]) * 1000 for i, voice in enumerate(("af_sky", "bm_lewis"))}
    server.files.update({f"/{name}?download=1": content for name, content in files.items()})
    monkeypatch.setitem(DOWNLOADS, "kokoro", [of(server, name, sha256(files[name])) for name in files])
    prepare.main(["kokoro", "--download", "--root", str(tmp_path)])
    assert {path.name: path.read_bytes() for path in (tmp_path / "kokoro").iterdir()} == files


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["librispeech", "--download"],
            "librispeech has no address .*there are: cub, ljspeech, coco, networks",
        ),
        (["painted_birds", "--download"], "--download is for sets that are read"),
        (["cub", "--download", "--source", "x"], "--source is for a set that is there already"),
        (["networks"], "networks are only fetched: python -m data.prepare networks --download"),
        (["coco"], "no folder .*coco; name the folder of coco with --source, or fetch it with --download"),
        (["cub", "--source", "x" * 300], "no folder xxx"),
    ],
)
def test_mistakes_are_answered_in_one_line(tmp_path: Path, words, message):
    with pytest.raises(UserError, match=message):
        prepare.main([*words, "--root", str(tmp_path)])


def test_the_table_holds_whole_addresses_and_checksums():
    every = [download for downloads in DOWNLOADS.values() for download in downloads]
    assert len({download.url for download in every}) == len(every) == 53
    for download in every:
        assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:([0-9a-f]{64}|[0-9a-f]{8})", download.checksum)
        assert download.url.startswith("http") and download.bytes > 50_000 and download.licence


def test_texts_are_fetched_and_cut_into_sentences(server, tmp_path, monkeypatch, capsys):
    book = 'EMMA\r\n\r\n"Was it he?" asked the\r\n_old_ queen--then she slept; it was night. It was the 3rd.'
    server.files["/emma.txt?download=1"] = book.encode()
    monkeypatch.setitem(DOWNLOADS, "texts", [of(server, "emma.txt", sha256(book.encode()))])
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "mine.txt").write_text("The nest\nwas empty.", "utf-8")  # of the user
    (folder / "data.verb").write_text('04 29 v 01 sigh 0 | heave a sigh; "She sighed"; "one of 2"\n', "utf-8")
    for _ in range(2):  # what was written is no book
        prepare.main(["texts", "--download", "--root", str(tmp_path)])
        assert (folder / "sentences.txt").read_text("utf-8").splitlines() == [
            "She sighed", '"Was it he?', "asked the old queen then she slept;", "it was night.", "The nest was empty.",
        ]  # fmt: skip
    assert "5 sentences" in capsys.readouterr().out


def test_a_folder_without_books_says_how_to_get_some(tmp_path):
    (tmp_path / "texts").mkdir()
    with pytest.raises(UserError, match="holds no book .*--download"):
        prepare.main(["texts", "--root", str(tmp_path)])
