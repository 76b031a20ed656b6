"""The language model: its probabilities sum to one, its file, its part in the search; favoured words."""

import itertools
from math import exp, log

import numpy as np
import pytest
import torch

from app import options
from asr.audio import load_audio
from asr.decode import joint_search, prefix_beam_search
from asr.language_model import FILE, LanguageModel, load_language_model, save_language_model
from asr.recognizer import Recognizer
from asr.scorers import FavouredWords, LanguageModelScorer, Weighted, WordCounter
from asr.tokenizer import EDGE, Tokenizer
from benchmarks import decoding
from core.errors import UserError
from pipeline import favoured_words
from training import language_model as command
from training.ngrams import estimate

BIRDS = [
    "a red bird",
    "a red bird with blue wings",
    "this bird is red",
    "a blue bird",
    "the bird has a red head",
] * 3
READ = ["he was not there", "the red house was old", "it is a long way", "was it he", "there it was"] * 2
HISTORIES = ["", "a", "a red", "a red bird with", "the", "the quokka", "he was not there", "quokka quokka"]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return command.train({"read": READ, "birds": BIRDS}, order=3, prune=0.0)


def gain(model: LanguageModel, history: str, text: str) -> float:
    """P(text | history and a space)"""
    state, _ = model.extend(model.start(), f"{history} " if history else "")
    return exp(model.extend(state, text)[1])


@pytest.mark.parametrize("history", HISTORIES)
def test_probabilities_of_what_follows_sum_to_one(model: LanguageModel, history: str):
    """Of the next letter at every point, and of the end: so of all texts."""
    letters = model.alphabet
    begun, _ = model.extend(model.start(), f"{history} " if history else "")
    for start in ("", "r", "re", "red", "qu", "wh"):
        state, _ = model.extend(begun, start)
        total = sum(exp(model.extend(state, letter)[1]) for letter in letters)
        if start:
            total += exp(model.extend(state, " ")[1])  # the word ends, and another follows or the text ends
        else:
            total += exp(model.end(state))
        assert total == pytest.approx(1.0, abs=1e-9), start


def test_the_words_known_and_unknown_share_all_probability(model: LanguageModel):
    for history in HISTORIES:
        known = sum(gain(model, history, f"{word} ") for word in model.words if word)
        assert 0.5 < known < 1.0
        assert 0 < gain(model, history, "quokka ") < 1e-3


def test_interpolated_kneser_ney_by_hand():
    """Two texts, "a b" and "a c": counts of one everywhere, which the discounts of so few texts take a part of."""
    texts = [[1, 2], [1, 3]]
    (_, first, _), (items, second, followers) = estimate(texts, 4, 2, np.full(4, 0.25))
    # bigrams: 0 a twice; a b, a c, b 0, c 0 once. n1 = 4, n2 = 1: Y = 2/3, D1 = 1 - 2 * 2/3 * 1/4 = 2/3
    assert items.tolist() == [1, 2, 3, 0, 0] and followers.tolist() == [1, 2, 1, 1]
    once = 1 - 2 / 3
    twice = 2 - min(max(2 - 3 * 2 / 3 * 1 / 1, 0.1), 2)
    assert second == pytest.approx([twice / 2, once / 2, once / 2, once, once])
    # different words before: two before the end, one before each of a, b and c
    y = 3 / (3 + 2 * 1)
    one, two = 1 - (1 - 2 * y * 1 / 3), 2 - (2 - 3 * y * 1 / 1)
    assert first == pytest.approx(np.array([two, one, one, one]) / 5)


def test_pruning_keeps_a_distribution_and_costs_little():
    full, pruned = (command.train({"birds": BIRDS * 3}, 3, prune) for prune in (0.0, 10.0))
    sizes = [sum(map(len, model.components[0].ngrams.items)) for model in (full, pruned)]
    assert sizes[1] < sizes[0]
    state, _ = pruned.extend(pruned.start(), "a red ")
    total = exp(pruned.end(state)) + sum(exp(pruned.extend(state, letter)[1]) for letter in pruned.alphabet)
    assert total == pytest.approx(1.0, abs=1e-9)
    perplexities = [command.perplexity(model, BIRDS)[0] for model in (full, pruned)]
    assert perplexities[0] < perplexities[1] < 2 * perplexities[0]


def test_a_component_is_chosen_by_the_words(model: LanguageModel):
    state, _ = model.extend(model.start(), "a red bird with ")
    assert state.weights[1] > 0.9 and sum(state.weights) == pytest.approx(1.0)
    state, _ = model.extend(model.start(), "he was not ")
    assert state.weights[0] > 0.9


def test_a_text_scores_alike_however_it_is_divided(model: LanguageModel):
    text = "a red brd with quokka wings"
    expected = model.log_probability(text)
    for parts in (
        list(text),
        [" a", " red", " b", "rd", " wi", "th", " quokka", " wings"],
        ["a red b", "rd with quokka wings"],
    ):
        state, total = model.start(), 0.0
        for part in parts:
            state, more = model.extend(state, part)
            total += more
        assert total + model.end(state) == pytest.approx(expected, abs=1e-9)


def test_saved_and_loaded_scores_the_same(model: LanguageModel, tmp_path):
    model.about = {"texts": "of a test"}
    path = tmp_path / FILE
    save_language_model(model, path)
    loaded = load_language_model(path)
    assert loaded.about == model.about and loaded.words == model.words and len(loaded.checksum) == 64
    total = exp(loaded.end(loaded.start())) + sum(
        exp(loaded.extend(loaded.start(), c)[1]) for c in loaded.alphabet
    )
    assert total == pytest.approx(1.0, abs=1e-9)  # what rounding takes from a context goes to lower orders
    for text in (*BIRDS[:5], *READ[:5], "a quokka", ""):
        assert loaded.log_probability(text) == pytest.approx(model.log_probability(text), abs=0.02)
    save_language_model(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()  # rounded once only


def test_a_damaged_file_is_one_line(model: LanguageModel, tmp_path):
    from safetensors.numpy import load, save

    path = tmp_path / FILE
    with pytest.raises(UserError, match="cannot read"):
        load_language_model(path)
    save_language_model(model, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError):
        load_language_model(path)
    arrays = load(whole)
    mistakes = {
        "header": np.frombuffer(b"[]", np.uint8),
        "words": np.frombuffer(b"\nb\na", np.uint8),
        "read.2.items": arrays["read.2.items"] + 1000,
        "birds.2.followers": arrays["birds.2.followers"][1:],
        "birds.3.probabilities": arrays["birds.3.probabilities"][:-1],
        "spelling.1.probabilities": None,
    }
    for name, value in mistakes.items():
        wrong = {key: array for key, array in arrays.items() if key != name}
        path.write_bytes(save(wrong | ({} if value is None else {name: value})))
        with pytest.raises(UserError, match="no language model, or damaged") as error:
            load_language_model(path)
        assert "\n" not in str(error.value)


# --- in the search ---


def toy(frames: int, seed: int, letters: str = "ab ") -> tuple[np.ndarray, Tokenizer]:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.standard_normal((frames, 2 + len(letters))))
    logits[:, EDGE] = -1e4
    return logits.log_softmax(-1).numpy(), Tokenizer(letters)


def ctc_of_every_text(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product([0, *range(2, log_probs.shape[1])], repeat=len(log_probs)):
        text = tuple(c for c, before in zip(path, (0, *path[:-1]), strict=True) if c not in (before, 0))
        score = float(sum(log_probs[t, c] for t, c in enumerate(path)))
        found[text] = np.logaddexp(found.get(text, -np.inf), score)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_wide_search_with_scorers_finds_the_best_of_all_texts(seed: int):
    log_probs, tokenizer = toy(5, seed)
    model = command.train({"ab": ["a b", "ab ab", "b a b", "ba"] * 4}, 2, 0.0)
    scorers = [
        Weighted(LanguageModelScorer(model, tokenizer.pieces), 0.7),
        Weighted(WordCounter(tokenizer.pieces), 0.5),
        Weighted(FavouredWords(["bab"], tokenizer.pieces), 0.4),
    ]
    scores = {}
    for text, ctc in ctc_of_every_text(log_probs).items():
        written = tokenizer.decode(text)
        words = written.split()
        if "  " in written or written.startswith(" "):
            continue  # a space too much, which costs a lot or is nothing
        known = model.log_probability(written) if words else 0.0
        scores[written] = ctc + 0.7 * known + 0.5 * len(words) + 0.4 * 3 * words.count("bab")
    found = {tokenizer.decode(one.tokens): one for one in prefix_beam_search(log_probs, scorers, width=5000)}
    for text, score in scores.items():
        assert found[text].score == pytest.approx(score, abs=1e-6), text
    best = max(scores, key=scores.__getitem__)
    assert (
        max((one for text, one in found.items() if text in scores), key=lambda one: one.score) == found[best]
    )
    narrow = prefix_beam_search(log_probs, scorers, width=40)
    assert next(text for one in narrow if (text := tokenizer.decode(one.tokens)) in scores) == best


def test_what_is_pruned_early_would_not_have_been_kept():
    """A search that asks every text for its scores ends with the same texts."""

    class Asked(LanguageModelScorer):
        most = 1e6  # nothing is left out

    model = command.train({"birds": BIRDS}, 3, 0.0)
    letters = "abdehinrtuw ls"
    for seed in range(3):
        log_probs, tokenizer = toy(25, seed, letters)
        texts = []
        for scorer in (LanguageModelScorer, Asked):
            weighted = Weighted(scorer(model, tokenizer.pieces), 0.6)
            texts.append(prefix_beam_search(log_probs, [weighted], width=6))
        assert texts[0] == texts[1]


def test_a_language_model_adds_no_words_to_silence(model: LanguageModel):
    log_probs, tokenizer = toy(40, 0, " 'abcdefghijklmnopqrstuvwxyz")
    log_probs[:, 0] = log_probs.max() + 0.1
    scorers = [
        Weighted(LanguageModelScorer(model, tokenizer.pieces), 5.0),
        Weighted(WordCounter(tokenizer.pieces), 9.0),
        Weighted(FavouredWords(["a"], tokenizer.pieces), 9.0),
    ]
    assert [one.tokens for one in prefix_beam_search(log_probs, scorers, width=8)] == [[]]


def test_favoured_words_are_raised_while_they_may_be_meant():
    tokenizer = Tokenizer()
    scorer = FavouredWords(["pico", "pi", "red wings"], tokenizer.pieces)

    def score(text: str, end: bool = True) -> float:
        state, total = scorer.start(), 0.0
        for token in tokenizer.encode(text):
            state, more = scorer.extend(state, token)
            total += more
        return total + (scorer.end(state) if end else 0.0)

    for text, expected in {"pico": 4, "a pico": 4, "pi": 2, "pic": 0, "picos": 0, "epico": 0, "red": 3,
                           "red wings": 8, "wings red pico": 12, "pic pico": 4}.items():  # fmt: skip
        assert score(text) == expected, text
    assert score("pic", end=False) == 3
    pieces = [" pi", "co", "cos", " ", "p"]
    with_pieces = FavouredWords(["pico"], ["", "", *pieces])
    state, gained = with_pieces.extend(with_pieces.start(), 2)
    assert gained == 2 and with_pieces.extend(state, 3)[1] == 2 and with_pieces.extend(state, 4)[1] == -2
    assert with_pieces.most >= 3


def test_word_counter_counts_words_of_letters_and_of_pieces():
    for pieces, text, count in (([*"ab "], "a ba  b", 3), ([" a", "b", " "], [" a", "b", " a", " ", "b"], 3)):
        scorer = WordCounter(["", "", *pieces])
        state, total = scorer.start(), 0.0
        for piece in text:
            state, more = scorer.extend(state, pieces.index(piece) + 2)
            total += more
        assert total == count


def test_a_clip_decodes_alike_alone_and_in_a_batch_with_scorers(model: LanguageModel):
    from tests.test_asr_model import features_of, sounds, tiny_model

    network, clips = tiny_model(3), sounds(0.71, 1.30, 0.98)
    tokenizer = Tokenizer()
    scorers = [
        Weighted(LanguageModelScorer(model, tokenizer.pieces), 0.5),
        Weighted(FavouredWords(["red"], tokenizer.pieces), 1.0),
    ]

    def texts(chosen: list, extra: int = 0) -> list[list[int]]:
        memory, is_pad = network.encoder(*features_of(chosen, extra=extra))
        found = joint_search(network.decoder, memory, network.to_ctc(memory), is_pad, 4, 0.3, scorers)
        return [one.tokens for one in found]

    alone = [texts([clip])[0] for clip in clips]
    assert texts(clips) == alone and texts(clips, extra=9000) == alone and any(alone)


# --- the recogniser and the command ---


def test_a_recogniser_finds_the_language_model_of_its_folder(root, model: LanguageModel, tmp_path):
    folder = root / "weights" / "recognizer"
    other = tmp_path / "other.safetensors"
    save_language_model(model, other)
    found = Recognizer.load(folder)
    assert (found.language_model is not None) == (folder / FILE).exists()
    none = Recognizer.load(folder, language_model="none")
    assert none.language_model is None and none.scorers == []
    named = Recognizer.load(folder, language_model=other)
    assert named.language_model is not None and named.language_model.words == model.words
    named.language_model_weight, named.word_bonus = 0.25, 1.5
    again = Recognizer.load(named.save(tmp_path / "saved", "# card\n"))
    assert again.language_model is not None and again.language_model.words == model.words
    assert [weighted.weight for weighted in again.scorers] == [0.25, 1.5]
    with pytest.raises(UserError, match="cannot read"):
        Recognizer.load(folder, language_model=tmp_path / "nowhere.safetensors")


def test_favouring_leaves_the_recogniser_as_it_was(root):
    recognizer = Recognizer.load(root / "weights" / "recognizer", language_model="none")
    other = recognizer.favouring(["Pico", "red-winged"])
    assert len(other.scorers) == 1 and recognizer.scorers == [] and other.model is recognizer.model
    with pytest.raises(UserError, match="no letter"):
        recognizer.favouring(["123"])


def test_the_command_writes_and_measures(tmp_path, capsys):
    (tmp_path / "birds.txt").write_text("\n".join([*BIRDS, "leave me out"]))
    (tmp_path / "secret.txt").write_text("leave me out\n")
    out = tmp_path / "made" / FILE
    words = [
        str(out), "--text", f"birds={tmp_path / 'birds.txt'}", "--leave-out", str(tmp_path / "secret.txt"),
        "--held-out", f"secret={tmp_path / 'secret.txt'}", "--order", "3", "--prune", "0",
    ]  # fmt: skip
    assert command.main(words) == 0
    assert "secret     perplexity" in capsys.readouterr().out
    assert "leave" not in load_language_model(out).words
    for wrong, message in (
        (["--text", "birds"], "expected NAME=SOURCE"),
        (["--text", f"x={tmp_path}/nowhere.txt"], "no file"),
        (["--text", f"x={tmp_path / 'secret.txt'}", "--order", "1"], "expected 2 to 6"),
        (["--text", "x=painted_birds:val"], "it is train or test"),
        (
            ["--text", f"x={tmp_path / 'secret.txt'}", "--leave-out", str(tmp_path / "secret.txt")],
            "hold no sentence",
        ),
    ):
        with pytest.raises(UserError, match=message):
            command.main([str(out), *wrong])


def test_spelling_costs_more_than_knowing(model: LanguageModel):
    assert model.log_probability("a red bird") > model.log_probability("a rde bird") + log(50)


def test_favoured_words_are_named_or_a_painters():
    class Words:
        vocabulary_words = ("red", "wing", "2", "bird")

    class Letters:
        vocabulary_words = None

    class Painter:
        def __init__(self, encoder: object):
            self.encoder = encoder

    assert favoured_words(" pico, red ,", [Painter(Words())]) == ["pico", "red", "wing", "bird"]
    assert favoured_words("", [None]) == []
    with pytest.raises(UserError, match="reads letters"):
        favoured_words("", [Painter(Letters())])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--text", "a red bird", "--favour", "pico"], "--favour needs a sound file"),
        (["--text", "a red bird", "--vocabulary", "painter"], "--vocabulary needs a sound file"),
        (["--text", "a red bird", "--language-model", "none"], "--language-model needs a sound file"),
        (["--speech", "a.wav", "--beam", "0", "--favour", "pico"], "without a search"),
    ],
)
def test_options_of_the_search_need_one(words: list[str], message: str):
    with pytest.raises(UserError, match=message):
        options.check(options.parser().parse(words))


def test_the_benchmark_has_a_row_for_each_way_to_decode(root):
    recognizer = Recognizer.load(root / "weights" / "recognizer")
    clip = load_audio(root / "samples" / "blue_bird.ogg")
    text = "a small blue bird with a white breast and an orange beak"
    model, own = recognizer.language_model, decoding.weights(recognizer)
    table = decoding.rows(recognizer, [clip], [text], 4, [decoding.Weights(0.0, 0.0, 1.0)])
    assert [row["decoding"].split(",")[0] for row in table] == ["greedy", *["beam 4"] * 3]
    assert all(row["real_time_factor"] > 0 for row in table)
    assert table[2]["wer"] == 0.0 and "language model" in table[2]["decoding"]  # as it is released
    assert recognizer.language_model is model and decoding.weights(recognizer) == own
