"""Texts made up of two: which words, never one that is there already, the same for the same seed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.tasks.splicing import joined, splice

LETTERS = [("a b c d",), ("e f g h",), ("i j k l",)]


@pytest.mark.parametrize(
    ("begin", "end", "text"),
    [
        (0.5, 0.5, "a b g h"),
        (0.0, 0.0, "a h"),  # at least one word of each
        (0.99, 0.99, "a b c d e f g h"),
        (0.75, 0.25, "a b c h"),
    ],
)
def test_joined(begin: float, end: float, text: str) -> None:
    assert joined("a b c d", " e  f g h ", begin, end) == text


def test_texts_without_spaces_are_cut_between_characters() -> None:
    assert joined("这部电影很好", "我不喜欢", 0.5, 0.5) == "这部电喜欢"
    assert joined("good", "a b c d", 0.5, 0.5) == "go c d"
    assert joined("a b c d", "good", 0.5, 0.5) == "a b od"


def test_splice() -> None:
    made = splice(LETTERS, 20, seed=0)
    assert len(made) == len(set(made)) == 20
    assert not set(made) & set(LETTERS)
    assert splice(LETTERS, 20, seed=0) == made
    assert splice(LETTERS, 20, seed=1) != made
    assert splice(LETTERS, 7, seed=0) == made[:7]
    # Of every pair of texts, beginnings and ends of every length.
    assert {text[0] for (text,) in made} == set("aei") and {text[-1] for (text,) in made} == set("dhl")
    assert {len(text.split()) for (text,) in splice(LETTERS, 60, seed=0)} == {2, 3, 4, 5, 6, 7, 8}


def test_texts_that_judge_are_not_made() -> None:
    judging = [(f"{first} {second}",) for first in "abcd" for second in "abcd"]
    assert set(splice([("a b",), ("c d",)], 200, seed=0)) & set(judging)
    assert not set(splice([("a b",), ("c d",)], 200, seed=0, apart_from=judging)) & set(judging)


def test_fewer_where_nothing_new_is_left() -> None:
    # The one text makes `a a`, `a b`, `a b b`, `a b a b` and so on: of at most two words each from either side.
    assert set(splice([("a b",)], 50, seed=0)) == {("a a b",), ("a b b",), ("a b a b",)}
    assert splice([("a",)], 5, seed=0, apart_from=[("aa",)]) == []


def test_both_texts_of_a_pair_are_cut_alike() -> None:
    pairs = [("a b c d", "1 2 3 4"), ("e f g h", "5 6 7 8")]
    digits = str.maketrans("abcdefgh", "12345678")
    for first, second in splice(pairs, 30, seed=0):
        assert first.translate(digits) == second


TEXT = st.text(alphabet="ab ", min_size=1).filter(str.strip)


@given(TEXT, TEXT, st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_joined_text_has_pieces_of_both_and_no_others(first: str, second: str, begin: float, end: float) -> None:
    text = joined(first, second, begin, end)
    assert len(text.replace(" ", "")) >= 2
    assert set(text) <= set(first + second) | {" "}
    assert "".join(first.split()).startswith(text.split()[0][:1])
    assert "".join(second.split()).endswith(text[-1])
