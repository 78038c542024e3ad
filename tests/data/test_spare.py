"""No text that was learned from judges without a label, and what is left of both sides is of one kind."""

from __future__ import annotations

import pytest
from datasets import Dataset

from compress.core.errors import InputError
from compress.data.spare import apart_from


def encoded(*rows: int, groups: list[int] | None = None) -> Dataset:
    return Dataset.from_dict({"ids": [[row] for row in rows], "group": groups or list(range(len(rows)))})


def test_what_training_has_seen_is_left_out_on_both_sides() -> None:
    found = apart_from(encoded(1, 7, 4, 8, 2), encoded(5, 1, 6), [encoded(1, 2), encoded(4)], ["ids"], None)
    assert found.kept == [1, 3]
    # The second labelled example is in training too.
    assert found.usable == [True, False, True]
    # Numbers from 3 on: the labelled ones have 0 to 2.
    assert found.groups == [3, 4]


def test_equal_texts_belong_together_and_with_the_labelled_one() -> None:
    found = apart_from(encoded(7, 5, 7, 6, 9, 5), encoded(5, 6, 5), [encoded(1)], ["ids"], None)
    assert found.kept == [0, 1, 2, 3, 4, 5]
    assert found.usable == [True] * 3
    # 7 is new, 5 the first labelled example, 6 the second, 9 new.
    assert found.groups == [3, 0, 3, 1, 4, 0]


def test_groups_that_somebody_named_count_instead() -> None:
    labelled = encoded(5, 6, 1, groups=[10, 10, 12])
    found = apart_from(encoded(7, 5, 8, 9), labelled, [encoded(1)], ["ids"], [10, 11, 13, 14], [13])
    # The third text is of a group of the training split.
    assert found.kept == [0, 1, 3]
    assert found.groups == [10, 11, 14]
    assert found.usable == [True, True, False]


def test_a_labelled_example_of_a_group_that_training_has_seen() -> None:
    found = apart_from(encoded(7, 8), encoded(5, 6, groups=[13, 10]), [encoded(1)], ["ids"], [14, 15], [13])
    assert found.usable == [False, True]


def test_nothing_left() -> None:
    with pytest.raises(
        InputError, match=r"^data\.unlabelled_validation holds 2 examples, and every one is in the train"
    ):
        apart_from(encoded(1, 2), encoded(5, 6), [encoded(2), encoded(1)], ["ids"], None)
