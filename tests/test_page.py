"""The page's functions without a browser: what is heard, painted and found, its limits, and its HTML."""

import base64
import io
import json
import re
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from PIL import Image

from app.page import actions, command, listening, markup, models, sound, usage, variations, words
from asr.streaming import Partial
from asr.transcript import Transcript, Word
from core.errors import UserError
from t2i.suggestions import understand
from visualization.canvas import DOUBT

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
    shown = markup.hits(hits, "query")
    assert shown.count("<li>") == 3
    read = re.sub("<[^>]*>", "", shown)  # as it is copied and read aloud
    assert re.search(
        rf"1 {hits[0].score:.3f}\s+{re.escape(hits[0].caption)}\s+{re.escape(hits[0].source)}", read
    )


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
    assert "recognizer" not in shared.painters
    assert all("---" not in choice.card[:4] and choice.card for choice in shared.painters.values())
    with pytest.raises(UserError, match="train one"):
        models.Models(tmp_path)


def test_few_models_are_kept():
    made: list[str] = []
    kept = models.Kept(lambda name: made.append(name) or name)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert kept[name] == name and len(kept.values) <= models.KEPT
    assert made == ["a", "b", "c", "b"]


# ---- words ----

KNOWN = ["a", "bird", "red", "black", "orange", "grey", "gray", "small", "little", "large", "head", "bill", "beak",
         "tail", "wing", "wings", "legs", "winged", "backed"]  # fmt: skip


def test_a_word_may_be_changed_for_others_of_its_kind_that_the_painter_knows():
    found = words.pieces("A small, red bird with grey wings; a Winged zyzzy bill.", KNOWN)
    assert "".join(piece.text for piece in found) == "A small, red bird with grey wings; a Winged zyzzy bill."
    offered = {piece.text: piece.choices for piece in found if piece.choices}
    assert offered == {
        "small": ("little", "large"),
        "red": ("black", "orange", "grey", "gray"),
        "grey": ("red", "black", "orange"),  # gray would be the same
        "wings": ("legs",),
        "Winged": ("backed",),
        "bill": ("head", "beak", "tail", "wing"),
    }
    assert [piece.word for piece in found if piece.word is not None] == list(range(11))
    letters = words.choices("red", None)  # a painter that reads letters knows them all
    assert len(letters) == words.MOST_CHOICES and "red" not in letters


def test_the_word_that_was_chosen_is_changed_and_its_article():
    assert words.change("A red bird with red wings", 4, "orange") == "A red bird with orange wings"
    assert words.change("an orange bird, an owl", 1, "red") == "a red bird, an owl"
    assert words.change("a red bird", 9, "blue") == "a red bird"


@pytest.mark.parametrize("text, names", [
    ("a red and black bird", ["head", "wings", "tail", "bill", "size"]),
    ("this large bird has a crown, WINGS and a beak", ["body", "tail"]),
    ("", ["head", "body", "wings", "tail", "bill", "size"]),
])  # fmt: skip
def test_what_a_sentence_leaves_open_is_said(text, names):
    assert words.left_open(text, KNOWN) == names  # it has no word for the belly
    assert words.left_open("zyzzy", ["red"]) == []  # the painter has no word for any of it
    shown = markup.open_questions(["head", "tail", "size"])
    assert "nothing of head, tail and size:" in shown and markup.open_questions([]) == ""


def test_one_word_is_changed_at_the_same_seeds(shared):
    before = actions.paint(shared, SENTENCE, "painted-attngan", [3, 4])
    after = variations.change_word(shared, before, 1, "blue")
    assert (after.text, after.seeds, after.model) == ("a blue bird with black wings", [3, 4], before.model)
    shown = markup.changed(before, after)
    assert shown.count('class="sb-pair"') == 2 and "a <mark>blue</mark> bird" in shown
    assert f'alt="{SENTENCE}"' in shown and 'alt="a blue bird with black wings"' in shown
    for number, by in ((1, "wings"), (0, "blue"), (99, "blue"), (1, "<b>")):
        with pytest.raises(UserError, match="offered"):
            variations.change_word(shared, before, number, by)
    choices = markup.changing(words.pieces(SENTENCE, shared.vocabulary("painted-attngan")[0]))
    assert choices.count('aria-expanded="false"') == 3 and choices.count("hidden") == 3
    assert 'data-number="1" data-by="blue"' in choices


def test_steps_lead_from_one_sentence_to_another(shared):
    other = "a blue bird with a white belly"
    start = actions.paint(shared, SENTENCE, "painted-attngan", [3, 4], maps=False)
    done = variations.walk(shared, start, f" {other}\n")
    assert len(done.pictures) == variations.STEPS and done.name(0) == SENTENCE and done.name(6) == other
    alone = actions.paint(shared, other, "painted-attngan", [3], maps=False)
    assert np.abs(pixels(done.pictures[6]) - pixels(alone.pictures[0])).max() <= 1
    facts = Image.open(io.BytesIO(done.pictures[2])).info
    assert (facts["from"], facts["to"], facts["step"], facts["seeds"]) == (SENTENCE, other, "3 of 7", "3")
    shown = markup.walk(done)
    assert shown.count("<figure") == 7 and 'alt="33% of the way"' in shown and 'download="birds.zip"' in shown


@pytest.mark.parametrize("to, said", [
    (SENTENCE, "same"), ("", "no sentence"), ("zyzzy", "it knows e.g."), ("word " * 999, "at most 1000"),
])  # fmt: skip
def test_a_way_that_leads_nowhere_is_refused(shared, to, said):
    start = actions.Painted(SENTENCE, "painted-attngan", [0], [], [], [], [], None, {"text": SENTENCE})
    with pytest.raises(UserError, match=said):
        variations.walk(shared, start, to)


# ---- what a recording looks like ----


def test_a_recording_is_drawn_with_its_words_and_told_in_words(shared):
    path = ROOT / "samples" / "red_crown.ogg"
    said = actions.hear(shared, path)
    heard = sound.sound_of(actions.read_recording(path), said)
    assert heard.mel.shape[0] == 80 and abs(heard.mel.shape[1] - 100 * said.seconds) < 5
    assert heard.mel.dtype == np.float16  # little to keep for every visitor
    image = Image.open(io.BytesIO(sound.draw(heard)))
    assert image.width > image.height and image.info["text"] == said.text
    word = said.words[0]
    shown = markup.spectrogram(heard)
    assert (
        f"{word.text} {word.start:.1f} to {word.end:.1f}" in shown and 'download="spectrogram.png"' in shown
    )


def test_doubtful_words_are_drawn_apart_for_our_recogniser_alone():
    doubtful = sound.Sound(np.zeros((80, 100), np.float16), 1.0, [Word("bird", 0.1, 0.5, 0.1)])
    theirs = doubtful._replace(ours=False)
    coloured = [(pixels(sound.draw(one))[..., :3] == DOUBT).all(-1).any() for one in (doubtful, theirs)]
    assert coloured == [True, False]


def test_a_minute_of_many_words_is_told_shortly():
    many = [Word("wing", i / 4, i / 4 + 0.2, 0.9) for i in range(240)]
    heard = sound.Sound(np.zeros((80, 6000), np.float16), 60.0, many)
    assert len(sound.told(heard)) < 1500 and len(sound.draw(heard)) < 2_000_000


# ---- recognisers ----


def test_recognisers_are_listed_with_their_cards(shared, monkeypatch):
    assert (
        next(iter(shared.recognizers)) == "recognizer" and "painted-attngan" not in shared.recognizers
    )
    assert shared.recognizer().is_ours and "WER" in shared.recognizer().card
    monkeypatch.setattr("asr.recognizers.registry.installed", lambda: ["whisper:tiny.en", "pocketsphinx"])
    assert list(models.recognizers(ROOT))[0] == "recognizer"
    assert list(models.recognizers(ROOT))[-2:] == ["whisper:tiny.en", "pocketsphinx"]
    assert list(models.recognizers(ROOT, "pocketsphinx"))[0] == "pocketsphinx"
    with pytest.raises(UserError, match="did you mean"):
        shared.hearing("painted-recogniser")
    for wrong in (["x"], {"a": 1}, "../../etc", "x" * 999):
        with pytest.raises(UserError, match="no recogniser") as error:
            shared.hearing(wrong)
        assert len(str(error.value)) < 200


def test_only_our_confidences_are_judged():
    doubtful = Transcript("red bird", [Word("red", 0, 1, 0.2), Word("bird", 1, 2, 0.3)], 0.25, 2.0)
    assert actions.note_of(doubtful) and "sb-doubt" in markup.heard(doubtful)
    assert actions.note_of(doubtful, ours=False) == "" and "sb-doubt" not in markup.heard(
        doubtful, ours=False
    )
    assert "No speech" in actions.note_of(Transcript(""), ours=False)


def test_a_microphone_is_heard_by_the_recogniser_that_was_chosen(streams):
    asked = []
    streams.hearing = lambda name: asked.append(name) or SimpleNamespace(recognizer=None)
    speakers = listening.Speakers(streams)
    speakers.feed(block(SOUND) | {"recognizer": "pocketsphinx"})
    one = speakers.take("0123456789abcdef")
    assert one.finish().text == "4800" and asked == ["pocketsphinx"] and one.recognizer == "pocketsphinx"
    rate, samples = one.sound
    assert rate == 48_000 and len(samples) == 4800
    assert len(speakers.take("none").sound[1]) == 0


# ---- HTML ----

MARKUP = "<script>alert(1)</script>\"'${7*7}{{x}}`"


def test_nothing_that_a_visitor_writes_becomes_markup():
    said = [Word(MARKUP, 0, 1, 0.2)]
    found = understand(f"red {MARKUP}", ["red", "bird"], 9)
    painted = actions.Painted(
        MARKUP, MARKUP, [1], [64], [[b"png"]], [MARKUP], [[b"png"]], found, {"text": MARKUP}
    )
    for shown in (
        markup.heard(Transcript(MARKUP, said, 0.9, 1.0)),
        markup.spectrogram(sound.Sound(np.zeros((80, 100), np.float16), 1.0, said)),
        markup.changing([words.Piece(MARKUP, None), words.Piece(MARKUP, 0, (MARKUP,))]),
        markup.changed(painted, painted),
        markup.walk(variations.Walk(MARKUP, MARKUP, MARKUP, 0, [b"png", b"png"], {"from": MARKUP})),
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
    assert "sb-views" not in markup.birds(replace(painted, stages=painted.stages[-1:], words=[], maps=[]))
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
