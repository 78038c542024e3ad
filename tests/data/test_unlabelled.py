"""No text that judges is learned from, and none is learned twice."""

from __future__ import annotations

import pytest
from datasets import Dataset

from compress.core.errors import InputError
from compress.data.unlabelled import only_new


def encoded(*rows: list[int]) -> Dataset:
    return Dataset.from_dict({"ids": list(rows), "labels": list(range(len(rows)))})


SPLITS = {
    "train": encoded([1], [2, 3]),
    "validation": encoded([4], [5]),
    "test": encoded([6], [1]),
}


def test_what_is_left_out() -> None:
    given = encoded([7], [2, 3], [4], [6], [7], [2], [1], [8])
    kept, note = only_new(given, SPLITS, ["ids"])
    assert kept == [0, 5, 7]
    # What both train and test hold counts as the test split's.
    assert note == (
        "data.unlabelled: 3 of 8 examples are imitated; 3 are left out because the validation or test split holds "
        "them, 2 because the train split does or they are repeated"
    )


def test_all_inputs_are_compared() -> None:
    splits = {name: Dataset.from_dict({"a": [1], "b": [2]}) for name in ("train", "validation")}
    given = Dataset.from_dict({"a": [1, 1], "b": [2, 3]})
    assert only_new(given, splits, ["a", "b"])[0] == [1]


def test_nothing_left() -> None:
    with pytest.raises(InputError, match=r"data.unlabelled holds 2 examples, and every one is .* Give other text"):
        only_new(encoded([1], [5]), SPLITS, ["ids"])
