"""The page as it is served: its API through gradio_client, and what it gives away. Skipped where Gradio is absent."""

import re
import shutil
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SENTENCE = "a red bird with black wings"


@pytest.fixture(scope="module")
def served(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any, Path]]:
    """The page's address, a client of it, and the folder of its uploads."""
    why = 'the page needs gradio: pip install "saybird[page]"'
    monkeypatch = pytest.MonkeyPatch()
    uploads = tmp_path_factory.mktemp("uploads")
    for name, value in (
        ("GRADIO_TEMP_DIR", uploads),
        ("GRADIO_ANALYTICS_ENABLED", "False"),
        ("HF_HUB_OFFLINE", 1),
    ):
        monkeypatch.setenv(name, str(value))
    pytest.importorskip("gradio", reason=why)
    client = pytest.importorskip("gradio_client", reason=why)
    from app.page import command, layout, models
    from search.finder import Finder

    sets = tmp_path_factory.mktemp("sets")
    shutil.copytree(tiny_world / "painted_birds", sets / "tiny")
    shared = models.Models(ROOT, sets)
    shared._finding.make = lambda name: Finder.open(sets / name, encoder=tiny_world / "damsm")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = layout.build(shared, ROOT)
    command.launch(page, "127.0.0.1", port)
    try:
        address = f"http://127.0.0.1:{port}/"
        yield address, client.Client(address, verbose=False), uploads
    finally:
        page.close(verbose=False)
        monkeypatch.undo()


def refuse(client: Any, *given: Any, name: str) -> str:
    """The one line that a request is refused with."""
    with pytest.raises(Exception) as error:  # gradio_client's own, of several kinds
        client.predict(*given, api_name=name)
    line = str(error.value)
    assert "\n" not in line and "Traceback" not in line and len(line) < 400
    return line


def test_hear_paint_and_find_by_name(served):
    from gradio_client import handle_file

    _, client, _ = served
    heard = client.predict(handle_file(str(ROOT / "samples" / "red_crown.ogg")), api_name="/hear")
    assert heard["text"].startswith("this bird has a red crown") and heard["words"][0]["confidence"] > 0.5
    birds = client.predict(SENTENCE, "painted-attngan", [3, 4], api_name="/paint")
    assert birds["seeds"] == [3, 4] and all(p.startswith("data:image/png;base64,") for p in birds["pictures"])
    hits = client.predict(SENTENCE, None, "tiny", "pictures", 3, api_name="/find")
    assert [hit["rank"] for hit in hits] == [1, 2, 3] and hits[0]["picture"].startswith("data:image/jpeg")
    picture = ROOT / "docs" / "birds.jpg"
    captions = client.predict("", handle_file(str(picture)), "tiny", "captions", 2, api_name="/find")
    assert len(captions) == 2


def test_mistakes_are_one_line(served, tmp_path):
    from gradio_client import handle_file

    _, client, _ = served
    text = tmp_path / "speech.wav"
    text.write_text("this is a text")
    assert "not a sound file" in refuse(client, handle_file(str(text)), name="/hear")
    assert "no sentence yet" in refuse(client, "", "painted-attngan", [0], name="/paint").lower().replace(
        "there is ", ""
    )
    assert "1000" in refuse(client, "word " * 10_000, "painted-attngan", [0], name="/paint")
    assert "did you mean" in refuse(client, SENTENCE, "painted-attgan", [0], name="/paint")
    assert "seeds" in refuse(client, SENTENCE, "painted-attngan", {"a": 1}, name="/paint").lower()
    assert "no set" in refuse(client, SENTENCE, None, "../../etc", "pictures", 3, name="/find").lower()
    assert (
        "no picture"
        in refuse(client, "", handle_file(str(text)), "tiny", "pictures", 3, name="/find").lower()
    )


def test_only_the_three_functions_are_public(served):
    _, client, _ = served
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/hear", "/paint", "/find"}


def test_the_page_asks_nobody_else_for_a_script_or_a_font(served):
    address, _, _ = served
    page = urllib.request.urlopen(address).read().decode()
    assert not re.findall(r'<(?:script|img|iframe)[^>]+src="https?://(?!127)[^"]*', page)
    assert not re.findall(r'<link[^>]+rel="(?:stylesheet|preconnect|preload)"[^>]+href="https?://[^"]*', page)
    theme = urllib.request.urlopen(f"{address}theme.css").read().decode()
    assert "http" not in theme.replace("http://www.w3.org", "")
