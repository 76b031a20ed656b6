"""Phones of frames: pronunciations, their tree, alignment, and the search in a lexicon with a language model."""

import itertools
from copy import copy

import numpy as np
import pytest
import torch

from asr.alignment import Graph, align_phones, pronunciation_graph
from asr.confidence import PHONE_SCORES, fit_calibration
from asr.features import pad_samples
from asr.language_model import LanguageModel
from asr.lexicon import PHONES, ROOT, SILENCE, Lexicon
from asr.lexicon_search import LexiconSearch, SearchWidth
from asr.lexicon_words import LexiconReader, PhonePosteriors, letters_of
from asr.losses import IGNORED, LossWeights, joint_loss
from asr.model import ModelConfig, SpeechModel
from asr.pauses import framed
from asr.recognizer import Recognizer
from asr.streaming import StreamingRecognizer
from asr.tokenizer import Tokenizer
from asr.word_scores import START, Histories, WordScores
from core.errors import UserError
from tests.test_recognizer import CLIPS, RATE, TEXTS, LoudIsSpeech
from training import language_model as language_model_command
from training import lexicon as command
from training.aligner import SpokenBatch, equal_phones, tell, train_aligner
from training.frame_labels import Alignment, FrameLabels, label_counts

READ = ["he was not there", "the red house was old", "was it he", "there it was"] * 2
BIRDS = [
    "a red bird",
    "a red bird with blue wings",
    "this bird is red",
    "the bird has a red head",
    "blue wings",
] * 3
ENTRIES = """a AH
a EY
bird B ER D
he HH IY
head HH EH D
read R EH D
red R EH D
the DH AH
"""
WIDE = SearchWidth(beam=1e9, word_beam=1e9, most=10**6, most_words=10**6)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return language_model_command.train({"read": [*READ, "read"], "birds": BIRDS}, order=3, prune=0.0)


@pytest.fixture
def lexicon() -> Lexicon:
    return Lexicon.parse(ENTRIES.splitlines(), "here")


# ---- pronunciations ----


def test_a_lexicon_is_written_and_read(tmp_path, lexicon):
    path = tmp_path / "lexicon.txt"
    lexicon.save(path)
    assert path.read_text() == ENTRIES
    again = Lexicon.load(path)
    assert again.words == lexicon.words and again.as_text() == ENTRIES
    assert again.pronunciations("a") == [(PHONES.index("AH"),), (PHONES.index("EY"),)]
    with pytest.raises(KeyError):
        again.pronunciations("reader")
    few = lexicon.among(["red", "bird", "blue"])
    assert few.words == ["bird", "red"] and lexicon.among(lexicon.words) is lexicon


@pytest.mark.parametrize(
    ("line", "said"), [("bird B ER X", "line 2: 'X' is no phone"), ("bird", 'line 2: "bird" has no phones')]
)
def test_a_line_that_is_no_pronunciation_is_named(line, said):
    with pytest.raises(UserError, match=said):
        Lexicon.parse(["a AH", line], "here")
    with pytest.raises(UserError, match="python -m training.lexicon"):
        Lexicon.load("nowhere.txt")


def test_the_tree_spells_every_pronunciation_and_no_other(lexicon):
    tree = lexicon.tree

    def under(node: int, phones: tuple[int, ...]):
        for word in tree.words[tree.first_word[node] : tree.first_word[node + 1]]:
            yield lexicon.words[word], phones
        for child in tree.children[tree.first_child[node] : tree.first_child[node + 1]]:
            assert tree.parents[child] == node < child
            yield from under(child, (*phones, int(tree.phones[child])))

    wanted = {(w, p) for w in lexicon.words for p in lexicon.pronunciations(w)}
    found = list(under(ROOT, ()))
    assert set(found) == wanted and len(found) == len(wanted)
    shared = len({phones[:n] for _, phones in wanted for n in range(1, len(phones) + 1)})
    assert len(tree.phones) == 1 + shared and tree.phones[ROOT] == SILENCE


def test_a_pronunciation_that_a_file_has_twice_counts_once(lexicon):
    twice = Lexicon.parse([*ENTRIES.splitlines()[::-1], "a EY", "a AH"], "here")
    assert twice.words == lexicon.words and len(twice.pronunciations("a")) == 2
    assert all(np.array_equal(a, b) for a, b in zip(twice.tree, lexicon.tree, strict=True))


def test_a_lexicon_without_words_has_a_root():
    for lexicon in (Lexicon({}), Lexicon.parse([], "here")):
        assert not lexicon.words and len(lexicon.tree.phones) == 1 and not len(lexicon.tree.words)


def test_pronunciations_come_from_the_dictionary_else_from_espeak(tmp_path):
    dictionary = tmp_path / "dict"
    dictionary.write_text(
        "bird B ER1 D # of course\nread R EH1 D\nread(2) R IY1 D\nnoise +NOISE+\nfinch F IH1 N CH\n"
    )
    entries = command.read_dictionary(dictionary)
    assert set(entries) == {"bird", "read", "finch"}
    lexicon, read_aloud = command.make_lexicon(
        ["read", "bird's", "finch's", "'bird'", "goldfinch", "'"], entries
    )
    assert lexicon.as_text() == (
        "'bird' B ER D\nbird's B ER D Z\nfinch's F IH N CH AH Z\ngoldfinch G OW L D F IH N CH\n"
        "read R EH D\nread R IY D\n"
    )
    assert read_aloud == 2  # goldfinch, and the apostrophe, which has no sound
    with pytest.raises(UserError, match="has no pronunciations"):
        (tmp_path / "empty").write_text("\n")
        command.read_dictionary(tmp_path / "empty")


def test_the_command_writes_the_words_of_texts(tmp_path, capsys):
    (tmp_path / "dict").write_text("a AH0\nred R EH1 D\nbird B ER1 D\n")
    (tmp_path / "text").write_text("A red bird.\n")
    options = [
        str(tmp_path / "out"),
        "--text",
        str(tmp_path / "text"),
        "--dictionary",
        str(tmp_path / "dict"),
    ]
    assert command.main(options) == 0
    assert (tmp_path / "out").read_text() == "a AH\nbird B ER D\nred R EH D\n"
    assert "3 words, 0 of them" in capsys.readouterr().out
    with pytest.raises(UserError, match="no words to pronounce"):
        command.main([str(tmp_path / "out")])


# ---- alignment ----


def numbers(phones: str) -> tuple[int, ...]:
    return tuple(PHONES.index(phone) for phone in phones.split())


def paths(graph: Graph, frames: int):
    """Every way through a graph, as states."""
    for path in itertools.product(range(len(graph.phones)), repeat=frames):
        steps = all(a in graph.before[b] for a, b in itertools.pairwise(path))
        if steps and graph.first[path[0]] and path[-1] in graph.last:
            yield list(path)


@pytest.mark.parametrize("seed", range(4))
def test_alignment_is_the_best_of_all_paths(seed):
    graph = pronunciation_graph([[numbers("AH"), numbers("EY")], [numbers("B ER")]])
    likelihoods = np.random.default_rng(seed).standard_normal((6, len(PHONES)))
    best = max(paths(graph, 6), key=lambda path: likelihoods[np.arange(6), graph.phones[path]].sum())
    assert align_phones(likelihoods, graph).tolist() == graph.phones[best].tolist()
    assert align_phones(likelihoods[:2], graph) is None  # three phones at least


def test_silence_is_optional_and_words_without_a_pronunciation_are_left_out():
    graph = pronunciation_graph([[], [numbers("B")], [numbers("D")]])
    heard = {tuple(graph.phones[path]) for path in paths(graph, 3)}
    B, D, S = *numbers("B D"), SILENCE
    assert heard == {(B, D, D), (B, B, D), (S, B, D), (B, S, D), (B, D, S)}


def test_phones_share_what_is_loud_of_a_clip_in_equal_parts():
    loudness = np.array([-9.0] * 4 + [0.0] * 12 + [-9.0] * 3)  # 10 ms each
    labels = equal_phones(loudness, [[numbers("B ER"), numbers("B")], [numbers("D")]])
    assert [PHONES[label] for label in labels] == ["SIL"] * 2 + ["B"] * 2 + ["ER"] * 2 + ["D"] * 2 + [
        "SIL"
    ] * 2
    assert (equal_phones(loudness, []) == SILENCE).all()


def test_an_aligner_finds_the_phones_of_drawn_sounds(capsys):
    """Each phone is a band of its own; lengths vary, so that equal parts are wrong."""
    words = [numbers(word) for word in ("B ER D", "AH", "R EH D", "D IY R")]

    def clip(rng: np.random.Generator) -> tuple[torch.Tensor, np.ndarray, list]:
        spoken = [words[i] for i in rng.integers(len(words), size=3)]
        phones = [SILENCE, *(phone for word in spoken for phone in word), SILENCE]
        truth = np.repeat(phones, rng.integers(3, 15, size=len(phones)))
        features = torch.from_numpy(rng.normal(0.0, 0.3, (2 * len(truth), 80))).float()
        for frame, phone in enumerate(truth):
            features[2 * frame : 2 * frame + 2, 2 * phone : 2 * phone + 2] += 3.0 if phone else 0.0
        return features, truth, [[word] for word in spoken]

    def right(labels: np.ndarray, truth: np.ndarray) -> float:
        """The share of labels that are the truth of at most 60 ms away, as far as the aligner hears."""
        near = np.pad(truth, 3, mode="edge")
        return np.mean([label in near[t : t + 7] for t, label in enumerate(labels)])

    def batch(rng: np.random.Generator) -> SpokenBatch:
        features, _, texts = zip(*(clip(rng) for _ in range(4)), strict=True)
        padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
        return SpokenBatch(padded, [len(one) for one in features], texts)

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    aligner = train_aligner((batch(rng) for _ in range(150)), steps=150, equal=20)
    assert "warning" not in capsys.readouterr().out
    aligned, equal = [], []
    for _ in range(5):
        features, truth, text = clip(rng)
        aligned.append(
            right(aligner.label(SpokenBatch(features[None], [len(features)], [text]))[0].numpy(), truth)
        )
        equal.append(right(equal_phones(features.mean(dim=1).numpy(), text), truth))
    assert np.mean(aligned) > 0.95 > 0.9 > np.mean(equal)
    assert (
        aligner.label(SpokenBatch(features[None, :8], [8], [text])).eq(IGNORED).all()
    )  # too short for the text


def test_an_alignment_that_collapsed_is_told(capsys):
    texts = torch.ones(len(PHONES))
    tell(10 * texts, texts, 1.2)
    assert "1.20 nats a frame, 2 % of the frames silence" in capsys.readouterr().out
    swallowed = texts.clone()
    swallowed[PHONES.index("AH")] = 60.0
    tell(swallowed, texts, 1.2)
    told = capsys.readouterr().out
    assert (
        "of speech AH has 61 %, of the texts 3 %" in told and "warning: 59 % of the labels of speech" in told
    )


# ---- the search ----


def test_words_scored_at_once_have_the_language_models_probabilities(model, monkeypatch):
    monkeypatch.setattr(model, "_spelling", lambda letters: 0.0)  # which known words do without here
    places = {word: place for place, word in enumerate(model.words)}
    texts = [text.split() for text in [*READ[:4], *BIRDS[:4], "bird he red the", "head head house"]]
    scores = WordScores(model)
    histories = Histories(scores)
    states, numbers_of = [model.start() for _ in texts], np.full(len(texts), START)
    for position in range(3):
        words = np.array([places[text[position]] for text in texts])
        at_once = histories(numbers_of, words)
        for i, text in enumerate(texts):
            letters, gain = model.extend(states[i], text[position])
            states[i], ended = model.extend(letters, " ")
            assert at_once[i] == pytest.approx(gain + ended)
        numbers_of = histories.extend(numbers_of, words)
        ends = histories.end(numbers_of)
        assert ends == pytest.approx([model.end(state) for state in states])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_the_search_finds_the_best_of_all_texts(model, lexicon, seed, weight):
    """A lexicon of few words, all texts of up to two, each at its best alignment."""
    lexicon = lexicon.among(["a", "red", "read", "bird"])
    rng = np.random.default_rng(seed)
    likelihoods, gains = rng.standard_normal((7, len(PHONES))) * 2, rng.standard_normal(4)
    places = np.searchsorted(model.words, lexicon.words)
    search = LexiconSearch(lexicon, places, WordScores(model), weight, gains)
    found = search.hear(likelihoods, WIDE).best

    def score(words: tuple[int, ...]) -> float:
        graph = pronunciation_graph([lexicon.pronunciations(lexicon.words[word]) for word in words])
        labels = align_phones(likelihoods, graph)
        if labels is None:
            return -np.inf
        histories, history, total = Histories(search.scores), np.array([START]), 0.0
        for word in words:
            total += weight * float(histories(history, places[[word]])[0]) + gains[word]
            history = histories.extend(history, places[[word]])
        total += weight * float(histories.end(history)[0]) if words else 0.0
        return total + float(likelihoods[np.arange(7), labels].sum())

    texts = [words for size in range(4) for words in itertools.product(range(4), repeat=size)]
    best = max(texts, key=score)
    assert tuple(one.word for one in found.words) == best
    assert found.score == pytest.approx(score(best))


def heard(lexicon: Lexicon, model: LanguageModel, spoken: str, width: SearchWidth | None = None):
    """What is found where the phones `spoken` last three frames each."""
    likelihoods = np.full((3 * len(spoken.split()), len(PHONES)), -6.0)
    likelihoods[np.arange(len(likelihoods)), np.repeat(numbers(spoken), 3)] = 0.0
    places = np.searchsorted(model.words, lexicon.words)
    return LexiconSearch(lexicon, places, WordScores(model)).hear(likelihoods, width).best


def test_words_have_their_frames_and_the_language_model_chooses_between_those_that_sound_alike(
    model, lexicon
):
    found = heard(lexicon, model, "SIL AH R EH D B ER D SIL")
    assert [lexicon.words[one.word] for one in found.words] == ["a", "red", "bird"]  # not "read"
    assert [(one.first, one.last) for one in found.words] == [(3, 5), (6, 14), (15, 23)]
    narrow = heard(
        lexicon, model, "SIL AH R EH D B ER D SIL", SearchWidth(beam=4.0, word_beam=4.0, most=3, most_words=2)
    )
    assert narrow.words == found.words
    assert heard(lexicon, model, "SIL SIL").words == []
    # no word sounds like that, and those that are kept are too long
    assert heard(lexicon, model, "B", SearchWidth(beam=11.0, word_beam=9.0)).words == []


def test_ctc_writes_letters_in_frames():
    logits = torch.nn.functional.one_hot(torch.tensor([0, 3, 3, 0, 3, 4, 2, 0]), 5).float()
    assert letters_of(logits.numpy(), ["", "", " ", "a", "b"]) == ["", "a", "", "", "a", "b", " ", ""]


def test_phones_of_which_the_network_is_not_sure_are_no_words(model, lexicon):
    """Eight frames of which a phone is certain, eight in which all are as likely: half as certain in all."""
    clear = np.full((8, len(PHONES)), -1e9, np.float32)
    clear[np.arange(8), [SILENCE, *[PHONES.index("AH")] * 6, SILENCE]] = 0.0
    flat = np.full((8, len(PHONES)), -np.log(len(PHONES)), np.float32)
    prior = np.full(len(PHONES), -np.log(len(PHONES)), np.float32)
    both = PhonePosteriors(np.concatenate([clear, flat]), prior, 2)
    assert PhonePosteriors(flat, prior, 2).certainty == pytest.approx(0.0, abs=1e-6)
    assert PhonePosteriors(clear, prior, 2).certainty == pytest.approx(1.0, abs=1e-6)
    assert both.certainty == pytest.approx(0.5, abs=1e-6)
    letters = [""] * 8
    for least, is_heard in ((0.0, True), (0.49, True), (0.51, False)):
        reader = LexiconReader(lexicon, model, 1.0, least_certainty=least)
        words, scores = reader.words_with_scores(both, 8, letters)
        assert bool(words) == bool(reader.text(reader.find(both, 8))) == is_heard
        assert scores.shape == (len(words), len(PHONE_SCORES))


# ---- a recogniser ----


@pytest.fixture(scope="module")
def hearing(tmp_path_factory, model) -> Recognizer:
    """A tiny recogniser that knows two clips by heart, its phones learned as an aligner puts them."""
    path = tmp_path_factory.mktemp("lexicon") / "lexicon.txt"
    path.write_text(ENTRIES + "blue B L UW\nwings W IH NG Z\n")
    torch.manual_seed(0)
    tokenizer = Tokenizer()
    config = ModelConfig(
        encoder="conformer", width=32, heads=2, encoder_layers=4, half_rate=2, decoder_layers=0, feed_forward=64,
        kernel=7, dropout=0.0, phones=True,
    )  # fmt: skip
    network = SpeechModel(config, len(tokenizer)).train()
    labels_of = FrameLabels(Alignment(str(path), steps=60, equal=20), TEXTS, tokenizer)
    recognizer = Recognizer(
        network, tokenizer, activity=LoudIsSpeech, language_model=model, language_model_weight=1.0, word_bonus=0.0,
        lexicon=labels_of.lexicon,
    )  # fmt: skip
    network.train()
    clips = [framed(clip[: -RATE // 4], 0.15)[0] for clip in CLIPS]
    features, is_pad = recognizer.front_end(*pad_samples(clips))
    tokens = torch.tensor([tokenizer.encode(text) for text in TEXTS])
    lengths = torch.tensor([tokens.shape[1]] * 2)
    labels_of.learn([(features, is_pad, TEXTS)] * 60)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(140):
        outputs = network(features, is_pad, tokens)
        labels = labels_of(features, is_pad, TEXTS, outputs.phone_logits.shape[1])
        network.to_phones.count(label_counts(labels), decay=0.9)
        loss = joint_loss(outputs, tokens, lengths, LossWeights(ctc=0.5, phones=1.0), labels=labels)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    assert loss.ctc < 0.1 and loss.phones < 0.3
    network.eval()
    return recognizer


def test_a_recogniser_with_phones_finds_words_in_its_lexicon(hearing):
    for clip, text in zip(CLIPS, TEXTS, strict=True):
        found = hearing.transcribe(clip)
        assert found.text == text and [word.text for word in found.words] == text.split()
        times = [time for word in found.words for time in (word.start, word.end)]
        assert times == sorted(times) and 0.3 < times[0] < 0.8 and times[-1] <= found.seconds
        assert all(0.3 < word.confidence <= 1 for word in found.words) and 0.3 < found.confidence <= 1
        words, scores = hearing.words_with_scores(clip)
        assert words == text.split() and scores.shape == (len(words), len(PHONE_SCORES))
        assert scores[:, PHONE_SCORES.index("spelling")] == pytest.approx(1.0)  # CTC writes the same
        assert (scores[:, PHONE_SCORES.index("worst")] <= scores[:, 0]).all()
        assert hearing.transcribe(clip, beam=0).text == text  # as CTC spells it
    silence = np.zeros(RATE, np.float32)
    clips = [CLIPS[1], silence, CLIPS[0], np.append(CLIPS[0], np.zeros(10 * RATE, np.float32))]
    assert hearing.transcribe_batch(clips) == [TEXTS[1], "", TEXTS[0], TEXTS[0]]


def test_a_piece_below_the_least_certainty_has_no_words(hearing):
    hearing = copy(hearing)
    one, other = (hearing.phone_certainties(clip)[0] for clip in CLIPS)
    assert 0 < min(one, other) < max(one, other) <= 1 and hearing.phone_certainties(np.zeros(RATE)) == []
    surer = int(other > one)
    hearing.least_certainty = (one + other) / 2
    expected = ["", ""]
    expected[surer] = TEXTS[surer]
    assert hearing.transcribe_batch(CLIPS) == [hearing.transcribe(clip).text for clip in CLIPS] == expected
    refused = hearing.transcribe(CLIPS[1 - surer])
    assert refused.no_speech and refused.confidence == 0 and "no speech heard" in refused.why_nothing
    assert hearing.words_with_scores(CLIPS[1 - surer])[0] == []


def test_saved_and_loaded_it_finds_the_same(hearing, tmp_path):
    hearing = copy(hearing)
    hearing.phone_weight, hearing.least_certainty = 0.4, 0.01
    folder = hearing.save(tmp_path / "model", "card", half=False)
    again = Recognizer.load(folder)
    again.activity = LoudIsSpeech
    assert again.phone_weight == 0.4 and again.least_certainty == again.reader.least_certainty == 0.01
    assert again.lexicon is not None and again.reader is not None
    assert again.lexicon.as_text() == hearing.lexicon.as_text()
    assert again.transcribe(CLIPS[0]) == hearing.transcribe(CLIPS[0])
    assert Recognizer.load(folder, language_model="none").reader is None  # it spells what it hears
    fitted = fit_calibration(
        np.random.default_rng(0).standard_normal((50, len(PHONE_SCORES))),
        np.arange(50) % 2 == 0,
        names=PHONE_SCORES,
    )
    again.calibration = fitted
    assert (
        Recognizer.load(again.save(tmp_path / "fitted", "card", half=False)).calibration.names == PHONE_SCORES
    )


def test_favoured_words_are_found_where_they_sound_alike(hearing):
    assert "read" in hearing.favouring(["read"], 6.0).transcribe(CLIPS[0]).text.split()
    assert hearing.transcribe(CLIPS[0]).text == TEXTS[0]


def test_a_favoured_word_that_nobody_knows_is_found_as_it_is_pronounced(hearing):
    said = TEXTS[0].split()
    assert "bird" in said
    favouring = hearing.favouring(["byrd"], 6.0, pronounce={"byrd": numbers("B ER D")}.__getitem__)
    assert favouring.transcribe(CLIPS[0]).text.split() == ["byrd" if word == "bird" else word for word in said]
    assert favouring.lexicon.pronunciations("byrd") == [numbers("B ER D")]
    assert favouring.lexicon.among(hearing.lexicon.words).as_text() == hearing.lexicon.as_text()
    assert hearing.favouring(["byrd"], 6.0).transcribe(CLIPS[0]).text == TEXTS[0]
    assert hearing.lexicon.place("byrd") is None


def test_another_language_models_vocabulary_is_refused(hearing):
    other = copy(hearing)
    other.language_model = language_model_command.train({"other": ["nothing of this"]}, order=2, prune=0.0)
    with pytest.raises(UserError, match="no word of the recogniser's lexicon"):
        other.transcribe(CLIPS[0])


def test_transcripts_with_words_that_the_lexicon_lacks_are_refused(tmp_path):
    (tmp_path / "lexicon.txt").write_text(ENTRIES)
    with pytest.raises(UserError, match=r"lacks 2 words of the transcripts \(blue, wings\); make it anew"):
        FrameLabels(Alignment(str(tmp_path / "lexicon.txt")), TEXTS, Tokenizer())
    with pytest.raises(UserError, match="model.phones=true needs pronunciations"):
        FrameLabels(Alignment(), TEXTS, Tokenizer())


def test_a_stream_ends_with_the_text_of_the_recording(hearing):
    listener = StreamingRecognizer(hearing)
    partials = [listener.feed(block) for block in np.array_split(CLIPS[0], 20)]
    assert listener.finish() == hearing.transcribe(CLIPS[0])
    assert any(
        "red" in f"{partial.stable} {partial.tentative}".split() for partial in partials
    )  # by the lexicon
