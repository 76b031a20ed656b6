"""Models as ONNX files: what onnxruntime computes is what torch does, for any length and number; the static page."""

import base64
import gzip
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app import export
from asr.encoders.base import ModelConfig
from asr.language_model import FILE as LANGUAGE_MODEL
from asr.language_model import load_language_model
from asr.lexicon import FILE as LEXICON
from asr.lexicon import Lexicon
from asr.lexicon_words import LexiconReader, PhonePosteriors
from asr.model import SpeechModel
from asr.recognizer import Recognizer
from asr.tokenizer import Tokenizer
from core.errors import UserError
from t2i.encoders.damsm import Damsm, DamsmConfig
from t2i.families.attngan import AttnGanConfig, Generator
from t2i.painter import Painter
from t2i.vocabulary import Vocabulary
from training import language_model

ROOT = Path(__file__).resolve().parents[1]
WHY = 'models are exported by onnx and run by onnxruntime: pip install "saybird[onnx]"'
WORDS = ["<end>", "a", "red", "bird", "with", "black", "wings"]
HEARD = "this bird has a red crown a yellow belly and black wings"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
RUNTIME = ROOT / "runs" / "onnxruntime-web"


def packages() -> Any:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason=WHY)
    return pytest.importorskip("onnxruntime", reason=WHY)


@pytest.fixture(scope="module")
def painter() -> Painter:
    torch.manual_seed(0)
    encoder = Damsm(
        DamsmConfig(embedding=16, word_width=8, sentence="last", max_words=6), Vocabulary(WORDS), False
    )
    config = AttnGanConfig(
        stages=2, width=2, embedding=16, condition=5, noise=7, first_width=4, residual_blocks=1
    )
    return Painter(Generator(config), encoder).eval().requires_grad_(False)


def recognizer(encoder: str, **sizes: Any) -> Recognizer:
    torch.manual_seed(0)
    tokenizer = Tokenizer()
    config = ModelConfig(
        encoder=encoder, width=16, heads=2, encoder_layers=2, decoder_layers=1, feed_forward=16, **sizes
    )
    return Recognizer(SpeechModel(config, len(tokenizer)), tokenizer)


def test_a_painter_paints_the_same_for_any_sentence_and_number(painter, tmp_path):
    runtime = packages()
    from t2i.onnx import SEEDS, export_painter

    facts = export_painter(painter, tmp_path / "painter.onnx")
    assert facts["words"] == WORDS and facts["sides"] == painter.resolutions and facts["seeds"] == SEEDS
    session = runtime.InferenceSession(str(tmp_path / "painter.onnx"))
    noise = np.frombuffer((tmp_path / "noise.bin").read_bytes(), "<f4").reshape(SEEDS, facts["noise"])
    for text, seeds in (
        ("a red bird with black wings", [0, 1, 2, 3]),
        ("bird", [63]),
        ("black bird", range(9)),
    ):
        numbers = [[WORDS.index(word) for word in text.split()]]
        found = session.run(None, {"words": np.array(numbers), "noise": noise[list(seeds)]})
        expected = painter.paint([text] * len(seeds), list(seeds))
        assert facts["outputs"] == [output.name for output in session.get_outputs()]
        for ours, theirs in zip(found, (*expected.images, *expected.attention), strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-5)


@pytest.mark.parametrize("encoder", ["transformer", "conformer"])
def test_a_recogniser_hears_the_same_in_clips_of_any_length(encoder, tmp_path):
    runtime = packages()
    from asr.onnx import export_recognizer

    ours = recognizer(encoder)
    facts = export_recognizer(ours, tmp_path / "recognizer.onnx")
    assert facts["tokens"][2:] == ours.tokenizer.pieces[2:] and facts["frame_seconds"] == 0.04
    session = runtime.InferenceSession(str(tmp_path / "recognizer.onnx"))
    random = torch.Generator().manual_seed(0)
    for count in (1700, 16_000, 70_123):
        samples = torch.randn(1, count, generator=random) / 10
        (found,) = session.run(None, {"samples": samples.numpy()})
        with torch.inference_mode():
            features, is_pad = ours.front_end(samples, torch.tensor([count]))
            memory, _ = ours.model.encoder(features, is_pad)
            expected = ours.model.to_ctc(memory).log_softmax(2)
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)


def test_phones_are_exported_with_what_finds_words_in_them(tmp_path):
    runtime = packages()
    from asr.onnx import export_recognizer

    ours = recognizer("conformer", phones=True)
    facts = export_recognizer(ours, tmp_path / "recognizer.onnx")
    assert "search" not in facts and list(tmp_path.glob("*.txt")) == []  # no lexicon: it spells its words
    ours.lexicon = Lexicon.parse(["a AH", "bird B ER D"], "here")
    ours.language_model = language_model.train({"birds": ["a bird", "bird"] * 3}, order=2, prune=0.0)
    ours.phone_weight = 0.5
    facts = json.loads(json.dumps(export_recognizer(ours, tmp_path / "recognizer.onnx")))
    samples = torch.randn(1, 30_000, generator=torch.Generator().manual_seed(0)) / 10
    session = runtime.InferenceSession(str(tmp_path / "recognizer.onnx"))
    letters, found = session.run(None, {"samples": samples.numpy()})
    with torch.inference_mode():
        memory, _ = ours.model.encoder(*ours.front_end(samples, torch.tensor([samples.shape[1]])))
        expected = ours.model.to_phones(memory).log_softmax(2)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)
    assert found.shape[1] == facts["phones"]["frames"] * letters.shape[1]
    # the words from the files alone are those of the recogniser
    lexicon, model = Lexicon.load(tmp_path / LEXICON), load_language_model(tmp_path / LANGUAGE_MODEL)
    phones = PhonePosteriors(
        found[0], np.array(facts["phones"]["log_prior"], np.float32), facts["phones"]["frames"]
    )
    reader = LexiconReader(lexicon, model, **facts["search"])
    assert reader.phone_weight == 0.5
    with torch.no_grad():
        assert reader.find(phones, 8) == ours.reader.find(ours._phones(memory[0]), 8)


def test_weights_that_float16_holds_are_kept_in_it():
    packages()
    from onnx import TensorProto, helper, numpy_helper

    from core.onnx import halve

    exact, other = np.arange(300, dtype=np.float32), np.full(300, 0.1, np.float32)
    weights = [numpy_helper.from_array(exact, "exact"), numpy_helper.from_array(other, "other"),
               numpy_helper.from_array(exact[:5], "few")]  # fmt: skip
    graph = helper.make_graph([helper.make_node("Add", ["exact", "other"], ["sum"])], "g", [], [], weights)
    halve(graph)
    kinds = {weight.name: weight.data_type for weight in graph.initializer}
    assert kinds == {"exact_half": TensorProto.FLOAT16, "other": TensorProto.FLOAT, "few": TensorProto.FLOAT}
    assert [node.op_type for node in graph.node] == ["Cast", "Add"] and graph.node[0].output == ["exact"]


def test_what_cannot_be_exported_is_said(painter):
    from asr.onnx import RecognizerGraph
    from t2i.onnx import PainterGraph

    live = recognizer("transformer")
    live.front_end.normalisation = "running"
    with pytest.raises(UserError, match="normalisation=clip"):
        RecognizerGraph(live)
    letters = Painter(painter.generator, painter.encoder)
    letters.encoder = torch.nn.Identity()
    letters.encoder.kind = "char-cnn-rnn"
    with pytest.raises(UserError, match="char-cnn-rnn"):
        PainterGraph(letters)


# ---- the page ----


def test_a_runtime_of_another_version_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no ort.wasm"):
        export.read_runtime(tmp_path)
    (tmp_path / "dist").mkdir()
    for source, _ in export.RUNTIME.values():
        (tmp_path / "dist" / source).write_text("another")
    with pytest.raises(UserError, match=re.escape(export.PACKAGE)):
        export.read_runtime(tmp_path)


def test_npm_is_asked_for_the_runtime_and_its_failure_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="npm is missing"):
        export.read_runtime(None)
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho first >&2\necho 'no such host' >&2\nexit 1\n")
    npm.chmod(0o755)
    with pytest.raises(UserError, match="no such host"):
        export.read_runtime(None)


def test_a_script_holds_files_and_facts():
    script = export.as_script({"a.bin": b"abc\x00"}, {"painter": {"words": ["<end>", 'a "bird"']}})
    packed = re.search(r'saybird\.files\["a\.bin"\] = "([^"]+)";', script)[1]
    assert gzip.decompress(base64.b64decode(packed)) == b"abc\x00"
    assert json.loads(re.search(r"saybird\.painter = (.*);", script)[1]) == {"words": ["<end>", 'a "bird"']}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the released models, and the page where its runtime is there."""
    packages()
    folder = tmp_path_factory.mktemp("exported")
    page = ["--page", "--runtime", str(RUNTIME)] if RUNTIME.is_dir() else []
    assert export.main(["--out", str(folder), *page]) == 0
    return folder


def test_the_example_of_the_documentation_hears_and_paints(exported):
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    given = (("runs/onnx", exported.as_posix()), ("samples/", f"{(ROOT / 'samples').as_posix()}/"))
    for written, there in given:
        assert written in code
        code = code.replace(written, there)
    made: dict[str, Any] = {}
    exec(code, made)
    assert made["text"] == HEARD
    expected = Painter.load(ROOT / "weights" / "painted-attngan").paint([HEARD] * 4, range(4))
    np.testing.assert_allclose(made["images"][1], expected.images[-1].numpy(), atol=1e-4)


def test_the_page_hears_and_paints_in_a_browser_without_a_server(exported):
    api = pytest.importorskip(
        "playwright.sync_api", reason="a browser is driven by playwright: pip install playwright"
    )
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    if not RUNTIME.is_dir():
        pytest.skip(f"no {RUNTIME.relative_to(ROOT)}: npm pack {export.PACKAGE}, and unpack it there")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((exported / "index.html").as_uri())
        page.locator("#words label").first.wait_for()  # the birds of the sentence that is there at first
        page.locator("#sample").click()
        page.locator("#heard span").first.wait_for()
        assert page.locator("#heard").inner_text() == HEARD
        page.locator("#words label", has_text="crown").wait_for()
        shown = page.evaluate(PIXELS)
        browser.close()
    assert all(url.split(":")[0] in ("file", "blob", "data") for url in asked)
    bird = Painter.load(ROOT / "weights" / "painted-attngan")
    image = bird.paint([HEARD], [0]).images[-1][0]
    expected = ((image + 1) * 127.5).permute(1, 2, 0).numpy()
    assert np.abs(np.array(shown).reshape(128, 128, 4)[..., :3] - expected).max() < 1


PIXELS = (
    "() => [...document.querySelector('#birds canvas').getContext('2d').getImageData(0, 0, 128, 128).data]"
)


def test_words_are_found_without_torch():
    code = "import sys; import asr.lexicon_words, asr.lexicon, asr.language_model; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
