"""The static page's search of words is the recogniser's: the same words, sure to the same degree."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from app.export import PAGE, WORKER
from asr.confidence import PHONE_SCORES, Calibration
from asr.language_model import LanguageModel, save_language_model
from asr.lexicon import PHONES, SILENCE, Lexicon
from asr.lexicon_words import LexiconReader, PhonePosteriors, letters_of
from asr.tokenizer import Tokenizer
from training import language_model as language_model_command

NODE = shutil.which("node")
READ = ["he was not there", "the red house was old", "was it he", "there it was", "read a red book"] * 2
BIRDS = ["a red bird", "a red bird with blue wings", "this bird is red", "the bird has a red head"] * 3
LEXICON = """a AH
a EY
bird B ER D
bird B IH R D
birds B ER D Z
blue B L UW
book B UH K
has HH AE Z
he HH IY
head HH EH D
house HH AW S
is IH Z
read R EH D
read R IY D
red R EH D
the DH AH
the DH IY
this DH IH S
was W AA Z
wings W IH NG Z
with W IH DH
"""
SEARCH = {"phone_weight": 0.4, "language_model_weight": 0.9, "word_bonus": 0.3, "least_certainty": 0.0}
CALIBRATION = Calibration(np.array([0.5, 0.2, 0.3, 0.1, 1.5, -0.4, 0.2, 0.6, 0.3, -0.8]), 1.2, PHONE_SCORES)
READ_STDIN = """
const {letters, phones, facts, lexicon, language_model} = JSON.parse(require("fs").readFileSync(0));
const model = readLanguageModel(new Uint8Array(require("fs").readFileSync(language_model)));
const words = lexicon && readLexicon(lexicon, facts.phones.names, model, facts.search);
const rows = clips => clips.map(clip => clip.map(row => Float32Array.from(row)));
console.log(JSON.stringify(rows(letters).map((clip, i) =>
  words ? lexiconWords(clip, rows(phones)[i], facts, words) : greedyWords(clip, facts.tokens))));
"""


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return language_model_command.train({"read": READ, "birds": BIRDS}, order=4, prune=0.0)


def in_node(given: dict) -> list[list[dict]]:
    if NODE is None:
        pytest.skip("no node, which runs the page's scripts: apt-get install nodejs")
    script = "".join((PAGE / name).read_text("utf-8") for name in WORKER if name != "worker.js") + READ_STDIN
    done = subprocess.run(
        [NODE, "-e", script], input=json.dumps(given), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def noisy(
    texts: list[str], lexicon: Lexicon, tokenizer: Tokenizer
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Log probabilities of letters (T, V) and phones (2 T, P) of clips in which the texts are spoken, not clearly."""
    random = np.random.default_rng(0)
    letters, phones = [], []
    for text in texts:
        spoken = [SILENCE] * 3
        for word in text.split():
            options = lexicon.pronunciations(word)
            for phone in options[random.integers(len(options))]:
                spoken += [phone] * random.integers(2, 7)
        spoken += [SILENCE] * (3 + (3 + len(spoken)) % 2)
        logits = 3.0 * np.eye(len(PHONES))[spoken] + random.normal(size=(len(spoken), len(PHONES)))
        phones.append(log_softmax(logits))
        tokens = np.zeros(len(spoken) // 2, int)
        written = tokenizer.encode(text)
        tokens[np.linspace(1, len(tokens) - 2, len(written)).astype(int)] = written
        letters.append(
            log_softmax(
                4.0 * np.eye(len(tokenizer))[tokens] + random.normal(size=(len(tokens), len(tokenizer)))
            )
        )
    return letters, phones


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def test_a_browser_finds_the_words_that_python_finds_and_is_as_sure(model, tmp_path: Path):
    lexicon, tokenizer = Lexicon.parse(LEXICON.splitlines(), "here"), Tokenizer()
    texts = [
        "a red bird with blue wings",
        "he was the red bird",
        "birds",
        "this house has a red book",
        "the head is red",
    ]
    letters, phones = noisy(texts, lexicon, tokenizer)
    prior = np.log(np.linspace(1, 3, len(PHONES), dtype=np.float32) / 80)
    reader = LexiconReader(lexicon, model, **SEARCH)
    path = tmp_path / "language_model.safetensors"
    save_language_model(model, path)
    given = {
        "letters": [clip.tolist() for clip in letters], "phones": [clip.tolist() for clip in phones],
        "lexicon": lexicon.as_text(), "language_model": str(path),
        "facts": {
            "tokens": ["", *tokenizer.as_json()[1:]],
            "phones": {"names": PHONES, "frames": 2, "log_prior": prior.tolist()},
            "search": SEARCH, "confidence": CALIBRATION.as_json(),
        },
    }  # fmt: skip
    right = 0
    for text, of_letters, of_phones, found in zip(texts, letters, phones, in_node(given), strict=True):
        spelt = letters_of(of_letters, tokenizer.pieces)
        words, scores = reader.words_with_scores(PhonePosteriors(of_phones, prior, 2), 8, spelt)
        assert [word["text"] for word in found] == [word.text for word in words]
        np.testing.assert_allclose([word["probability"] for word in found], CALIBRATION(scores), atol=1e-4)
        right += sum(word in text.split() for word in (word.text for word in words))
    assert right > 15  # of 20: the comparison is of texts, not of noise
    # and it refuses the two clips of which the network is least sure
    heard = [PhonePosteriors(clip, prior, 2) for clip in phones]
    sure = sorted(clip.certainty for clip in heard)
    given["facts"]["search"] = SEARCH | {"least_certainty": (sure[1] + sure[2]) / 2}
    reader = LexiconReader(lexicon, model, **given["facts"]["search"])
    refused = [not reader.find(clip, 8) for clip in heard]
    assert [words == [] for words in in_node(given)] == refused and sum(refused) == 2


def test_a_browser_hears_nothing_in_silence_and_spells_without_a_lexicon(model, tmp_path: Path):
    path = tmp_path / "language_model.safetensors"
    save_language_model(model, path)
    tokenizer = Tokenizer()
    quiet = log_softmax(6.0 * np.eye(len(PHONES))[[SILENCE] * 20])
    blank = log_softmax(6.0 * np.eye(len(tokenizer))[[0] * 10])
    facts = {
        "tokens": ["", *tokenizer.as_json()[1:]],
        "phones": {"names": PHONES, "frames": 2, "log_prior": [-3.0] * len(PHONES)}, "search": SEARCH,
    }  # fmt: skip
    given = {"letters": [blank.tolist()], "phones": [quiet.tolist()], "lexicon": LEXICON,
             "language_model": str(path), "facts": facts}  # fmt: skip
    assert in_node(given) == [[]]
    tokens = [0, *tokenizer.encode("a bird"), 0]
    spelling = log_softmax(6.0 * np.eye(len(tokenizer))[tokens])
    given |= {"letters": [spelling.tolist()], "lexicon": None}
    (found,) = in_node(given)
    assert [word["text"] for word in found] == ["a", "bird"]
    expected = float(np.exp(spelling[1, tokens[1]]))
    assert [word["probability"] for word in found] == pytest.approx([expected] * 2, abs=1e-6)
