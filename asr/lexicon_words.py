"""Words from a network that tells the phones of frames: the search in a lexicon, and what speaks for each word."""

from collections.abc import Mapping
from itertools import groupby
from typing import NamedTuple

import numpy as np

from asr.alignment import align_phones, phone_likelihoods, pronunciation_graph, search_scores
from asr.confidence import certainty, phone_scores
from asr.language_model import LanguageModel
from asr.lexicon import Lexicon
from asr.lexicon_search import FoundWord, Heard, LexiconSearch, SearchWidth
from asr.word_posteriors import word_posteriors
from asr.word_scores import START, Histories, WordScores
from core.errors import UserError

HYPOTHESES = 150  # of phones, where a search of letters keeps one
PHONE_WEIGHT = 0.35  # of the sound beside the language model: neighbouring frames say much the same


class PhonePosteriors(NamedTuple):
    """What a network says of the phones of a recording of T encoder frames."""

    log_probs: np.ndarray  # (T * frames, P), nats
    log_prior: np.ndarray  # (P,): how often each was the label in training, nats
    frames: int  # of phones that an encoder frame has

    @property
    def certainty(self) -> float:
        """The mean `certainty` of the frames, 0 to 1: of speech its clear phones and pauses, of music hardly any."""
        return float(certainty(self.log_probs).mean())


class HeardWord(NamedTuple):
    text: str
    first: int  # encoder frames
    last: int


class LexiconReader:
    """Reads words from the frames of one recording after another."""

    def __init__(
        self,
        lexicon: Lexicon,
        language_model: LanguageModel,
        phone_weight: float = PHONE_WEIGHT,
        language_model_weight: float = 1.0,
        word_bonus: float = 0.0,
        favoured: Mapping[str, float] | None = None,
        least_certainty: float = 0.0,
    ):
        """favoured: nats for words of the lexicon. least_certainty: a recording whose `PhonePosteriors.certainty` is
        below it is no speech and has no words. Words that the language model lacks and that are not favoured cannot be
        found. Raises UserError where it lacks all."""
        favoured = favoured or {}
        self.lexicon = lexicon = lexicon.among({*language_model.words, *favoured})
        self.phone_weight, self.least_certainty = phone_weight, least_certainty
        scores = WordScores(language_model)
        places = scores.places(lexicon.words)
        if (places == scores.unknown).all():
            raise UserError(
                "the language model has no word of the recogniser's lexicon; choose one of the same language"
            )
        gains = np.full(len(lexicon), word_bonus)
        for word, nats in favoured.items():
            place = lexicon.place(word)
            if place is not None:
                # favouring stands beside what the sound says, so it counts as much as that
                gains[place] += phone_weight * nats
        self._places = places
        self.search = LexiconSearch(lexicon, places, scores, language_model_weight, gains)

    def find(self, phones: PhonePosteriors, beam: int) -> list[FoundWord]:
        """The words of one recording. beam: HYPOTHESES times as many are kept."""
        return self._hear(phones, beam).best.words

    def _hear(self, phones: PhonePosteriors, beam: int) -> Heard:
        if phones.certainty < self.least_certainty:
            return Heard.nothing()
        width = SearchWidth(most=HYPOTHESES * beam, most_words=max(HYPOTHESES * beam // 10, 10))
        return self.search.hear(search_scores(*phones, self.phone_weight), width)

    def text(self, found: list[FoundWord]) -> str:
        return " ".join(self.lexicon.words[one.word] for one in found)

    def words_with_scores(
        self, phones: PhonePosteriors, beam: int, letters: list[str]
    ) -> tuple[list[HeardWord], np.ndarray]:
        """N words and their scores (N, len(PHONE_SCORES)). letters: what CTC's best path writes in each of T frames."""
        heard = self._hear(phones, beam)
        found = heard.best.words
        likelihoods = phone_likelihoods(phones.log_probs, phones.log_prior)  # (T * frames, P)
        labels, words, spelt = [], [], []
        for word, first, last in found:
            begin, end = first * phones.frames, (last + 1) * phones.frames
            graph = pronunciation_graph([self.lexicon.pronunciations(self.lexicon.words[word])])
            aligned = align_phones(likelihoods[begin:end], graph)
            labels.append((begin, np.zeros(end - begin, np.int64) if aligned is None else aligned))
            words.append(HeardWord(self.lexicon.words[word], first, last))
            spelt.append("".join(letters[first : last + 1]).strip())
        texts = [word.text for word in words]
        posteriors = word_posteriors(heard, found)
        return words, phone_scores(phones.log_probs, labels, texts, self._language(found), spelt, posteriors)

    def _language(self, found: list[FoundWord]) -> list[float]:
        """What the language model says of each word after those before it, nats."""
        histories, history, gains = Histories(self.search.scores), np.array([START]), []
        for one in found:
            word = self._places[[one.word]]
            gains.append(float(histories(history, word)[0]))
            history = histories.extend(history, word)
        return gains


def letters_of(ctc_logits: np.ndarray, pieces: list[str]) -> list[str]:
    """What CTC's best path writes in each frame: logits (T, V), the text of each token -> T texts, most of them ""."""
    best = ctc_logits.argmax(axis=-1).tolist()
    starts = [(token, len(list(group))) for token, group in groupby(best)]
    return [part for token, count in starts for part in (pieces[token], *[""] * (count - 1))]
