"""search.py: what it prints and draws, and its one line for every mistake. An untrained tiny encoder."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from PIL import Image

import pipeline
from app import finding
from asr.transcript import Transcript, Word
from core.errors import UserError
from visualization.ranking import SIDE, Ranked, ranking

SENTENCE = "a red bird with black wings"


@pytest.fixture(scope="module")
def where(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options of the tiny set and its encoder."""
    root = tmp_path_factory.mktemp("sets")
    shutil.copytree(tiny_world / "painted_birds", root / "painted_birds")
    return ["--root", str(root), "--encoder", str(tiny_world / "damsm")]


@pytest.fixture
def picture(where: list[str]) -> Path:
    return sorted((Path(where[1]) / "painted_birds" / "CUB_200_2011" / "images").rglob("*.jpg"))[-1]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(16_000) / 10), 16_000)
    return path


@pytest.fixture
def hears(monkeypatch: pytest.MonkeyPatch):
    """Make the recogniser hear a sentence with a confidence."""

    def set_to(text: str, confidence: float) -> None:
        words = [Word(word, 0.1 * i, 0.1 * i + 0.09, confidence) for i, word in enumerate(text.split())]
        bird = pipeline.SpeechToImage(SimpleNamespace(checksum="of the recogniser"), None)  # type: ignore[arg-type]
        bird.hear = lambda *_: Transcript(text, words, confidence, 1.0)  # type: ignore[method-assign]
        monkeypatch.setattr(pipeline.SpeechToImage, "load", classmethod(lambda *_, **__: bird))

    return set_to


def run(capsys: pytest.CaptureFixture, *argv: object) -> list[str]:
    assert finding.main([str(word) for word in argv]) == 0
    return capsys.readouterr().out.splitlines()


def refuse(*argv: object) -> str:
    """The one line that a mistake is answered with."""
    with pytest.raises(UserError) as error:
        finding.main([str(word) for word in argv])
    line = str(error.value)
    assert "\n" not in line and 10 < len(line) < 500
    return line


def test_a_sentence_finds_pictures_with_rank_score_caption_and_source(where, capsys):
    printed = run(capsys, "--text", SENTENCE, "--count", 3, *where)
    assert printed[0].startswith("searched   6 pictures of ") and printed[0].endswith(
        "painted_birds (test), by damsm"
    )
    assert len(printed) == 8 and printed[-1].startswith("time ") and "search" in printed[-1]
    scores = []
    for rank in (1, 2, 3):
        first, second = printed[2 * rank - 1 : 2 * rank + 1]
        at, score, source = first.split()
        assert int(at) == rank and Path(source).is_file() and second.startswith(" " * 14)
        scores.append(float(score))
    assert scores == sorted(scores, reverse=True)


def test_json_is_one_object_on_standard_output(where, capsys):
    assert finding.main(["--text", "a red zebra", "--count", "2", "--json", *where]) == 0
    printed = capsys.readouterr()
    (line,) = printed.out.splitlines()
    found = json.loads(line)
    assert (
        found["text"] == "a red zebra" and found["encoder"]["unknown"] == ["zebra"] and found["heard"] is None
    )
    assert [hit["rank"] for hit in found["hits"]] == [1, 2] and found["set"]["pictures"] == 6
    assert all(Path(hit["source"]).is_file() and hit["caption"] and hit["width"] > 0 for hit in found["hits"])
    assert "zebra: not in the model's vocabulary, searched without" in printed.err


def test_the_page_shows_what_was_found(where, capsys, tmp_path):
    out = tmp_path / "new" / "found.png"
    printed = run(capsys, "--text", SENTENCE, "--out", out, *where)
    assert printed[-1] == str(out)
    with Image.open(out) as page:
        assert (
            page.info["text"] == SENTENCE
            and page.info["searched"] == "6 pictures of painted_birds (test), by damsm"
        )
        assert len(page.info["found"].split(", ")) == 6 and page.width > 3 * SIDE and page.height > 2 * SIDE
    assert [path.name for path in out.parent.iterdir()] == ["found.png"]


def test_a_picture_finds_captions_or_pictures_itself_the_first(where, picture, capsys, tmp_path):
    found = json.loads(run(capsys, "--image", picture, "--json", *where)[0])
    assert found["found"] == "captions" and found["text"] is None and found["image"] == str(picture)
    assert len({hit["caption"] for hit in found["hits"]}) == 10
    out = tmp_path / "x.png"
    printed = run(capsys, "--image", picture, "--find", "pictures", "--out", out, *where)
    assert printed[0].startswith("searched   6 pictures") and len(printed) == 15
    with Image.open(out) as page:
        assert page.info["picture"] == str(picture)


def test_speech_is_heard_and_searched_for(where, clip, hears, capsys, tmp_path):
    hears(SENTENCE, 0.7)
    printed = run(capsys, "--speech", clip, "--out", tmp_path / "x.png", *where)
    assert printed[0] == f"heard      {SENTENCE}   (confidence 0.70)"
    assert printed[1].startswith("warning    confidence 0.70 is low") and printed[2].startswith("searched")
    found = json.loads(run(capsys, "--speech", clip, "--json", *where)[-1])
    assert found["heard"]["recognizer"] == {"sha256": "of the recogniser"} and found["said"] == SENTENCE


def test_doubt_and_silence_are_answered_before_an_index_is_made(where, clip, hears, monkeypatch, capsys):
    from search.finder import Finder

    monkeypatch.setattr(Finder, "over", lambda *_, **__: pytest.fail("searched first"))
    hears("a red bird", 0.4)
    assert "was not understood: the nearest sentence is" in refuse("--speech", clip, *where)
    hears("", 0.0)
    assert "clip.wav: " in refuse("--speech", clip, *where)
    line = refuse("--text", "qwrtz uiopas", *where)
    assert 'no word of "qwrtz uiopas" that describes a bird is known' in line and "--anyway" in line


def test_words_are_replaced_where_asked(where, capsys):
    printed = run(capsys, "--text", "a crimson bird with black wings", *where)
    assert any("crimson: try red" in line for line in printed)
    printed = run(capsys, "--text", "a crimson bird with black wings", "--fix", *where)
    assert printed[0] == f"fixed      {SENTENCE}"


def test_named_sets_and_folders(where, tiny_world, capsys):
    folder = Path(where[1]) / "painted_birds"
    printed = run(capsys, "--text", SENTENCE, "--data", folder, "--split", "train", *where[2:])
    assert printed[0].startswith("searched   24 pictures of")
    assert 'no set painted_bird (did you mean "painted_birds"?)' in refuse(
        "--text", SENTENCE, "--data", "painted_bird", *where
    )
    assert 'no split "tset" in painted_birds (did you mean "test"?)' in refuse(
        "--text", SENTENCE, "--split", "tset", *where
    )
    assert "an encoder was expected" in refuse(
        "--text", SENTENCE, *where[:2], "--encoder", "weights/painted-parts"
    )


@pytest.mark.parametrize(
    "argv, told",
    [
        ([], "one of the arguments --text --speech --image is required"),
        (["--text", SENTENCE, "--image", "x.png"], "not allowed with"),
        (["--text", "  "], "the text is empty"),
        (["--text", SENTENCE, "--count", "0"], "--count 0: expected 1 to 1000"),
        (["--text", SENTENCE, "--count", "many"], "invalid int value"),
        (["--text", SENTENCE, "--beam", "4", "--recognizer", "x"], "needs a sound file"),
        (["--image", "x.png", "--fix"], "are for sentences"),
        (["--text", SENTENCE, "--out", "x.jpg"], "pictures are written as .png"),
        (["--text", SENTENCE, "--fnid", "captions"], 'did you mean "--find"?'),
        (["--text", SENTENCE, "--device", "gpu"], 'did you mean "cuda"?'),
        (["--text", SENTENCE, "--data", "x" * 5000], "name another folder"),
        (["--text", SENTENCE, "--index", "x" * 5000], "name another file"),
    ],
)
def test_a_mistake_is_one_line(argv, told, where):
    assert told in refuse(*argv, *where)


def test_what_is_not_installed_is_told_before_an_index_is_made(where, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    monkeypatch.setattr(finding, "locate", lambda *_: pytest.fail("looked for the set first"))
    assert "search-large" in refuse("--text", SENTENCE, "--approximate", *where)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_picture_is_named_before_anything_is_loaded(content, where, tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(content)
    line = refuse("--image", tmp_path / "x.png", *where)
    assert "x.png" in line and "name a JPEG or PNG file" in line
    assert "no such" in refuse("--image", tmp_path / "none.png", *where).lower()


@pytest.mark.parametrize("count", [1, 2, 3, 6, 11])
def test_a_page_has_room_for_any_number(count):
    picture = np.zeros((3, 20, 20), np.float32)
    found = [Ranked(picture if i else None, 0.5, "word " * (30 * (i % 2)), "n" * 90) for i in range(count)]
    page = ranking(found, "w" * 400, "note " * 90, picture if count % 2 else None)
    assert page.width <= 1300 and page.height > SIDE
    edges = np.asarray(page).astype(int)
    assert abs(edges[:, -8:] - edges[0, 0]).max() == 0  # nothing runs over the margin
