"""The line from sound to picture, as one object: generate.py, search.py, evaluate.py and any page call this."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from core.errors import UserError
from core.model_folder import model_kind
from core.model_registry import PAINTER, RECOGNIZER, find_folder
from core.precision import resolve_precision
from t2i.painter import Painter, Samples

if TYPE_CHECKING:
    import numpy as np

    from asr.audio import Sound
    from asr.transcript import SpeechRecognizer, Transcript
    from search.finder import Finder, Hit, Query
    from t2i.encoders.base import ConditionEncoder

AT_ONCE = 16  # pictures painted together; more gain no speed and cost memory


def load_condition_encoder(folder: Path | str) -> "ConditionEncoder":
    """The trained encoder of a model folder, that of a painter's folder, which holds no image encoder, or the published
    sentence features of a data root.

    Raises UserError as `load_encoder` or `read_sentences` does.
    """
    from data.embeddings import has_embeddings, read_sentences
    from t2i.encoders.precomputed import PrecomputedConfig, PrecomputedSentences
    from t2i.encoders.registry import load_encoder

    if has_embeddings(folder):
        texts, features = read_sentences(folder)
        config = PrecomputedConfig(str(folder), features.shape[1])
        return PrecomputedSentences(config, texts, torch.from_numpy(features)).eval()
    return load_painter(folder).encoder if model_kind(folder) == Painter.kind else load_encoder(folder)


def load_painter(folder: Path | str) -> Painter:
    """A trained painter, in eval mode and with fewer operations than in training (`for_inference`), with the features
    of a data set where its encoder looks them up.

    Raises UserError as `load_model` does, or where these features are no longer there.
    """
    from t2i.inference import for_inference

    painter = Painter.load(folder)
    painter.generator = for_inference(painter.generator)
    if painter.encoder.data_root:
        from data.embeddings import has_embeddings, read_sentences

        root = find_folder(painter.encoder.data_root)
        if not has_embeddings(root):
            raise UserError(
                f"{folder} paints captions from the features given in {root}, which has none now; restore that folder, "
                "or train a painter with an encoder that reads any text (train_encoder.py encoder=char_cnn_rnn)"
            )
        texts, features = read_sentences(root)
        painter.encoder.provide(texts, torch.from_numpy(features))
    return painter


def favoured_words(named: str, painters: Sequence[Painter | None]) -> list[str]:
    """Words with commas between them, and those that painters understand. Raises UserError for a painter that reads
    letters."""
    words = [word for part in named.split(",") if (word := part.strip())]
    for painter in filter(None, painters):
        known = painter.encoder.vocabulary_words
        if known is None:
            raise UserError(
                "--vocabulary painter: the model reads letters and has no list of words; leave it out"
            )
        words += [word for word in known if any(letter.isalpha() for letter in word)]
    return list(dict.fromkeys(words))


def favouring(recognizer: "SpeechRecognizer", words: Sequence[str]) -> "SpeechRecognizer":
    """A recogniser that expects these words, those that it does not know as espeak-ng reads them. Raises UserError for
    one that is not ours."""
    from asr.recognizers.registry import own
    from data.synthesis.pronounce import pronounce

    return own(recognizer, "favouring words").favouring(words, pronounce=pronounce)


@dataclass
class SpeechToImage:
    """Hears a sentence, paints it, and finds pictures of it. Either model may be left out."""

    recognizer: "SpeechRecognizer | None"
    painter: Painter | None

    @classmethod
    def load(
        cls,
        recognizer: Path | str | None = RECOGNIZER,
        painter: Path | str | None = PAINTER,
        precision: str = "fp32",
        language_model: Path | str = "auto",
    ) -> "SpeechToImage":
        """Load the model folders, the painter also by a name in PAINTERS of core.model_registry, the recogniser by one
        of asr.recognizers.registry ("whisper:tiny.en"); None leaves that half out. precision: of painting, one of
        core.precision.PRECISIONS. language_model: of our recogniser's search, a file, "none", or "auto" for that of
        its folder.

        Raises UserError as `load_model` does.
        """
        heard = None
        if recognizer is not None:
            from asr.recognizers.registry import open_recognizer  # a text alone needs no audio libraries

            heard = open_recognizer(recognizer, language_model=language_model)
        if painter is None:
            return cls(heard, None)
        paints = load_painter(find_folder(painter))
        paints.precision = resolve_precision(torch.device("cpu"), precision)
        return cls(heard, paints)

    def hear(self, sound: "Sound", beam: int | None = None, favour: Sequence[str] = ()) -> "Transcript":
        """A sound file, its bytes, an array at 16 kHz, or (rate, array), see `asr.audio.as_samples`, -> Transcript.
        beam: hypotheses kept, None for the recogniser's default. favour: words that our recogniser's search raises.

        Raises UserError where the sound cannot be read, or words are favoured of a recogniser that is not ours.
        """
        if self.recognizer is None:
            raise UserError("no recognizer was loaded; name its folder: SpeechToImage.load(recognizer=...)")
        recognizer = self.recognizer
        if favour:
            recognizer = favouring(recognizer, favour)
        return recognizer.transcribe(sound, **({} if beam is None else {"beam": beam}))

    def paint(self, text: str, seeds: Sequence[int]) -> Samples:
        """A sentence, B seeds -> Samples of B pictures. Raises UserError for a sentence without a known word."""
        if self.painter is None:
            raise UserError("no painter was loaded; name its folder: SpeechToImage.load(painter=...)")
        parts = [
            self.painter.paint([text] * len(some), some)
            for some in (seeds[i : i + AT_ONCE] for i in range(0, len(seeds), AT_ONCE))
        ]
        return Samples(
            tuple(torch.cat(stage) for stage in zip(*(part.images for part in parts), strict=True)),
            tuple(torch.cat(stage) for stage in zip(*(part.attention for part in parts), strict=True)),
            [words for part in parts for words in part.tokens],
        )

    def interpolate(self, first: str, second: str, steps: int = 7, seed: int = 0) -> Samples:
        """Two sentences -> Samples of `steps` pictures of one seed that lead from the first to the second. Raises
        UserError as `paint`, or for too few or too many steps."""
        if self.painter is None:
            raise UserError("no painter was loaded; name its folder: SpeechToImage.load(painter=...)")
        return self.painter.interpolate(first, second, steps, seed)

    def find(
        self,
        query: "Query",
        finder: "Finder",
        count: int = 10,
        what: Literal["pictures", "captions"] = "pictures",
    ) -> "list[Hit]":
        """The pictures or captions of a set that are nearest to a sentence or to a picture (its path, or PIL's image),
        the nearest first. finder: the set's index, `search.finder.Finder.open(folder)`; needs no model here.

        Raises UserError for a sentence without a known word, for what is no picture, or for a set without captions.
        """
        return finder.find(query, count, what)


def spectrogram(samples: "np.ndarray") -> "np.ndarray":
    """Samples (S,) at 16 kHz -> log-mel energies (80, T), nats above the loudest, at least -80 dB, a frame 10 ms.

    The recogniser's features before their normalisation, which would hide the formants from the eye.
    """
    from asr.features import DYNAMIC_RANGE, SMALLEST_POWER, WINDOW, LogMel

    sound = torch.nn.functional.pad(torch.from_numpy(samples), (0, max(WINDOW - len(samples), 0)))
    log = LogMel().power(sound[None])[0].T.clamp(min=SMALLEST_POWER).log()  # (80, T)
    return (log - log.max()).clamp(min=-DYNAMIC_RANGE).numpy()
