"""Words that a speaker says will be said, to the released recogniser: names that neither its lexicon nor its language
model has."""

import numpy as np
import pytest

from asr.audio import resample
from asr.lexicon import PHONES
from asr.recognizer import Recognizer
from core.model_registry import RECOGNIZER
from data.synthesis import espeak
from data.synthesis.pronounce import pronounce
from pipeline import favouring


@pytest.fixture(scope="module")
def recognizer(root) -> Recognizer:
    return Recognizer.load(root / RECOGNIZER)


def spoken(text: str) -> np.ndarray:
    samples, rate = espeak.synthesize(text, "en-us", 150, 50)
    return resample(samples.astype(np.float32) / 32768, rate)


@pytest.mark.parametrize("name", ["quetzal", "kinglet"])
def test_a_favoured_name_is_heard(recognizer, name):
    assert recognizer.lexicon is not None and recognizer.lexicon.place(name) is None
    clip = spoken(f"a small {name} with a yellow crown")
    assert name not in recognizer.transcribe(clip).text.split()
    heard = favouring(recognizer, [name]).transcribe(clip)
    assert heard.text.split()[2] == name and all(word.confidence >= 0 for word in heard.words)
    other = favouring(recognizer, [name]).transcribe(spoken("a blue bird with a white breast"))
    assert name not in other.text.split()


@pytest.mark.parametrize(("word", "phones"), [("wren", "R EH N"), ("thrush", "TH R AH SH")])
def test_words_are_pronounced_as_espeak_reads_them(word, phones):
    assert " ".join(PHONES[phone] for phone in pronounce(word)) == phones
