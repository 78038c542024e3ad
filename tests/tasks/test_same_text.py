"""Windows of a text, as the teacher cut it, in the tokens of another vocabulary."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.tasks.same_text import as_teacher_cut, reading_told
from compress.tasks.windows import NOT_JUDGED, Passage, documents_of, windows

# In "abcd" the teacher finds b and c first: a, bcd. Without those it is ab, c, d.
MERGES = [("b", "c"), ("bc", "d"), ("a", "b")]
A, B, C, D, AB = range(5)


def tokenizer(*merged: str) -> PreTrainedTokenizerFast:
    """Five tokens for a, b, c, d and ab, and then these."""
    names = ["a", "b", "c", "d", "ab", *merged]
    merges = [pair for pair in MERGES if "".join(pair) in names]
    backend = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=backend)


TEACHER, OTHER = tokenizer("bc", "bcd"), tokenizer()


def cut(passages: list[Passage], max_length: int, longest: int = 99) -> list[dict[str, Any]]:
    """As the other reads what the teacher has cut."""
    theirs, ours = (documents_of(passages, each) for each in (TEACHER, OTHER))
    examples = Dataset.from_dict({"text": [passage.text for passage in passages]})
    told = reading_told(examples, theirs, windows(theirs, max_length), TEACHER)
    assert as_teacher_cut(told, theirs, windows(theirs, max_length), TEACHER, max_length, longest) == windows(
        theirs, max_length
    )
    return as_teacher_cut(told, ours, windows(ours, max_length), OTHER, max_length, longest)


def test_the_teachers_text_and_no_other_is_judged() -> None:
    (row,) = cut([Passage("abcd")], 8)
    # The teacher is asked for bcd after a; ab lies across the end of what it is given.
    assert row["input_ids"] == [A, B, C, D]
    assert row["next"] == [B, C, D, NOT_JUDGED]
    assert (row["counted"], row["bytes"], row["teacher"]) == (1, 3, [-1, -1, -1, -1])


def test_windows_end_where_the_teachers_do() -> None:
    # a, bcd, c | a, bcd, d; and as the other reads it: ab, c, d, c, ab, c, d, d.
    first, second = cut([Passage("abcdcabcdd")], 3)
    assert first["input_ids"] == [A, B, C, D, C] and second["input_ids"] == [A, B, C, D, D]
    assert first["next"] == [B, C, D, C, NOT_JUDGED]
    # After bcd both say c: at the teacher's second position, of three.
    assert (first["counted"], first["teacher"], first["teacher_length"]) == (2, [-1, -1, -1, 1, -1], 3)
    assert (first["bytes"], second["bytes"]) == (4, 4)


def test_only_parts_that_count_are_judged() -> None:
    # a, bcd, a, bcd, of which the second a and what follows it count: ab may lie across what is read before.
    (row,) = cut([Passage("abcdabcd", judged=[(4, 8)])], 8)
    assert row["input_ids"] == [AB, C, D, AB, C, D]
    assert row["next"] == [NOT_JUDGED, NOT_JUDGED, AB, C, D, NOT_JUDGED]
    assert (row["counted"], row["bytes"]) == (2, 4)
    # Where they count from the first bcd on, it may not.
    (row,) = cut([Passage("abcdabcd", judged=[(1, 8)])], 8)
    assert row["input_ids"] == [A, B, C, D, AB, C, D] and (row["counted"], row["bytes"]) == (3, 7)


def test_a_document_that_both_read_alike_stays_as_it_is() -> None:
    alike, other = cut([Passage("abdd"), Passage("abcd")], 8)
    assert alike["input_ids"] == [AB, D, D] and alike["next"] == [D, D, NOT_JUDGED] and "teacher" not in alike
    assert other["document"] == 1


def test_a_window_that_no_longer_fits_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.max_length is 8; .* up to 5 tokens, and this model takes at most 4"):
        cut([Passage("abcdc")], 8, longest=4)


def test_another_text_is_refused() -> None:
    theirs, ours = documents_of([Passage("abcd")], TEACHER), documents_of([Passage("abc")], OTHER)
    told = reading_told(Dataset.from_dict({"text": ["abcd"]}), theirs, windows(theirs, 8), TEACHER)
    with pytest.raises(InputError, match="document 1 is other text for this tokenizer"):
        as_teacher_cut(told, ours, windows(ours, 8), OTHER, 8, 99)
