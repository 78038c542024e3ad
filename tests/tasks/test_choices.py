"""Options of a question: which tokens are asked for, which option is chosen, how sure a share is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.tasks.choices import chosen_right, option_rows, share, share_difference
from compress.tasks.windows import NOT_JUDGED

WORDS = ("<end>", "<unk>", "a", "bb", "ccc", "dddd", "<start>")
END, UNKNOWN, A, BB, CCC, DDDD, START = range(len(WORDS))


def tokenizer(*, around: bool = False) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if around:
        special = [("<start>", START), ("<end>", END)]
        backend.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=special)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<end>", pad_token="<end>")


def question(prompt: str, *options: str, answer: int = 0) -> dict[str, Any]:
    """As a source gives it."""
    return {
        "prompt": prompt,
        "continuations": [f" {option}" for option in options],
        "characters": [len(option) for option in options],
        "answer": answer,
    }


def test_only_an_options_own_tokens_are_asked_for() -> None:
    first, second = option_rows([question("a bb", "ccc a", "dddd", answer=1)], tokenizer(), 8)
    assert first["input_ids"] == [A, BB, CCC, A] and second["input_ids"] == [A, BB, DDDD]
    assert first["next"] == [NOT_JUDGED, CCC, A, NOT_JUDGED] and second["next"] == [NOT_JUDGED, DDDD, NOT_JUDGED]
    assert [(row["question"], row["right"], row["characters"]) for row in (first, second)] == [
        (0, False, 5),
        (0, True, 4),
    ]


def test_tokens_around_a_text_are_read_and_not_asked_for() -> None:
    (row, _) = option_rows([question("a", "ccc", "bb")], tokenizer(around=True), 8)
    assert row["input_ids"] == [START, A, CCC, END]
    assert row["next"] == [NOT_JUDGED, CCC, NOT_JUDGED, NOT_JUDGED]


def test_a_token_over_the_seam_is_the_options() -> None:
    joined = {**question("a b", "x", "y"), "continuations": ["b", " a"]}
    (row, _) = option_rows([joined], tokenizer(), 8)
    assert (row["input_ids"], row["next"]) == ([A, BB], [BB, NOT_JUDGED])


def test_what_a_model_cannot_read_is_refused_by_its_row() -> None:
    fits = question("a", "bb", "ccc")
    with pytest.raises(InputError, match=r"data\.choices, row 2, option 1: with the prompt it has 4 tokens, .* most 3"):
        option_rows([fits, question("a bb", "a", "a a")], tokenizer(), 3)


def rows(*options: tuple[int, bool, int]) -> list[dict[str, Any]]:
    return [{"question": number, "right": right, "characters": size} for number, right, size in options]


def test_the_likeliest_per_character_is_chosen() -> None:
    # -6 / 3 against -5 / 2; then by sums the second would be chosen, and per character the first is.
    options = rows((0, True, 3), (0, False, 2), (1, True, 10), (1, False, 1), (2, False, 4), (2, True, 4))
    assert chosen_right([-6.0, -5.0, -10.0, -2.0, -1.0, -1.0], options).tolist() == [1.0, 1.0, 0.0]


@given(st.integers(1, 40), st.data())
@settings(deadline=None)
def test_a_share_lies_in_its_interval_and_that_between_0_and_1(count: int, data: st.DataObject) -> None:
    right = np.array(data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)), dtype=float)
    found = share(right)
    assert 0 <= round(found.low, 12) <= found.value <= round(found.high, 12) <= 1
    # What was the other way round is as far away from 1.
    assert share(1 - right).low == pytest.approx(1 - found.high)


def test_a_share_by_hand() -> None:
    # Wilson's interval solves (p - 0.5)² = z² p (1 - p) / 4: p = (1 ± sqrt(1 - 1 / (1 + z² / 4))) / 2.
    z = 1.6448536269514722
    half = math.sqrt(1 - 1 / (1 + z**2 / 4)) / 2
    found = share(np.array([1.0, 0.0, 1.0, 0.0]))
    assert (found.value, found.low, found.high) == (0.5, pytest.approx(0.5 - half), pytest.approx(0.5 + half))


def test_a_difference_in_pairs_by_hand() -> None:
    # Of eight questions three are lost and one is won; ten pairs are counted, (1.5 - 3.5) / 10.
    right, others = np.array([1, 0, 0, 0, 1, 1, 0, 0.0]), np.array([0, 1, 1, 1, 1, 1, 0, 0.0])
    found = share_difference(right, others)
    half = 1.6448536269514722 * math.sqrt(5 - 10 * 0.04) / 10
    assert (found.value, found.low, found.high) == (-0.25, pytest.approx(-0.2 - half), pytest.approx(-0.2 + half))


@given(st.integers(1, 40), st.data())
@settings(deadline=None)
def test_who_is_exchanged_changes_the_sign(count: int, data: st.DataObject) -> None:
    draw = st.lists(st.integers(0, 1), min_size=count, max_size=count)
    one, other = (np.array(data.draw(draw), dtype=float) for _ in range(2))
    found, back = share_difference(one, other), share_difference(other, one)
    assert found.value == -back.value and found.low == pytest.approx(-back.high)
    assert found.low < found.high
