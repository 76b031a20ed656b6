"""The page as it is served: its API through gradio_client, what it gives away, and a visitor in a real browser.

Skipped where Gradio is absent; the visitor also where Playwright or Chromium is.
"""

import re
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import malformed
import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

ROOT = Path(__file__).resolve().parents[1]
SENTENCE = "a red bird with black wings"


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


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
    shutil.copytree(tiny_world / "painted_birds", sets / "painted_birds")
    shared = models.Models(ROOT, sets)
    shared._finding.make = lambda name: Finder.open(sets / name, encoder=tiny_world / "damsm")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = layout.build(shared, ROOT)
    command.launch(page, shared.usage, "127.0.0.1", port)
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
    hits = client.predict(SENTENCE, None, "painted_birds", "pictures", 3, api_name="/find")
    assert [hit["rank"] for hit in hits] == [1, 2, 3] and hits[0]["picture"].startswith("data:image/jpeg")
    picture = ROOT / "docs" / "birds.jpg"
    captions = client.predict("", handle_file(str(picture)), "painted_birds", "captions", 2, api_name="/find")
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
        in refuse(client, "", handle_file(str(text)), "painted_birds", "pictures", 3, name="/find").lower()
    )


def test_malformed_requests_are_refused_or_answered(served):
    address, client, _ = served
    outcomes = malformed.send_all(client, address, 40, seed=1)
    assert sum(outcomes.values()) == 40 and outcomes["refused"] > 10
    assert len(client.predict(SENTENCE, "painted-attngan", [0], api_name="/paint")["pictures"]) == 1


def test_how_the_page_is_used_is_told_on_this_machine_alone(served):
    address, client, _ = served
    client.predict(SENTENCE, "painted-attngan", [0], api_name="/paint")
    told = urllib.request.urlopen(f"{address}metrics").read().decode()
    assert re.search(r'^saybird_requests_total\{function="paint"\} [1-9]', told, re.M)
    passed_on = urllib.request.Request(f"{address}metrics", headers={"X-Forwarded-For": "203.0.113.9"})
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(passed_on)


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


# ---- in a browser ----


@pytest.fixture
def visitor(served, tmp_path: Path) -> Iterator[Any]:
    """A page of headless Chromium whose microphone says a sentence, then nothing for a while."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="a browser is driven by playwright: pip install playwright"
    )
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    spoken, rate = soundfile.read(ROOT / "samples" / "red_crown.ogg")
    sound = np.concatenate([np.zeros(rate // 2), spoken, np.zeros(8 * rate)])
    soundfile.write(tmp_path / "microphone.wav", resample_poly(sound, 48_000, rate), 48_000, subtype="PCM_16")
    arguments = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
                 f"--use-file-for-fake-audio-capture={tmp_path / 'microphone.wav'}"]  # fmt: skip
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_context(permissions=["microphone"]).new_page()
        page.set_default_timeout(60_000)
        outside: list[str] = []
        page.on("request", lambda r: outside.append(r.url) if r.url.startswith("http") else None)
        page.goto(served[0])
        page.locator(".sb-record").wait_for()
        yield page
        assert [url for url in outside if not url.startswith(served[0])] == []
        browser.close()


def test_a_visitor_speaks_corrects_and_takes_what_is_offered(visitor):
    visitor.wait_for_timeout(500)
    visitor.keyboard.press("Space")
    visitor.locator(".sb-live", has_text="this bird").wait_for()  # while speaking
    visitor.locator(".sb-live", has_text="wings").wait_for()
    visitor.wait_for_timeout(500)
    visitor.keyboard.press("Space")
    visitor.locator("#sb-transcript .sb-word").first.wait_for()
    box = visitor.locator("#sb-sentence textarea")
    assert box.input_value() == "this bird has a red crown a yellow belly and black wings"
    visitor.locator(".sb-views").wait_for()
    assert (
        visitor.locator(".sb-bird > div > img:not(.sb-over)").first.get_attribute("alt") == box.input_value()
    )
    assert visitor.locator(".sb-bird").count() == 4

    box.fill("a scarlet bird with black wings")
    visitor.locator("#sb-offers button", has_text="red").click()
    visitor.locator(".sb-birds h2", has_text="a red bird with black wings").wait_for()
    assert box.input_value() == "a red bird with black wings"

    visitor.locator("#sb-seek").click()
    visitor.locator(".sb-found li").nth(5).wait_for()


def test_a_text_that_is_called_wav_is_refused_in_one_line(visitor, tmp_path):
    (tmp_path / "speech.wav").write_text("this is a text")
    visitor.locator("input[type=file]").first.set_input_files(tmp_path / "speech.wav")
    visitor.get_by_text("not a sound file").wait_for()


def test_a_visitor_changes_a_word_goes_to_another_bird_and_finds_by_voice(visitor):
    visitor.get_by_role("tab", name="Type").click()
    visitor.locator("#sb-examples button").first.click()
    word = visitor.locator(".sb-swap", has_text="yellow")
    word.focus()
    visitor.keyboard.press("Enter")
    choice = visitor.locator("#sb-vary .sb-chip:visible", has_text="green")
    assert word.get_attribute("aria-expanded") == "true"
    choice.focus()
    visitor.keyboard.press("Enter")
    visitor.locator(".sb-pair").nth(3).wait_for()
    assert visitor.locator(".sb-changed mark").inner_text() == "green"
    sentence = visitor.locator("#sb-sentence textarea").input_value()
    after = visitor.locator(".sb-pair").first.locator("img").nth(1)
    assert after.get_attribute("alt") == sentence.replace("yellow", "green")

    visitor.locator("#sb-walk button").first.click()
    visitor.locator("#sb-walk textarea").fill("a blue bird with a white belly")
    visitor.locator("#sb-go").click()
    visitor.locator(".sb-strip figure").nth(6).wait_for()
    for width in (390, 320):
        visitor.set_viewport_size({"width": width, "height": 800})
        assert visitor.evaluate("document.documentElement.scrollWidth") == width

    visitor.get_by_role("tab", name="Find").click()
    visitor.locator("#sb-mic-find .sb-record").click()
    visitor.locator("#sb-mic-find .sb-live", has_text="wings").wait_for()
    assert visitor.evaluate("document.documentElement.scrollWidth") == 320
    visitor.locator("#sb-mic-find .sb-record").click()
    visitor.locator(".sb-found li").nth(5).wait_for()
    assert "red crown" in visitor.locator("#sb-wanted textarea").input_value()
