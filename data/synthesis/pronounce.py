"""How a word is pronounced, in the phones of CMUdict, as espeak-ng reads it."""

import re

from asr.lexicon import NUMBERS, Pronunciation
from data.synthesis.espeak import phonemes

ACCENT = "en-us"  # of espeak-ng, as CMUdict's
ARPABET = {  # espeak-ng's vowels and consonants; the longest that fits is taken
    "aɪə": "AY ER", "aɪɚ": "AY ER", "aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW", "ɔɪ": "OY", "tʃ": "CH",
    "dʒ": "JH", "ɑːɹ": "AA R", "ɔːɹ": "AO R", "oːɹ": "AO R", "ɛɹ": "EH R", "ɪɹ": "IH R", "ʊɹ": "UH R", "əl": "AH L",
    "n̩": "AH N", "iə": "IY AH", "ɑ": "AA", "a": "AE", "æ": "AE", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ɔ": "AO", "ɒ": "AA",
    "o": "OW", "b": "B", "d": "D", "ð": "DH", "ɛ": "EH", "e": "EH", "ɜ": "ER", "ɚ": "ER", "f": "F", "ɡ": "G", "g": "G",
    "h": "HH", "ɪ": "IH", "ᵻ": "IH", "i": "IY", "k": "K", "l": "L", "m": "M", "n": "N", "ŋ": "NG", "p": "P", "ɹ": "R",
    "r": "R", "s": "S", "ʃ": "SH", "t": "T", "ɾ": "T", "θ": "TH", "ʊ": "UH", "u": "UW", "v": "V", "w": "W", "j": "Y",
    "z": "Z", "ʒ": "ZH", "x": "K", "ç": "HH", "ʔ": "T", "ɬ": "L", "y": "UW",
}  # fmt: skip
LONGEST = max(map(len, ARPABET))


def pronounce(word: str) -> Pronunciation:
    """The phones of a word, none where it makes no sound."""
    return from_ipa(phonemes(word, ACCENT))


def from_ipa(text: str) -> Pronunciation:
    """The phones of what espeak-ng writes, without stress and length."""
    text = re.sub(
        "[\N{MODIFIER LETTER VERTICAL LINE}\N{MODIFIER LETTER LOW VERTICAL LINE}^ .\u0303-]", "", text
    )
    phones: list[int] = []
    while text:
        size = next((size for size in range(LONGEST, 0, -1) if text[:size] in ARPABET), 0)
        phones += (NUMBERS[phone] for phone in ARPABET.get(text[:size], "").split())
        text = text[max(size, 1) :]
    return tuple(phones)
