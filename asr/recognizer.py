"""Sound to transcript: the one object that a user of this room needs."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr.audio import LONGEST, SAMPLE_RATE, Sound, as_samples
from asr.confidence import PHONE_SCORES, SCORES, Calibration, joined, spoken_words, word_scores
from asr.decode import align, greedy_ctc, joint_search
from asr.encoders.base import check_sizes
from asr.features import HOP, LogMel, pad_samples
from asr.language_model import FILE as LANGUAGE_MODEL
from asr.language_model import LanguageModel, load_language_model, save_language_model
from asr.lexicon import FILE as LEXICON
from asr.lexicon import Lexicon, Pronunciation
from asr.lexicon_words import PHONE_WEIGHT, HeardWord, LexiconReader, PhonePosteriors, letters_of
from asr.model import ModelConfig, SpeechModel
from asr.pauses import framed
from asr.recognizers.registry import BEAM
from asr.scorers import FavouredWords, LanguageModelScorer, Weighted, WordCounter
from asr.tokenizer import EDGE, Tokenizer
from asr.transcript import Transcript, Word, speech_pieces, transcribe_in_pieces
from asr.voice_activity import Activity, VoiceActivity
from core.errors import UserError
from core.fields import bounded, build
from core.model_folder import load_model, load_weights, meta_device, save_model

KIND = "recognizer"
CTC_WEIGHT = 0.3  # of the search
END_SILENCE = 0.15  # seconds
LANGUAGE_MODEL_WEIGHT, WORD_BONUS = 0.7, 1.0
SEARCH_SETTINGS = ("phone_weight", "language_model_weight", "word_bonus", "least_certainty")
FAVOUR = 1.0  # nats for a letter of a favoured word


@dataclass
class SavedConfig(ModelConfig):
    """What config.json holds."""

    ctc_weight: float = bounded(CTC_WEIGHT, 0.0, 1.0)
    confidence: dict[str, float] = field(
        default_factory=dict
    )  # the calibration's numbers, none before it is fitted
    end_silence: float | None = None  # the first releases hear pieces as they are
    language_model_weight: float = bounded(LANGUAGE_MODEL_WEIGHT, 0.0, 10.0)
    word_bonus: float = bounded(WORD_BONUS, -10.0, 10.0)  # nats a word, where there is a language model
    phone_weight: float = bounded(PHONE_WEIGHT, 0.0, 10.0)  # of the phones in the search of a lexicon
    least_certainty: float = bounded(0.0, 0.0, 1.0)  # of the phones of a piece that is speech


class Recognizer:
    """A trained recogniser in use.

    ctc_weight: CTC's part in the search, between 0 (attention alone) and 1 (CTC alone). others: further scorers of the
    search, each with its weight. language_model: scores the search's texts with language_model_weight, and each word
    with word_bonus. lexicon: how words are pronounced; a network that tells phones finds words in it, with the language
    model, the phones having phone_weight; a piece whose phones are less certain than least_certainty has none, since
    voice activity takes some melodies for speech. calibration: of the words' confidences; without one they are the mean
    probability of a word's tokens, more than the share of words that are right. end_silence: seconds of digital silence
    that a piece is given at either end, in place of what it had of it; None for as it is, which makes the text depend
    on it. activity: makes what finds speech in one recording. Several threads may use one at once: nothing is kept
    between calls, and no setting of the process is touched. How many threads torch uses changes no transcript, times
    included; confidences may differ in their sixth digit.
    """

    def __init__(
        self,
        model: SpeechModel,
        tokenizer: Tokenizer,
        ctc_weight: float = CTC_WEIGHT,
        others: Sequence[Weighted] = (),
        calibration: Calibration | None = None,
        end_silence: float | None = END_SILENCE,
        activity: Callable[[], Activity] = VoiceActivity,
        language_model: LanguageModel | None = None,
        language_model_weight: float = LANGUAGE_MODEL_WEIGHT,
        word_bonus: float = WORD_BONUS,
        lexicon: Lexicon | None = None,
        phone_weight: float = PHONE_WEIGHT,
        least_certainty: float = 0.0,
    ):
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.ctc_weight, self.others = ctc_weight, list(others)
        self.calibration, self.end_silence, self.activity = calibration, end_silence, activity
        self.language_model = language_model
        self.language_model_weight, self.word_bonus = language_model_weight, word_bonus
        self.lexicon, self.phone_weight, self.least_certainty = lexicon, phone_weight, least_certainty
        self.favoured: dict[str, float] = {}  # nats of words, in the search of the lexicon
        self._readers: dict[tuple, LexiconReader] = {}
        self.front_end = LogMel(model.config.normalisation).to(self.device)
        self.checksum = ""

    @property
    def device(self) -> torch.device:
        return self.model.to_ctc.weight.device

    @property
    def frame_seconds(self) -> float:
        """What an encoder frame covers."""
        return self.model.encoder.subsampling * HOP / SAMPLE_RATE

    @classmethod
    def load(
        cls, folder: Path | str, device: torch.device | str = "cpu", language_model: Path | str = "auto"
    ) -> "Recognizer":
        """Read a model folder. language_model: a file, "none", or "auto" for that of the folder, where it has one.

        Raises UserError where the folder or file holds something else or is damaged.
        """
        files = load_model(folder, KIND)
        tokenizer = Tokenizer.from_json(files.vocabulary)
        where = f"{folder}/config.json"
        # heed_ctc is its name in the first releases
        saved = build(SavedConfig, files.config, where, renamed={"heed_ctc": "ctc_weight"})
        check_sizes(saved, f"{where}: ")
        config = ModelConfig(**{key.name: getattr(saved, key.name) for key in fields(ModelConfig)})
        with meta_device():
            model = SpeechModel(config, len(tokenizer))
        load_weights(model, files.state, folder)
        names = PHONE_SCORES if saved.phones else SCORES
        calibration = Calibration.from_json(saved.confidence, where, names)
        recognizer = cls(
            model.to(device),
            tokenizer,
            saved.ctc_weight,
            calibration=calibration,
            end_silence=saved.end_silence,
        )
        recognizer.language_model = find_language_model(language_model, Path(folder))
        recognizer.language_model_weight = saved.language_model_weight
        recognizer.word_bonus = saved.word_bonus
        recognizer.phone_weight = saved.phone_weight
        recognizer.least_certainty = saved.least_certainty
        if saved.phones and (Path(folder) / LEXICON).exists():
            recognizer.lexicon = Lexicon.load(Path(folder) / LEXICON)
        recognizer.checksum = files.checksum
        return recognizer

    def save(self, folder: Path | str, card: str, training: dict | None = None, half: bool = True) -> Path:
        """Write the model folder that `load` reads."""
        saved = ("ctc_weight", "end_silence", *SEARCH_SETTINGS)
        config = asdict(self.model.config) | {name: getattr(self, name) for name in saved}
        if self.language_model:
            save_language_model(self.language_model, Path(folder) / LANGUAGE_MODEL)
        if self.lexicon:
            self.lexicon.save(Path(folder) / LEXICON)
        if self.calibration:
            config["confidence"] = self.calibration.as_json()
        return save_model(
            folder, KIND, self.model.state_dict(), config, card, self.tokenizer.as_json(), training, half
        )

    def favouring(
        self,
        words: Sequence[str],
        weight: float = FAVOUR,
        pronounce: Callable[[str], Pronunciation] | None = None,
    ) -> "Recognizer":
        """This recogniser, whose search gives each letter of the words `weight` nats; the networks are shared.

        pronounce: the phones of a word that the lexicon lacks; without it such words are not found where words come
        from one. Raises UserError for a word without letters that the recogniser knows.
        """
        known = [self.tokenizer.normalise(word) for word in words]
        if "" in known:
            word = words[known.index("")]
            raise UserError(f'"{word}" has no letter that the recogniser writes; favour words of letters')
        other = copy(self)
        other.others = [*self.others, Weighted(FavouredWords(known, self.tokenizer.pieces), weight)]
        parts = [part for phrase in known for part in phrase.split()]
        other.favoured = self.favoured | {part: weight * len(part) for part in parts}
        if pronounce and self.lexicon:
            lacking = {part for part in parts if self.lexicon.place(part) is None}
            said = {part: phones for part in lacking if (phones := pronounce(part))}
            if said:  # else it keeps the tree that it has made
                other.lexicon = self.lexicon.adding(said)
        return other

    @property
    def scorers(self) -> list[Weighted]:
        """Of the search, beside CTC and attention."""
        if self.language_model is None:
            return self.others
        model = LanguageModelScorer(self.language_model, self.tokenizer.pieces)
        words = WordCounter(self.tokenizer.pieces)
        return [Weighted(model, self.language_model_weight), Weighted(words, self.word_bonus), *self.others]

    @property
    def partial_beam(self) -> int:
        """See `SpeechRecognizer`: letters are told at once, words of a lexicon by a narrow search."""
        return 2 if self.reader else 0

    @property
    def reader(self) -> LexiconReader | None:
        """What finds words in the lexicon; None without phones, lexicon or language model."""
        if not self.model.config.phones or self.lexicon is None or self.language_model is None:
            return None
        search = {name: getattr(self, name) for name in SEARCH_SETTINGS}
        favoured = tuple(sorted(self.favoured.items()))
        settings = (id(self.lexicon), id(self.language_model), *search.values(), favoured)
        if settings not in self._readers:  # the settings may be changed; those of the last search are kept
            reader = LexiconReader(self.lexicon, self.language_model, **search, favoured=self.favoured)
            self._readers = {settings: reader}
        return self._readers[settings]

    def transcribe(self, sound: Sound, beam: int = BEAM, max_seconds: float = LONGEST) -> Transcript:
        """Hear a recording: a file, bytes, an array at 16 kHz, or (rate, array); see `asr.audio.as_samples`.

        beam: the width of the joint search, or 0 for CTC's best path. Silence at the ends is left out, and what may be
        several sentences is heard in pieces between its pauses (`asr.pauses`). Raises UserError where the sound
        cannot be read.
        """
        return transcribe_in_pieces(self, sound, beam, max_seconds)

    def transcribe_batch(
        self, clips: list[np.ndarray], beam: int = BEAM, batch_seconds: float = 120.0
    ) -> list[str]:
        """The texts of many clips (S,) at 16 kHz, in their order; pieces of similar length share a batch."""
        pieces = [
            (i, samples[first:last])
            for i, samples in enumerate(as_samples(clip) for clip in clips)
            for first, last in self._pieces(samples)
        ]
        texts = [""] * len(pieces)
        order = sorted(range(len(pieces)), key=lambda p: len(pieces[p][1]))
        while order:
            longest = len(pieces[order[-1]][1])
            count = max(int(batch_seconds * SAMPLE_RATE / longest), 1)
            chosen, order = order[-count:], order[:-count]
            memory, ctc_logits, is_pad = self._encode([self._framed(pieces[p][1])[0] for p in chosen])
            for p, text in zip(chosen, self._texts(memory, ctc_logits, is_pad, beam), strict=True):
                texts[p] = text
        whole = [""] * len(clips)
        for (i, _), text in zip(pieces, texts, strict=True):
            whole[i] += f" {text}"
        return [_one_space(text) for text in whole]

    def _pieces(self, samples: np.ndarray) -> list[tuple[int, int]]:
        """First and last sample of what holds speech."""
        return speech_pieces(samples, self.activity())

    def _framed(self, piece: np.ndarray) -> tuple[np.ndarray, int]:
        """What is decoded of a piece (S,), and the sample of the piece at which that begins."""
        return (piece, 0) if self.end_silence is None else framed(piece, self.end_silence)

    @torch.no_grad()
    def _encode(self, clips: list[np.ndarray]) -> tuple[Tensor, Tensor, Tensor]:
        """B clips -> memory (B, T, E), CTC logits (B, T, V), is_pad (B, T)."""
        samples, lengths = (part.to(self.device) for part in pad_samples(clips))
        memory, is_pad = self.model.encoder(*self.front_end(samples, lengths))
        return memory, self.model.to_ctc(memory), is_pad

    @torch.no_grad()
    def _texts(self, memory: Tensor, ctc_logits: Tensor, is_pad: Tensor, beam: int) -> list[str]:
        if beam and (reader := self.reader):
            counts = (~is_pad).sum(dim=1).tolist()
            clips = [row[:count] for row, count in zip(memory, counts, strict=True)]
            return [reader.text(reader.find(self._phones(clip), beam)) for clip in clips]
        return [self.tokenizer.decode(tokens) for tokens in self._search(memory, ctc_logits, is_pad, beam)]

    @torch.no_grad()
    def _phones(self, memory: Tensor) -> PhonePosteriors:
        """memory (T, E) of one clip"""
        head = self.model.to_phones
        assert head is not None
        log_probs = head(memory[None])[0].float().log_softmax(dim=-1)
        return PhonePosteriors(log_probs.cpu().numpy(), head.log_prior.cpu().numpy(), head.frames)

    def _search(self, memory: Tensor, ctc_logits: Tensor, is_pad: Tensor, beam: int) -> list[list[int]]:
        if beam <= 0:
            return greedy_ctc(ctc_logits, is_pad)
        found = joint_search(
            self.model.decoder, memory, ctc_logits, is_pad, beam, self.ctc_weight, self.scorers
        )
        return [hypothesis.tokens for hypothesis in found]

    def transcribe_piece(self, samples: np.ndarray, start: float, beam: int) -> Transcript:
        """Decode samples (S,) at 16 kHz, a piece of a recording that begins at `start` seconds."""
        text, words, scores = self._decode(samples, start, beam)
        if not words:
            return Transcript("")
        names = self.score_names(beam)
        if self.calibration and self.calibration.is_of(names):
            words = [
                replace(word, confidence=float(p))
                for word, p in zip(words, self.calibration(scores), strict=True)
            ]
            sizes = [len(word.text) for word in words]
            return Transcript(text, words, joined([word.confidence for word in words], sizes))
        return Transcript(text, words, float(np.exp(scores[0, names.index("piece")])))

    def words_with_scores(self, sound: Sound, beam: int = BEAM) -> tuple[list[str], np.ndarray]:
        """What `transcribe` hears as N words, and the scores (N, S) that a calibration is fitted on."""
        samples = as_samples(sound)
        found = [self._decode(samples[first:last], 0.0, beam) for first, last in self._pieces(samples)]
        words = [word.text for _, words, _ in found for word in words]
        kept = [scores for _, of_piece, scores in found if of_piece]
        return words, np.concatenate(kept) if kept else np.zeros((0, len(self.score_names(beam))))

    def phone_certainties(self, sound: Sound) -> list[float]:
        """Of every piece that voice activity takes for speech, how sure the network is of its phones: what
        `least_certainty` is compared with."""
        samples = as_samples(sound)
        pieces = [self._framed(samples[first:last])[0] for first, last in self._pieces(samples)]
        return [self._phones(self._encode([piece])[0][0]).certainty for piece in pieces]

    def score_names(self, beam: int = BEAM) -> tuple[str, ...]:
        """What the scores of a word are."""
        return PHONE_SCORES if beam and self.reader else SCORES

    @torch.no_grad()
    def _decode(self, samples: np.ndarray, start: float, beam: int) -> tuple[str, list[Word], np.ndarray]:
        """A piece (S,) that begins at `start` seconds -> text, N words, their scores (N, S).

        Of words that are spelt, times are from CTC's alignment, and the confidence is the mean probability of a word's
        tokens by CTC and attention, weighted as in the search; of those of a lexicon that of its frames' phones.
        """
        sound, offset = self._framed(samples)
        memory, ctc_logits, is_pad = self._encode([sound])
        if beam and (reader := self.reader):
            letters = letters_of(ctc_logits[0].cpu().numpy(), self.tokenizer.pieces)
            heard, scores = reader.words_with_scores(self._phones(memory[0]), beam, letters)
        else:
            heard, scores = self._spelt_words(memory, ctc_logits, is_pad, beam)
        words = []
        seconds, shift = len(samples) / SAMPLE_RATE, offset / SAMPLE_RATE

        def time_of(frame: int) -> float:
            return round(start + min(max(frame * self.frame_seconds + shift, 0.0), seconds), 3)

        for word, row in zip(heard, scores, strict=True):
            confidence = float(np.exp(row[SCORES.index("likelihood")]))
            words.append(Word(word.text, time_of(word.first), time_of(word.last + 1), confidence))
        return " ".join(word.text for word in words), words, scores

    def _spelt_words(
        self, memory: Tensor, ctc_logits: Tensor, is_pad: Tensor, beam: int
    ) -> tuple[list[HeardWord], np.ndarray]:
        """The words that tokens spell, of one piece, and their scores."""
        tokens = self._search(memory, ctc_logits, is_pad, beam)[0]
        spoken = spoken_words([self.tokenizer.pieces[token] for token in tokens])
        if not spoken:
            return [], np.zeros((0, len(SCORES)))
        ctc = ctc_logits[0].float().log_softmax(dim=-1)  # (T, V)
        spans = align(ctc, tokens) or [(0, len(ctc) - 1)] * len(tokens)
        attention = None
        if self.model.decoder is not None:
            prompt = torch.tensor([[EDGE, *tokens]], device=self.device)
            attention = (
                self.model.decoder(prompt, memory, is_pad)[0].float().log_softmax(dim=-1)
            )  # (L + 1, V)
        likelihoods = []
        for position, (token, (first, last)) in enumerate(zip(tokens, spans, strict=True)):
            likelihood = ctc[first : last + 1, token].max().item()
            if attention is not None:
                by_attention = attention[position, token].item()
                likelihood = self.ctc_weight * likelihood + (1 - self.ctc_weight) * by_attention
            likelihoods.append(likelihood)
        attended = None if attention is None else attention.cpu().numpy()
        scores = word_scores(ctc.cpu().numpy(), spans, attended, tokens, spoken, likelihoods)
        words = [HeardWord(word.text, spans[word.tokens[0]][0], spans[word.tokens[-1]][1]) for word in spoken]
        return words, scores


def find_language_model(which: Path | str, folder: Path) -> LanguageModel | None:
    """`which` as in `Recognizer.load`. Raises UserError as `load_language_model` does."""
    if str(which) == "none":
        return None
    if str(which) != "auto":
        return load_language_model(which)
    beside = folder / LANGUAGE_MODEL
    return load_language_model(beside) if beside.exists() else None


def _one_space(text: str) -> str:
    return " ".join(text.split())
