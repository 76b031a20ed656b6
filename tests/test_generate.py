"""generate.py: what it writes, what it says, and its one line for every mistake. Untrained tiny models."""

import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import pipeline
from app import terminal as generate
from app.outputs import LONGEST_NAME, slug
from asr.model import ModelConfig, SpeechModel
from asr.recognizer import Recognizer, Transcript, Word
from asr.tokenizer import Tokenizer
from core import model_registry as released
from core.errors import UserError
from t2i.encoders.damsm import Damsm, DamsmConfig
from t2i.families.attngan import AttnGanConfig, Generator
from t2i.painter import painter_of
from t2i.vocabulary import Vocabulary
from visualization import grids
from visualization.canvas import MARGIN, heat, to_image
from visualization.spectrogram import Span, _rows, spectrogram_page
from visualization.text import balance, font, shorten, wrap

ROOT = Path(__file__).resolve().parents[1]
SENTENCE = "this bird has a red crown and black wings"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an untrained painter and an untrained recogniser."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    words = Vocabulary.build([SENTENCE, "a small blue bird with a white belly"])
    damsm = Damsm(DamsmConfig(embedding=8, word_width=8, image_width=4, image_size=64, max_words=9), words)
    config = AttnGanConfig(stages=2, width=4, embedding=8, condition=4, noise=4, residual_blocks=1)
    painter_of(Generator(config), damsm.eval()).save(folder / "painter", "# card", {})
    tokenizer = Tokenizer()
    speech = SpeechModel(
        ModelConfig(width=16, heads=2, encoder_layers=1, decoder_layers=1, feed_forward=16), len(tokenizer)
    )
    Recognizer(speech, tokenizer).save(folder / "recognizer", "# card")
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """One second that is no silence."""
    path = tmp_path / "clip.wav"
    time = np.arange(16_000) / 16_000
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 220 * time), 16_000)
    return path


@pytest.fixture
def hears(monkeypatch: pytest.MonkeyPatch):
    """Make the recogniser hear a sentence, as an untrained one would not; its last word doubtful."""

    def set_to(text: str = SENTENCE) -> None:
        words = [Word(word, 0.1 * i, 0.1 * i + 0.09, 0.9) for i, word in enumerate(text.split())]
        words[-1:] = [Word(word.text, word.start, word.end, 0.31) for word in words[-1:]]
        heard = Transcript(text, words, 0.87, 1.0)
        monkeypatch.setattr(pipeline.SpeechToImage, "hear", lambda self, sound, beam=None, favoured=(): heard)

    return set_to


def refuse(*argv: object) -> str:
    """The one line that a mistake is answered with."""
    with pytest.raises(UserError) as error:
        generate.main([str(word) for word in argv])
    line = str(error.value)
    assert "\n" not in line and 10 < len(line) < 500
    return line


def options(models: Path) -> list[str]:
    return ["--model", str(models / "painter")]


def spoken(models: Path) -> list[str]:
    return [*options(models), "--recognizer", str(models / "recognizer")]


# ---- what it does ----


def test_a_text_becomes_a_captioned_grid(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    out = tmp_path / "new folder" / "birds.png"
    assert generate.main(["--text", SENTENCE, "--out", str(out), *options(models)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(out)
    assert any(line.startswith("time") and "load" in line and "paint" in line for line in printed)
    picture = Image.open(out)
    assert picture.width > 4 * grids.TILE and picture.height > 2 * grids.TILE + 2 * MARGIN
    assert picture.info["text"] == SENTENCE and picture.info["seeds"] == "0,1,2,3,4,5,6,7"
    assert len(picture.info["model sha256"]) == 64
    assert sorted(p.name for p in out.parent.iterdir()) == ["birds.png"]


def test_the_same_command_writes_the_same_bytes(models: Path, tmp_path: Path):
    for name in ("a", "b"):
        generate.main(
            ["--text", SENTENCE, "--seeds", "1,5", "--out", str(tmp_path / f"{name}.png"), *options(models)]
        )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("has, named, used", [({"amx_bf16": True}, "auto", "bf16"), ({"avx2": True}, "auto", "fp32"),
                                              ({"avx2": True}, "fp16", "fp16")])  # fmt: skip
def test_precision_is_what_the_processor_is_fast_at_or_what_is_named(has, named, used, models, tmp_path, monkeypatch,
                                                                     capsys):  # fmt: skip
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    out = tmp_path / "birds.png"
    words = ["--text", SENTENCE, "--seeds", "1", "--out", str(out), "--json", *options(models)]
    generate.main([*words, "--precision", named])
    assert Image.open(out).info["precision"] == used
    assert json.loads(capsys.readouterr().out)["models"][0]["precision"] == used
    exact = np.asarray(Image.open(out)).copy()
    generate.main([*words, "--precision", "fp32"])
    assert np.array_equal(exact, np.asarray(Image.open(out))) == (used == "fp32")


def test_a_clip_becomes_pictures_on_request_with_all_beside_it(
    models: Path, clip: Path, tmp_path: Path, hears, capsys: pytest.CaptureFixture
):
    hears()
    out = tmp_path / "out" / "red.png"
    argv = [
        "--speech",
        str(clip),
        "--seeds",
        "0-1",
        "--out",
        str(out),
        "--stages",
        "--attention",
        "--spectrogram",
    ]
    assert generate.main([*argv, *spoken(models)]) == 0
    printed = capsys.readouterr().out
    assert "wings?(0.31)" in printed and "confidence 0.87" in printed and "hear" in printed
    assert printed.splitlines()[-1] == str(out)
    written = sorted(p.name for p in out.parent.iterdir())
    assert written == ["red-attention.png", "red-spectrogram.png", "red-stages.png", "red.png"]
    for name in written:
        Image.open(out.parent / name).load()


def test_the_untrained_recogniser_is_asked(models: Path, clip: Path, tmp_path: Path):
    """The real `hear`: whatever an untrained model makes of a tone, it ends in a picture or in one line."""
    try:
        generate.main(
            ["--speech", str(clip), "--beam", "0", "--out", str(tmp_path / "a.png"), *spoken(models)]
        )
    except UserError as error:
        assert "\n" not in str(error)


def test_unknown_words_are_said_and_are_not_fatal(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    argv = ["--text", "a floofy red bird", "--seeds", "3", "--out", str(tmp_path / "a.png"), *options(models)]
    assert generate.main(argv) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("unknown")]
    assert "floofy" in line and "red" not in line


def test_a_long_text_says_where_it_is_cut(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    argv = ["--text", f"{SENTENCE} {SENTENCE}", "--seeds", "0", "--out", str(tmp_path / "a.png")]
    assert generate.main([*argv, *options(models)]) == 0
    assert "only the first 9 of 18 known words" in capsys.readouterr().out


def test_without_caption_the_page_is_lower(models: Path, tmp_path: Path):
    for name, more in (("a", []), ("b", ["--no-caption"])):
        argv = ["--text", SENTENCE, "--seeds", "0-3", "--out", str(tmp_path / f"{name}.png")]
        generate.main([*argv, *more, *options(models)])
    assert Image.open(tmp_path / "a.png").height > Image.open(tmp_path / "b.png").height


def test_many_seeds_are_painted_in_parts_that_do_not_show(models: Path, monkeypatch: pytest.MonkeyPatch):
    model = pipeline.SpeechToImage.load(None, models / "painter")
    whole = model.paint(SENTENCE, range(5))
    monkeypatch.setattr(pipeline, "AT_ONCE", 2)
    parts = model.paint(SENTENCE, range(5))
    assert len(parts.tokens) == 5 and parts.tokens == whole.tokens
    for a, b in zip((*whole.images, *whole.attention), (*parts.images, *parts.attention), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_several_painters_stand_side_by_side(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    alone, both = tmp_path / "alone.png", tmp_path / "both.png"
    painter = str(models / "painter")
    for out, named in ((alone, [painter]), (both, [painter, painter])):
        generate.main(["--text", SENTENCE, "--seeds", "0-3", "--out", str(out), "--model", *named])
    assert "painter, 128 px; painter, 128 px" in capsys.readouterr().out
    page = Image.open(both)
    assert page.width > Image.open(alone).width and page.info["model"] == "painter, painter"
    left, right = (np.asarray(page)[60:260, x : x + 800] for x in (36, 36 + 4 * 192 + 3 * 12 + 36))
    assert np.ptp(left) > 100 and (left == right).all()  # the same painter, so the same birds
    assert "one --model" in refuse("--text", SENTENCE, "--stages", "--model", painter, painter)


def test_a_released_painter_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert released.find_folder("painted").samefile(ROOT / "weights" / "painted-attngan")
    assert released.find_folder(tmp_path / "none") == tmp_path / "none"
    monkeypatch.chdir(tmp_path)
    assert released.find_folder(released.PAINTER).samefile(ROOT / released.PAINTER)
    (tmp_path / "real").mkdir()
    assert released.find_folder("real") == Path("real")  # a folder of that name comes first


def test_models_loaded_without_initial_weights_are_the_same(models: Path):
    model = pipeline.SpeechToImage.load(models / "recognizer", models / "painter")
    pairs = [(model.painter, pipeline.load_painter(models / "painter"))]
    pairs.append((model.recognizer.model, Recognizer.load(models / "recognizer").model))
    for fast, plain in pairs:
        for (name, a), (_, b) in zip(fast.state_dict().items(), plain.state_dict().items(), strict=True):
            assert torch.equal(a, b), name
    assert torch.nn.init.normal_(torch.zeros(64)).std() > 0.5  # and later models get theirs


def test_two_threads_load_and_paint_at_once(models: Path):
    """And a layer that a third builds meanwhile has its initial values: nothing is replaced for the whole process."""
    from concurrent.futures import ThreadPoolExecutor

    def painted(_: int) -> torch.Tensor:
        return pipeline.load_painter(models / "painter").paint(["red crown"], [3]).images[-1]

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(painted, i) for i in range(8)]
        layers = [torch.nn.Linear(64, 64) for _ in range(200)]
        images = [future.result() for future in futures]
    assert all(torch.equal(image, images[0]) for image in images)
    assert all(layer.weight.device.type == "cpu" and layer.weight.std() > 0.05 for layer in layers)


@pytest.mark.parametrize(
    "text, seeds",
    [("3", [3]), ("0-3", [0, 1, 2, 3]), ("1,5,9", [1, 5, 9]), ("7,0-1", [7, 0, 1]), (" 2 - 3 ", [2, 3])],
)
def test_seeds(text: str, seeds: list[int]):
    assert generate.parse_seeds(text) == seeds


def test_names_come_from_clip_or_sentence_whatever_the_script():
    assert slug("Red crown") == "red-crown" and slug("A bird, it's red!") == "a-bird-it-s-red"
    assert slug("Blåmeis, größer") == "blameis-grosser"
    names = {
        slug(text) for text in ("鳥", "鸟", "красная птица", "красный", "🐦", "!", "...", "red 鳥", "red 鸟")
    }
    assert len(names) == 9 and all(re.fullmatch(r"(birds|red)-[0-9a-f]{6}", name) for name in names)
    assert len(slug("bird " * 100)) <= LONGEST_NAME


# ---- mistakes ----


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text(text: str):
    assert "empty" in refuse("--text", text)


def test_a_text_without_a_known_word(models: Path, tmp_path: Path):
    out = tmp_path / "a.png"
    assert "no word" in refuse("--text", "xyzzy\nplugh", "--out", out, *options(models))
    assert not out.exists()


def test_an_endless_text():
    assert "at most" in refuse("--text", "bird " * 5000)


@pytest.mark.parametrize("seeds", ["", "x", "3-", "-1", "5-2", "0-1000", "1,,2", "0." + "5", "9" * 30])
def test_seeds_that_are_none(seeds: str):
    assert "--seeds" in refuse("--text", "a red bird", f"--seeds={seeds}")


def test_arguments_that_do_not_fit():
    assert "--speech" in refuse()
    assert "--stages" in refuse("--text", "a red bird", "--stage")
    assert "--text" in refuse("--text", "a red bird", "--speech", "a.wav")
    assert "--speech" in refuse("--text", "a red bird", "--spectrogram")
    assert "--beam" in refuse("--text", "a red bird", "--beam", "-2")
    assert "--beam" in refuse("--text", "a red bird", "--beam", "many")


def test_an_output_that_cannot_be_written(tmp_path: Path, models: Path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder.png").mkdir()
    say = ["--text", "a red bird", *options(models)]
    assert "folder" in refuse(*say, "--out", tmp_path / "folder.png")
    assert ".png" in refuse(*say, "--out", tmp_path / "birds.jpg")
    assert str(tmp_path / "file") in refuse(*say, "--out", tmp_path / "file" / "birds.png")
    assert "cannot write" in refuse(*say, "--out", tmp_path / f"{'long' * 62}.png")
    assert (tmp_path / "file").read_text() == "kept"


def make_sound(kind: str, folder: Path) -> Path:
    """A sound file that is wrong in one way."""
    path = folder / f"{kind}.wav"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000)
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is no sound\n" * 50)
    elif kind == "truncated":
        soundfile.write(path, noise, 16_000)
        path.write_bytes(path.read_bytes()[:20_000])
    elif kind == "picture":
        Image.new("RGB", (64, 64)).save(path, "PNG")
    elif kind == "two hours":
        size = 2 * 3600 * 8000 * 2
        head = (
            b"RIFF"
            + struct.pack("<I", 36 + size)
            + b"WAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
        )
        with open(path, "wb") as file:
            file.write(head + b"data" + struct.pack("<I", size))
            file.truncate(44 + size)  # a hole: takes no room
    elif kind == "silence":
        soundfile.write(path, np.zeros(32_000), 16_000)
    elif kind != "missing":
        raise ValueError(kind)
    return path


@pytest.mark.parametrize(
    "kind, said",
    [
        ("missing", "no sound file"),
        ("folder", "is a folder"),
        ("empty", "empty"),
        ("text", "not a sound file"),
        ("picture", "not a sound file"),
        ("truncated", "truncated"),
        ("two hours", "2.0 hours"),
        ("silence", "no speech heard"),
    ],
)
def test_a_bad_sound_file(kind: str, said: str, models: Path, tmp_path: Path):
    path, out = make_sound(kind, tmp_path), tmp_path / "out" / "a.png"
    line = refuse("--speech", path, "--out", out, *spoken(models))
    assert said in line and str(path) in line
    assert not out.exists()


def test_a_name_that_the_system_refuses(models: Path, tmp_path: Path):
    assert "cannot read" in refuse(
        "--speech", "a" * 300 + ".wav", "--out", tmp_path / "x.png", *spoken(models)
    )


def test_a_model_that_does_not_fit(models: Path, tmp_path: Path, clip: Path):
    out = ["--out", tmp_path / "a.png"]
    say = ["--text", "a red bird", *out]
    assert "recognizer" in refuse(*say, "--model", models / "recognizer")
    assert "painter" in refuse("--speech", clip, *out, *options(models), "--recognizer", models / "painter")
    assert "no" in refuse(*say, "--model", tmp_path / "nowhere")
    other = tmp_path / "other"
    other.mkdir()
    for path in (models / "painter").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    header = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(header | {"format_version": 99}))
    assert "99" in refuse(*say, "--model", other)
    (other / "config.json").write_text(json.dumps(header))
    (other / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes()[:1000])
    assert "weights" in refuse(*say, "--model", other)


def test_the_process_ends_with_one_line_and_a_code(tmp_path: Path):
    """The whole command, once: no traceback, nothing on standard output, code 2."""
    command = [sys.executable, str(ROOT / "generate.py"), "--speech", str(tmp_path / "none.wav")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: no sound file") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("clip", sorted((ROOT / "samples").glob("*.ogg")), ids=lambda path: path.stem)
def test_released_models_hear_and_paint_the_samples(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    for folder in (released.RECOGNIZER, released.PAINTER):
        if not (ROOT / folder / "config.json").is_file():
            pytest.skip(f"no released model in {folder}")
    out = tmp_path / "birds.png"
    assert generate.main(["--speech", str(clip), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    told = (ROOT / "samples" / "README.md").read_text(encoding="utf-8")
    sentence = re.search(rf"`{clip.name}` \| ([^|]+) \|", told)[1].replace(",", "")  # type: ignore[index]
    assert f"heard      {sentence} " in printed and "painted    8 birds" in printed and out.is_file()


# ---- drawing ----


def test_lines_are_no_wider_than_the_page():
    text = "a bird with " + "very " * 30 + "long legs and a pneumonoultramicroscopicsilicovolcanoconiosis" * 3
    for rows in (wrap(text, 26, 400), balance(text, 26, 400)):
        assert 1 < len(rows) <= 4 and rows[-1].endswith("…")
        assert all(font(26).getlength(row) <= 400 for row in rows)
    assert wrap("a red bird", 26, 400) == ["a red bird"]


def random_texts(count: int) -> list[str]:
    """Texts of every shape: one letter, endless words, emoji, other scripts, only ellipses, control characters."""
    random = np.random.default_rng(0)
    letters = list("aiMW .,…“”-") + ["🐦", "鳥", "é", "\u0301", "\ud800", "\x1b", "\n", "\u200b", "ﷺ"]
    texts = ["", " ", "a", "“a”", "“i”", "…", "… …", "“…”", "bird " * 200, "W" * 500]
    return texts + ["".join(random.choice(letters, random.integers(0, 40))) for _ in range(count)]


def test_wrapping_ends_for_any_text_and_width():
    for text in random_texts(150):
        for width in (-5, 0, 1, 9, 30, 200):
            for rows in (wrap(text, 26, width), balance(text, 26, width), [shorten(text, 26, width)]):
                assert len(rows) <= 4
                assert all(row == "…" or font(26).getlength(row) <= width for row in rows if row), (
                    text,
                    width,
                )
    assert balance("“a”", 26, 512) == ["“a”"]
    assert shorten("“bird”", 26, 60) == "“bir…" and shorten("“bird”", 26, 300) == "“bird”"


def test_a_picture_that_is_not_a_number_is_refused():
    with pytest.raises(UserError, match="NaN"):
        grids.grid([np.full((3, 8, 8), np.nan, np.float32)])


def test_pixels_run_from_minus_one_to_one():
    picture = np.stack([np.full((2, 2), value, np.float32) for value in (-1, 0, 1)])
    assert np.asarray(to_image(picture))[0, 0].tolist() == [0, 128, 255]
    assert np.asarray(to_image(picture * 3))[0, 0].tolist() == [0, 128, 255]


def test_a_heat_map_gets_brighter_evenly():
    lightness = heat(np.linspace(0, 1, 64)[None])[0] @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(lightness) > 0).all()


def test_words_that_would_overlap_are_written_lower():
    words = [Span("wings", 0.1 * i, 0.1 * i + 0.05) for i in range(4)]
    rows = _rows(words, seconds=10.0, width=1000)
    assert rows[0] == 0 and len(set(rows)) > 1
    assert (
        spectrogram_page(np.zeros((80, 0), np.float32), 1.0, []).height > 100
    )  # nothing heard, nothing breaks


def test_a_table_and_captioned_columns_show_every_picture():
    """Every picture, each of one colour of its own, is found in the page where its place is."""

    def plain(value: float) -> np.ndarray:
        return np.full((3, 64, 64), value, np.float32)

    def colours(page: Image.Image) -> set[int]:
        return {shade for _, shade in page.convert("L").getcolors(2**24)}

    values = [-0.8, -0.5, -0.2, 0.1]
    shades = {round((value + 1) * 127.5) for value in values}
    table = grids.table(
        [[plain(v) for v in values[:2]], [plain(v) for v in values[2:]]], ["one", "two"], ["a", "b"]
    )
    below = grids.captioned(
        [[plain(v) for v in values[:2]], [plain(v) for v in values[2:]]], ["x", "y"], "note"
    )
    for page in (table, below):
        assert shades <= colours(page)
    assert grids.table([[plain(0)]] * 2, ["one", "two"]).height > grids.table([[plain(0)]], ["one"]).height
