"""The page's functions without a browser: what is heard, painted and found, its limits, and its HTML."""

import base64
import io
import json
import re
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from PIL import Image

from app.page import actions, command, listening, markup, models, usage
from asr.streaming import Partial
from asr.transcript import Transcript, Word
from core.errors import UserError
from t2i.suggestions import understand

ROOT = Path(__file__).resolve().parents[1]
SENTENCE = "a red bird with black wings"


@pytest.fixture(scope="module")
def shared() -> models.Models:
    return models.Models(ROOT)


def wav(samples: np.ndarray, rate: int = 48_000, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


# ---- a browser's microphone ----


def block(samples: np.ndarray, rate: float = 48_000, name: str = "0123456789abcdef") -> dict:
    """Samples (S,) int16 as a browser sends them."""
    return {"id": name, "rate": rate, "pcm": base64.b64encode(samples.astype("<i2").tobytes()).decode()}


def test_a_block_is_read_as_it_was_sent():
    sound = (np.arange(-300, 300) * 100).astype(np.int16)
    rate, samples = listening.read_block(block(sound, 44_100.0))
    assert rate == 44_100 and (samples == sound).all()
    assert len(listening.read_block({"rate": 48_000, "pcm": "AAAA"})[1]) == 1  # half a sample at the end


@pytest.mark.parametrize(
    "data", [None, [], "text", {}, {"rate": 48_000}, {"rate": 1, "pcm": ""}, {"rate": "48000", "pcm": ""},
             {"rate": float("nan"), "pcm": ""}, {"rate": 48_000, "pcm": "no base64!"}, {"rate": 48_000, "pcm": "é"},
             {"rate": 48_000, "pcm": "A" * (listening.MOST_BLOCK + 4)}, {"rate": 48_000, "pcm": b"AAAA"}]
)  # fmt: skip
def test_what_is_no_block_is_refused_in_one_line(data):
    with pytest.raises(UserError) as error:
        listening.read_block(data)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """In place of the models: a stream whose text is how many samples it got."""

    class Stream:
        def __init__(self, recognizer: object, rate: int) -> None:
            self.got = 0

        def feed(self, block: np.ndarray) -> Partial:
            self.got += len(block)
            return self.partial

        @property
        def partial(self) -> Partial:
            return Partial(str(self.got), "")

        def finish(self) -> Transcript:
            return Transcript(str(self.got), seconds=1.0)

    monkeypatch.setattr("asr.streaming.StreamingRecognizer", Stream)
    turn = models.Models.turn
    shared = SimpleNamespace(
        _lock=threading.RLock(), hearing=lambda name: SimpleNamespace(recognizer=None), usage=usage.Usage()
    )
    shared.turn = lambda: turn(shared)
    return shared


SOUND = np.zeros(4800, np.int16)


def test_every_sample_arrives_in_order(streams):
    visitor = listening.Listening(streams)
    assert visitor.finish().text == ""  # nothing has come yet
    for _ in range(5):
        visitor.feed(48_000, SOUND)
    assert visitor.finish().text == "24000"


def test_a_block_is_taken_at_once_however_busy_the_models_are(streams):
    visitor = listening.Listening(streams)
    with streams.turn():  # somebody's birds are being painted
        assert [visitor.feed(48_000, SOUND) for _ in range(4)] == [None] * 4
    assert visitor.finish().text == "19200" and visitor.partial == Partial("19200", "")


def test_what_the_decoding_says_is_told(streams):
    visitor = listening.Listening(streams)
    streams.hearing = lambda name: 1 / 0
    with pytest.raises(ZeroDivisionError):
        visitor.feed(48_000, SOUND)
        visitor.finish()


def test_a_minute_is_listened_to_and_no_more(streams):
    visitor = listening.Listening(streams)
    for _ in range(9):
        visitor.feed(8000, np.zeros(25 * 8000, np.int16))
    assert visitor.is_full and visitor.finish().text == str(75 * 8000)


def test_every_visitor_has_a_recording_of_their_own(streams):
    speakers = listening.Speakers(streams)
    for name, count in (("a" * 16, 1), ("b" * 16, 2), ("a" * 16, 3)):
        speakers.feed(block(np.zeros(count, np.int16), name=name))
    assert speakers.take("a" * 16).finish().text == "4" and speakers.take("b" * 16).finish().text == "2"
    assert speakers.take("a" * 16).finish().text == ""  # forgotten
    with pytest.raises(UserError, match="no name"):
        speakers.feed(block(SOUND, name="1"))


def test_few_recordings_are_kept(streams):
    speakers = listening.Speakers(streams)
    for i in range(listening.MOST_SPEAKERS + 5):
        speakers.feed(block(SOUND, name=f"{i:016}"))
    assert len(speakers._there) == listening.MOST_SPEAKERS


def test_a_recording_in_blocks_says_what_the_file_says(shared):
    samples, rate = soundfile.read(ROOT / "samples" / "red_crown.ogg", dtype="int16")
    speakers = listening.Speakers(shared)
    for at in range(0, len(samples), 4800):
        speakers.feed(block(samples[at : at + 4800], rate))
    assert (
        speakers.take("0123456789abcdef").finish().text
        == actions.hear(shared, ROOT / "samples" / "red_crown.ogg").text
    )


# ---- hear, paint, find ----


def test_a_recording_is_heard_with_a_confidence_for_every_word(shared):
    heard = json.loads(
        json.dumps(actions.heard_json(actions.hear(shared, ROOT / "samples" / "red_crown.ogg")))
    )
    assert heard["text"].startswith("this bird has a red crown") and heard["note"] == ""
    assert [word["text"] for word in heard["words"]] == heard["text"].split()
    assert all(0 < word["confidence"] <= 1 for word in heard["words"])


def test_silence_is_answered_kindly(shared):
    said = actions.hear(shared, wav(np.zeros(16_000), 16_000))
    assert said.no_speech and actions.note_of(said) == "No speech heard; record a sentence."
    assert "Listening" in markup.listening(Partial("", "")) and "No speech heard" in markup.heard(said)


def test_doubtful_words_are_named():
    words = [Word("red", 0, 1, 0.99), Word("bird", 1, 2, 0.3)]
    assert "Not sure of: bird" in actions.note_of(Transcript("red bird", words, 0.9, 2.0))
    assert 'sb-doubt">bird' in (shown := markup.heard(Transcript("red bird", words, 0.9, 2.0)))
    assert 'sb-word">red' in shown and "confidence 99%" in shown
    assert "descriptions of birds" in actions.note_of(Transcript("red bird", words, 0.5, 2.0))


@pytest.mark.parametrize("content, said", [
    (b"this is a text and no sound", "not a sound file"), (b"", "empty"),
    (wav(np.zeros(61 * 8000), 8000), "61 seconds"),
    (wav(np.zeros(8000), 8000)[:9000], "cut short|truncated"),
])  # fmt: skip
def test_a_file_is_judged_by_its_content_not_its_name(shared, tmp_path, content, said):
    path = tmp_path / "speech.wav"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        actions.hear(shared, path)
    assert "\n" not in str(error.value)


def test_too_large_or_missing_uploads_are_refused(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(actions, "MOST_UPLOAD", 0)
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(9))
    for where, said in ((path, "at most"), (tmp_path / "none", "did not arrive")):
        with pytest.raises(UserError, match=said):
            actions.hear(shared, where)


def test_birds_come_with_their_stages_words_and_facts(shared):
    painted = actions.paint(shared, SENTENCE, "painted-attngan", [3, 4])
    assert painted.sides == [64, 128] and painted.words == SENTENCE.split()
    assert [len(maps) for maps in painted.maps] == [2] * 6
    for seed, picture in zip(painted.seeds, painted.pictures, strict=True):
        image = Image.open(io.BytesIO(picture))
        assert image.size == (128, 128)
        assert image.info["text"] == SENTENCE and image.info["seeds"] == str(seed)
        assert image.info["model"] == "painted-attngan" and len(image.info["model sha256"]) == 64
    alone = actions.paint(shared, SENTENCE, "painted-attngan", [4], maps=False)
    assert alone.maps == [] and np.abs(pixels(alone.pictures[0]) - pixels(painted.pictures[1])).max() <= 1
    with zipfile.ZipFile(io.BytesIO(actions.as_zip(painted))) as archive:
        assert archive.namelist() == ["seed3.png", "seed4.png", "birds.txt"]
        assert f"text: {SENTENCE}\n" in archive.read("birds.txt").decode()
    answer = json.loads(json.dumps(actions.painted_json(painted)))
    assert len(answer["pictures"]) == 2 and answer["unknown"] == []


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)), dtype=int)


@pytest.mark.parametrize("text, model, seeds, said", [
    ("", "painted-attngan", [0], "no sentence yet"), ("  \x00\n", "painted-attngan", [0], "no sentence yet"),
    ("word " * 10_000, "painted-attngan", [0], "at most 1000"), ("🦜🦜", "painted-attngan", [0], "it knows e.g."),
    ("quantum chromodynamics", "painted-attngan", [0], "it knows e.g."),
    (SENTENCE, "painted-attgan", [0], "did you mean"),
    (SENTENCE, "../../etc", [0], "no model"), (SENTENCE, "painted-attngan", list(range(10)), "1 to 9"),
    (SENTENCE, "painted-attngan", [-1], "whole number"), (SENTENCE, "painted-attngan", ["0"], "whole number"),
    (SENTENCE, "painted-attngan", [], "1 to 9"),
])  # fmt: skip
def test_what_cannot_be_painted_is_refused_in_one_line(shared, text, model, seeds, said):
    with pytest.raises(UserError, match=said) as error:
        actions.paint(shared, text, model, seeds)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


@pytest.fixture(scope="module")
def with_set(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> models.Models:
    """The tiny set under a name, which an untrained encoder reads."""
    import shutil

    from search.finder import Finder

    folder = tmp_path_factory.mktemp("sets")
    shutil.copytree(tiny_world / "painted_birds", folder / "tiny")
    shared = models.Models(ROOT, folder)
    shared._finding.make = lambda name: Finder.open(folder / name, encoder=tiny_world / "damsm")
    return shared


def test_pictures_and_captions_are_found(with_set, tmp_path):
    hits = actions.find(with_set, SENTENCE, data="tiny", count=3)
    assert [hit.rank for hit in hits] == [1, 2, 3] and hits[0].score >= hits[1].score
    assert (
        Image.open(io.BytesIO(hits[0].picture)).format == "JPEG"
        and hits[0].caption
        and "/" not in hits[0].source
    )
    source = next((with_set.datasets / "tiny" / "CUB_200_2011" / "images").rglob(hits[0].source))
    captions = actions.find(with_set, "", source, "tiny", "captions", 4)
    assert len({hit.caption for hit in captions}) == 4
    json.dumps(actions.found_json(hits))
    assert markup.hits(hits, "query").count("<li>") == 3


@pytest.mark.parametrize("given, said", [
    ({}, "no sentence yet"), ({"text": "zzz qqq"}, "it knows e.g."), ({"text": SENTENCE, "data": "../x"}, "no set"),
    ({"text": SENTENCE, "count": 999}, "1 to 24"), ({"text": SENTENCE, "what": "keys"}, "pictures or captions"),
    ({"picture": __file__}, "no picture"),
])  # fmt: skip
def test_what_cannot_be_found_is_refused_in_one_line(with_set, given, said):
    with pytest.raises(UserError, match=said) as error:
        actions.find(with_set, **({"data": "tiny"} | given))
    assert "\n" not in str(error.value)


# ---- models ----


def test_painters_are_listed_with_their_cards(shared, tmp_path):
    assert next(iter(shared.painters)) == "painted-attngan" and "real-projected" in shared.painters
    assert "painted-recognizer" not in shared.painters
    assert all("---" not in choice.card[:4] and choice.card for choice in shared.painters.values())
    with pytest.raises(UserError, match="train one"):
        models.Models(tmp_path)


def test_few_models_are_kept():
    made: list[str] = []
    kept = models.Kept(lambda name: made.append(name) or name)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert kept[name] == name and len(kept.values) <= models.KEPT
    assert made == ["a", "b", "c", "b"]


# ---- HTML ----

MARKUP = "<script>alert(1)</script>\"'${7*7}{{x}}`"


def test_nothing_that_a_visitor_writes_becomes_markup():
    words = [Word(MARKUP, 0, 1, 0.2)]
    found = understand(f"red {MARKUP}", ["red", "bird"], 9)
    painted = actions.Painted(
        MARKUP, MARKUP, [1], [64], [[b"png"]], [MARKUP], [[b"png"]], found, {"text": MARKUP}
    )
    for shown in (
        markup.heard(Transcript(MARKUP, words, 0.9, 1.0)),
        markup.listening(Partial(MARKUP, MARKUP)),
        markup.examples([MARKUP]),
        markup.understanding(found, MARKUP),
        markup.birds(painted),
        markup.hits([actions.Found(1, 0.5, MARKUP, MARKUP, b"")], MARKUP),
    ):
        assert not any(part in shown for part in ("<script", "${", "{{", "`", "'"))


def test_an_unknown_word_has_a_button_for_each_that_is_known():
    shown = markup.understanding(
        understand("a scarlet bird with no zzyzx", ["red", "bird", "a", "with"], 9), "m"
    )
    assert 'data-word="scarlet" data-by="red"' in shown and "<mark>zzyzx</mark> is left out" in shown
    assert "“no” is not understood" in shown


def test_a_picture_has_the_sentence_as_its_text(shared):
    painted = actions.paint(shared, SENTENCE, "painted-attngan", [0, 1])
    shown = markup.birds(painted)
    assert shown.count(f'alt="{SENTENCE}"') == 2 and shown.count('type="radio"') == 1 + 1 + 6
    assert 'download="birds.zip"' in shown and shown.count('download="bird-seed') == 2
    assert "birds.zip" not in (first := markup.birds(painted, waiting=2)) and first.count("sb-waiting") == 2


# ---- the command ----


@pytest.mark.parametrize("argv, said", [
    (["--port", "0"], "1 to 65535"), (["--host", "0.0.0.0"], "--user"), (["--user", "birds"], "SAYBIRD_PASSWORD"),
    (["--recognizer", "wisper:tiny.en"], "whisper"), (["--prot", "1"], "did you mean"),
])  # fmt: skip
def test_mistakes_of_the_command_are_one_line(argv, said, monkeypatch):
    monkeypatch.delenv(command.PASSWORD, raising=False)
    with pytest.raises(UserError, match=said):
        command.main(argv)


# ---- use ----


def test_calls_refusals_and_faults_are_counted():
    calls = usage.Usage()
    with calls.count("paint"):
        pass
    with pytest.raises(UserError), calls.count("paint"):
        raise UserError("no bird")
    with pytest.raises(KeyError), calls.count("hear"):
        raise KeyError("a fault")
    counted = {key: value for key, value in calls._counts.items() if "seconds" not in key[0]}
    assert counted == {("requests", "paint"): 2, ("refusals", "paint"): 1, ("requests", "hear"): 1,
                       ("failures", "hear"): 1}  # fmt: skip
    lines = calls.text().splitlines()
    assert 'saybird_requests_total{function="paint"} 2' in lines
    assert all(
        re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{function="\w+"\})? [\d.e+-]+', line) for line in lines
    )


def test_a_call_waits_so_long_and_then_is_refused(shared, monkeypatch):
    monkeypatch.setattr(models, "LONGEST_WAIT", 0.05)
    taken, done = threading.Event(), threading.Event()

    def long_call() -> None:
        with shared.turn():
            taken.set()
            done.wait()

    other = threading.Thread(target=long_call)
    other.start()
    taken.wait()
    try:
        with pytest.raises(UserError, match="busy"), shared.turn():
            raise AssertionError("two at once")
    finally:
        done.set()
        other.join()
    with shared.turn():
        pass
