"""Characters and pieces of words as tokens."""

import pytest

from asr.tokenizer import CHARACTERS, SPECIAL, Tokenizer, learn_pieces
from core.errors import UserError

TEXTS = ["The low lower lowest", "newer, wider", "a low bird"]


def test_pieces_are_the_most_frequent_neighbours_first():
    """By hand: " l" 4 times, "lo" and "ow" 4 times; of equals the alphabetically first; then what they make."""
    pieces = learn_pieces(TEXTS, len(CHARACTERS) + 4)
    assert pieces[: len(CHARACTERS)] == list(CHARACTERS)
    assert pieces[len(CHARACTERS) :] == [" l", " lo", " low", "er"]


def test_learning_stops_where_there_is_nothing_left_to_merge():
    assert learn_pieces(["ab ab"], 1000) == [*CHARACTERS, " a", " ab"]


def test_a_text_is_spelt_with_the_pieces_in_the_order_they_were_learned():
    tokenizer = Tokenizer(learn_pieces(TEXTS, len(CHARACTERS) + 4))
    assert [tokenizer.pieces[i] for i in tokenizer.encode("Lower bird!")] == [
        " low", "er", " ", "b", "i", "r", "d",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 4, 1000])
def test_decoding_gives_the_normalised_text_back(size):
    tokenizer = Tokenizer(learn_pieces(TEXTS, len(CHARACTERS) + size))
    for text in [*TEXTS, "", "what was never seen"]:
        assert tokenizer.decode(tokenizer.encode(text)) == tokenizer.normalise(text)
    again = Tokenizer.from_json(tokenizer.as_json())
    assert again.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0]) and len(again) == len(tokenizer)


def test_characters_have_no_space_before_the_first_word():
    assert Tokenizer().encode("a b") == [4, 2, 5]


@pytest.mark.parametrize(
    "symbols",
    [None, {}, [], list("ab"), [*SPECIAL], [*SPECIAL, "a", "a"], [*SPECIAL, "a", 1], [*SPECIAL, "a", ""],
     [*SPECIAL, "a", "ab"], [*SPECIAL, "a", [1]]],
)  # fmt: skip
def test_what_is_no_list_of_pieces_is_refused(symbols):
    with pytest.raises(UserError, match="characters and pieces"):
        Tokenizer.from_json(symbols)
