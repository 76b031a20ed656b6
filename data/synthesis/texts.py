"""Sentences to speak, from captions and books. Each source is a function that returns a list of sentences.

What a model is tested on is never among those of training: no caption of CUB's test classes, no painted caption that
the recogniser's test splits use, no line of LJSpeech's validation and test, no text of LibriSpeech's test-clean.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from core.errors import UserError, suggest
from data.painted_birds.captions import write_caption
from data.painted_birds.recordings import SpeechSettings
from data.painted_birds.species import species_list, species_marks
from data.painted_birds.voices import is_held_out
from data.speech_layouts import read_metadata
from data.text_files import read_lines

MOST_WORDS, MOST_CHARACTERS = 34, 200  # about 14 seconds
VAL_SHARE = 20  # one in so many of the captions of CUB's training classes is for validation
PAINTED = 4_000  # sentences of a painted source
# kept to measure on, besides the lists of the set: the end of the part that has audio here
KEPT_OF_LJSPEECH = {f"LJ002-{i:04d}" for i in range(151, 201)}


def words_of(text: str) -> str:
    """What makes two sentences the same: their words in lower case."""
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def can_be_spoken(text: str) -> bool:
    """Whether every engine says what is written: letters and punctuation, no digits or signs, a few seconds long."""
    plain = re.fullmatch(r"[A-Za-z ,.;:!?'\"()-]+", text) is not None
    return plain and 3 <= len(text.split()) <= MOST_WORDS and len(text) <= MOST_CHARACTERS


def cub_captions(root: Path, split: str) -> list[str]:
    """Captions of CUB's training or test classes; "val" is a twentieth of those of training, "train" the rest.

    Those of training that are also written of a test class, or spoken in validation, are left out.
    """
    from data import cub

    def of(name: str) -> list[str]:
        return [c for entry in cub.read(root, name).entries for c in entry.captions]

    if split == "test":
        return _usable(of("test"))
    tested = {words_of(caption) for caption in of("test")}
    captions = [caption for caption in _usable(of("train")) if words_of(caption) not in tested]
    return [caption for caption in captions if _is_for_validation(caption) == (split == "val")]


def _is_for_validation(caption: str) -> bool:
    return hashlib.sha256(words_of(caption).encode()).digest()[1] % VAL_SHARE == 0


def painted_captions(
    split: str, seed: int = 0, count: int = PAINTED, settings: SpeechSettings | None = None
) -> list[str]:
    """Captions of painted birds: of the training species those that training may hear, else of the test species those
    that it may not. See `data.painted_birds.voices.clip`."""
    settings, train = settings or SpeechSettings(), split == "train"
    species = species_list(seed, settings.train_species, settings.test_species)[0 if train else 1]
    rng = np.random.default_rng([seed, 60, train])
    captions: dict[str, None] = {}
    while len(captions) < count:
        i = int(rng.integers(len(species)))
        text, _ = write_caption(species[i], species_marks(seed, 0 if train else 1, i), rng)
        if is_held_out(text) != train:
            captions[text] = None
    return list(captions)


def ljspeech_texts(root: Path) -> list[str]:
    """The normalised texts of LJSpeech's metadata.csv, without those of its validation and test lists."""
    texts = read_metadata(root)
    kept = set(KEPT_OF_LJSPEECH)
    for split in ("val", "test"):
        path = root / "splits" / f"{split}.txt"
        kept |= {line.split("|")[0].strip() for _, line in read_lines(path)} if path.is_file() else set()
    tested = {words_of(text) for id, text in texts.items() if id in kept}
    return _usable([text for text in texts.values() if words_of(text) not in tested])


def librispeech_texts(root: Path) -> list[str]:
    """The transcripts of LibriSpeech's training subsets in lower case, without sentences that others hold too."""

    def of(subsets: list[Path]) -> list[str]:
        paths = [path for subset in subsets for path in sorted(subset.glob("*/*/*.trans.txt"))]
        lines = [line for path in paths for _, line in read_lines(path)]
        return [line.strip().partition(" ")[2].lower() for line in lines]

    subsets = sorted(path for path in root.iterdir() if path.is_dir())
    train = [path for path in subsets if path.name.startswith("train")]
    tested = {words_of(text) for text in of([path for path in subsets if path not in train])}
    return _usable([text for text in of(train) if words_of(text) not in tested])


def file_texts(path: Path) -> list[str]:
    """The lines of a text file."""
    return _usable([line for _, line in read_lines(path)])


def _usable(texts: list[str]) -> list[str]:
    """Those that can be spoken, each once, in their order."""
    tidied = (" ".join(text.split()) for text in texts)
    return list(dict.fromkeys(text for text in tidied if can_be_spoken(text)))


# name -> the usual folder of its set, and the sentences in it
SOURCES: dict[str, tuple[str, Callable[[Path], list[str]]]] = {
    "cub-train": ("cub", lambda folder: cub_captions(folder, "train")),
    "cub-val": ("cub", lambda folder: cub_captions(folder, "val")),
    "cub-test": ("cub", lambda folder: cub_captions(folder, "test")),
    "painted-train": ("", lambda folder: painted_captions("train")),
    "painted-test": ("", lambda folder: painted_captions("test")),
    "ljspeech": ("LJSpeech-1.1", ljspeech_texts),
    "librispeech": ("LibriSpeech", librispeech_texts),
}


def read_texts(source: str, folder: Path) -> list[str]:
    """The sentences of a source, a name of SOURCES whose set lies in `folder`, or a text file. Raises UserError where
    there are none."""
    if source in SOURCES:
        try:
            texts = SOURCES[source][1](folder)
        except OSError as error:
            raise UserError(
                f"cannot read the texts {source}: {error.filename}: {error.strerror}; say where the set lies, "
                f"{source}=FOLDER"
            ) from error
    elif Path(source).is_file():
        texts = file_texts(Path(source))
    else:
        near = suggest(source, SOURCES)
        raise UserError(
            f'no texts "{source}"{near}; there are: {", ".join(SOURCES)}, or the path of a text file'
        )
    if not texts:
        raise UserError(f"{source} holds no sentence of 3 to {MOST_WORDS} words without digits and signs")
    return texts
