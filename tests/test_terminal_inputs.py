"""Whatever is typed after generate.py ends in pictures or in one line: seeded random texts, options, files."""

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import pipeline
from app import terminal
from app.options import MOST_SENTENCES
from app.outputs import clean_text, stored_text
from asr.recognizer import Transcript, Word
from core.errors import UserError
from t2i.encoders.damsm import Damsm, DamsmConfig
from t2i.families.attngan import AttnGanConfig, Generator
from t2i.painter import painter_of
from t2i.suggestions import FUNCTION_WORDS, SYNONYMS, offers, understand, words_to_try
from t2i.vocabulary import Vocabulary

SENTENCE = "this bird has a red crown and black wings"
WORDS = Vocabulary.build(
    [SENTENCE, "a small blue bird with a white belly, a yellow tail and an orange beak", "grey eyering"]
)
HEARD = "a red bird with black wings"


@pytest.fixture(scope="module")
def painter():
    torch.manual_seed(0)
    damsm = Damsm(DamsmConfig(embedding=8, word_width=8, image_width=4, image_size=64, max_words=9), WORDS)
    config = AttnGanConfig(stages=2, width=2, embedding=8, condition=4, noise=4, residual_blocks=1)
    return painter_of(Generator(config), damsm.eval()).eval()


@pytest.fixture
def work(painter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a tiny untrained model in place of the released ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline.SpeechToImage, "load", lambda *_: pipeline.SpeechToImage(None, painter))
    monkeypatch.setattr(
        torch, "set_num_threads", lambda _: None
    )  # two threads wait for each other on busy cores
    recognise(monkeypatch, HEARD, 0.95)
    return tmp_path


def recognise(monkeypatch: pytest.MonkeyPatch, text: str, confidence: float) -> None:
    words = [Word(word, 0.1 * i, 0.1 * i + 0.1, confidence) for i, word in enumerate(text.split())]
    heard = Transcript(text, words, confidence, 1.0)
    monkeypatch.setattr(pipeline.SpeechToImage, "hear", lambda *_: heard)


def clip(path: Path) -> Path:
    soundfile.write(path, 0.3 * np.sin(np.arange(8000) * 0.1), 16_000)
    return path


def standard_input(content: bytes) -> SimpleNamespace:
    pipe = io.BytesIO(content)
    pipe.name = "<stdin>"  # type: ignore[attr-defined]
    return SimpleNamespace(isatty=lambda: False, buffer=pipe)


def run(*argv: object) -> int:
    return terminal.main([*map(str, argv), "--seeds", "0"] if "--seeds" not in argv else [*map(str, argv)])


def refuse(*argv: object) -> str:
    with pytest.raises(UserError) as told:
        run(*argv)
    assert "\n" not in str(told.value)
    return str(told.value)


# ---- anything at all ----

LETTERS = [*"aeird bw .,-'/\\%{}[]$\"", "red", "bird", "🐦", "鳥", "é", "\u0301", "\udcff", "\ud800", "\x1b]0;x\x07",
           "\n", "\0", "\u202e", "\u200b", "-", "--", "ﷺ"]  # fmt: skip


def random_text(random: np.random.Generator, most: int = 12) -> str:
    return "".join(random.choice(LETTERS, random.integers(0, most)))


def random_command(random: np.random.Generator, folder: Path) -> list[str]:
    """A command that is likely to be wrong in one way, and may be right."""
    argv: list[str] = []
    source = random.integers(8)
    if source < 4:
        argv += [
            "--text",
            random.choice([random_text(random), f"a red bird {random_text(random)}", "x" * 2000, HEARD]),
        ]
    elif source < 6:
        path = folder / "some.txt"
        path.write_bytes(random.bytes(random.integers(0, 60)) if random.random() < 0.5 else
                         f"a red bird\n{random_text(random)}\n".encode("utf-8", "surrogatepass"))  # fmt: skip
        argv += ["--texts", random.choice([str(path), str(folder), random_text(random)])]
    else:
        path = folder / "some.wav"
        path.write_bytes(random.bytes(random.integers(0, 60)))
        argv += ["--speech", random.choice([str(path), str(folder / "good.wav"), random_text(random), "-"])]
    wrong = random.random() < 0.5
    choices = [
        ["--seeds", random.choice(["", "-", "0-", "9-1", "1e9", "0-100000000", "٣", random_text(random)])],
        [
            "--out",
            random.choice(
                [random_text(random), f"{random_text(random)}.png", "a" * 300 + ".png", str(folder), "/"]
            ),
        ],
        ["--model", random.choice([random_text(random), "a" * 300, "painted"])],
        ["--beam", random.choice(["-1", "1000", "x", "٣"])],
        [random_text(random)],
    ]
    if wrong:
        argv += choices[random.integers(len(choices))]
    flags = [
        "--fix",
        "--anyway",
        "--single",
        "--json",
        "--no-caption",
        "--stages",
        "--attention",
        "--spectrogram",
    ]
    argv += [flag for flag in flags if random.random() < 0.15]
    return [str(word) for word in argv] + (["--seeds", "3"] if "--seeds" not in argv else [])


def test_no_command_is_a_traceback(work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture):
    random = np.random.default_rng(0)
    clip(work / "good.wav")
    images = tuple(torch.zeros(1, 3, size, size) for size in (64, 128))
    painting = SimpleNamespace(images=images, attention=(torch.ones(1, 9, 64, 64),), tokens=[["red"]])
    monkeypatch.setattr(pipeline.SpeechToImage, "paint", lambda *_: painting)
    done = 0
    for _ in range(150):
        monkeypatch.setattr("sys.stdin", standard_input(random.bytes(random.integers(0, 40))))
        argv = random_command(random, work)
        try:
            assert terminal.main(argv) == 0
            done += 1
        except UserError as error:
            assert len(str(error)) < 3000, argv
        except SystemExit as asked:  # -h among the letters
            assert asked.code in (0, None), argv
    printed, complaints = capfd.readouterr()
    assert done > 20  # a good part of them is right, or nothing would be tried after the options
    for letter in ("\x1b", "\x07", "\u202e", "\0"):
        assert letter not in printed + complaints
    left = [path for path in work.rglob("*") if path.name.startswith(".")]
    assert not [path for path in left if path.suffix not in (".png",)], "unfinished files are left behind"


# ---- what is understood ----


def test_a_sentence_that_describes_no_bird_is_refused(work: Path, capsys: pytest.CaptureFixture):
    for text in (
        "a flamingo",
        "a fat cat",
        "a bird that looks like fire",
        "it is the",
        "a bird like a flamingo",
    ):
        line = refuse("--text", text)
        assert text in line and "red" in line and "--anyway" in line
    assert not list(work.rglob("*.png"))
    assert run("--text", "a fat cat", "--anyway") == 0 and run("--text", "a bird") == 0


def test_unknown_words_get_offers_and_a_sentence_to_copy(work: Path, capsys: pytest.CaptureFixture):
    text = "a small crimson bird with Golden tails, a yelow brid with turquoise wing and eye ring"
    assert run("--text", text) == 0
    printed = capsys.readouterr().out
    fixed = "a small red bird with yellow tail, a yellow bird with blue wings and eyering"
    assert f'--text "{fixed}"' in printed
    assert run("--text", text, "--fix") == 0
    picture = Image.open(capsys.readouterr().out.splitlines()[-1])
    assert picture.info["text"] == fixed and picture.info["said"] == text


def test_doubts_are_said(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    run("--text", "a red bird without black wings")
    run("--text", f"{SENTENCE} and a white belly")
    run("--text", "a red dragon breathing fire")
    printed = capsys.readouterr().out
    assert '"without" is not understood' in printed and "left out: and, a, white, belly" in printed
    assert "most of the sentence is not understood; painted from: a red" in printed
    recognise(monkeypatch, HEARD, 0.7)
    assert run("--speech", clip(work / "a.wav")) == 0
    assert "confidence 0.70 is low" in capsys.readouterr().out
    recognise(monkeypatch, HEARD, 0.4)
    assert HEARD in refuse("--speech", work / "a.wav")
    assert run("--speech", work / "a.wav", "--anyway") == 0


def test_offers_are_words_of_the_vocabulary():
    vocabulary = WORDS.words
    for word in {*SYNONYMS, "birds", "reddish", "belies", "xyzzy", "at", "wingz"} - set(vocabulary):
        assert set(offers(word, vocabulary)) <= set(vocabulary) - FUNCTION_WORDS
    expected = {
        "birds": "bird",
        "navy": "blue",
        "violets": None,
        "bill": "beak",
        "brid": "bird",
        "gray": "grey",
    }
    for word, offer in expected.items():
        assert next(iter(offers(word, vocabulary)), None) == offer, word
    assert words_to_try(vocabulary) and not set(words_to_try(vocabulary)) & FUNCTION_WORDS


def test_understanding_counts_only_words_with_a_content():
    found = understand("The RED bird, and a flamingo's", WORDS.words, 3)
    assert found.known == ["red", "bird", "and"] and found.beyond == ["a"] and found.descriptive == ["red"]
    assert found.unknown == ["flamingo"] and not found.nothing and not found.little
    assert understand("doesn’t have a red tail", WORDS.words, 9).negated == ["doesn't"]


# ---- where the results go ----


def test_many_sentences_have_pictures_of_their_own(work: Path, capsys: pytest.CaptureFixture):
    lines = ["a red bird", "A red bird!", "a red bird", "", "鳥 red", "鸟 red", "xyzzy", "a blue bird"]
    (work / "some.txt").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    assert "1 of 6 sentences" in refuse("--texts", work / "some.txt", "--out", "birds", "--json", "--single")
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["text"] for result in results] == [t for t in dict.fromkeys(lines) if t and t != "xyzzy"]
    paths = [result["pictures"]["grid"] for result in results]
    assert len(set(paths)) == 5 and all(Path(path).parent == Path("birds") for path in paths)
    for result in results:
        single = result["pictures"]["single"][0]
        assert (
            stored_text(Path(result["pictures"]["grid"]))
            == stored_text(Path(single["path"]))
            == result["text"]
        )
        assert single["seed"] == 0 and Image.open(single["path"]).size == (128, 128)
        assert result["models"][0]["sha256"] == "untrained" and result["seeds"] == [0]


def test_no_earlier_result_of_another_sentence_is_overwritten(work: Path):
    out = work / "outputs"
    run("--text", "a red bird")
    run("--text", "a red bird")
    assert len(list(out.iterdir())) == 1
    run("--text", "a red, bird")
    assert len(list(out.iterdir())) == 2
    (out / "a-blue-bird.png").write_bytes(b"a drawing of somebody")
    run("--text", "a blue bird")
    assert (out / "a-blue-bird.png").read_bytes() == b"a drawing of somebody" and len(
        list(out.iterdir())
    ) == 4
    for folder in ("a", "b"):  # two clips of one name
        (work / folder).mkdir()
        run("--speech", clip(work / folder / "鳥.wav"))
    assert len(list(out.iterdir())) == 5


def test_a_transcript_as_json(work: Path, capsys: pytest.CaptureFixture):
    assert run("--speech", clip(work / "a.wav"), "--json", "--spectrogram") == 0
    printed, told = capsys.readouterr()
    (line,) = printed.splitlines()
    heard = json.loads(line)["heard"]
    assert heard["text"] == HEARD and heard["words"][1]["text"] == "red" and heard["words"][1]["start"] == 0.1
    assert "heard" in told and Path(json.loads(line)["pictures"]["spectrogram"]).is_file()


def test_speech_from_standard_input(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    sound = clip(work / "a.wav").read_bytes()
    for content in (sound, b"", b"no sound"):
        monkeypatch.setattr("sys.stdin", standard_input(content))
        if content == sound:
            assert run("--speech", "-") == 0
            assert "outputs/a-red-bird-with-black-wings.png" in capsys.readouterr().out
        else:
            assert "standard input" in refuse("--speech", "-")


def test_samples_are_found_from_any_folder(work: Path):
    assert run("--speech", "samples/blue_bird.ogg") == 0
    assert "no_such.ogg" in refuse("--speech", "samples/no_such.ogg")


def test_texts_that_are_not_utf_8(work: Path, capsys: pytest.CaptureFixture):
    assert clean_text("bl\udce5 \ud800\x1b\u202ebird\n") == "blå \ufffd bird"
    assert run("--text", "a red bird \udcff", "--out", "\udcff.png") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "\\xff.png" and Path("\udcff.png").is_file()
    (work / "latin.txt").write_bytes(b"a red bird\nbl\xe5 bird")
    assert "not UTF-8" in refuse("--texts", work / "latin.txt")
    (work / "wide.txt").write_bytes("a red bird".encode("utf-16"))
    assert run("--texts", work / "wide.txt") == 0
    (work / "many.txt").write_text("\n".join(f"red {i}" for i in range(MOST_SENTENCES + 1)))
    assert "at most" in refuse("--texts", work / "many.txt")


def test_a_full_folder_is_told_before_anything_is_generated(work: Path, monkeypatch: pytest.MonkeyPatch):
    def full(self: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(pipeline.SpeechToImage, "paint", None)
    line = refuse("--text", "a red bird")
    assert re.fullmatch(r"cannot write outputs/a-red-bird.png: No space left on device; .*", line)
