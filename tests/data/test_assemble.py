from __future__ import annotations

from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from compress.core.context import Splits
from compress.core.errors import InputError
from compress.data.assemble import assemble


def _assemble(group: str | None = None, **parts: dict[str, list[Any]]) -> Splits:
    read = {name: Dataset.from_dict(part) for name, part in parts.items()}
    return assemble(read, group=group, validation_share=0.5, seed=0)


def test_groups_are_numbered_across_splits_and_overlaps_are_told() -> None:
    splits = _assemble(
        "author",
        train={"text": ["1", "2", "3"], "author": ["b", "a", "b"]},
        validation={"text": ["4", "5"], "author": ["a", "c"]},
        test={"text": ["6", "7"], "author": ["b", "a"]},
    )
    assert splits.train["group"][:] == [0, 1, 0]
    assert splits.validation["group"][:] == [1, 2]
    assert splits.test is not None and splits.test["group"][:] == [0, 1]
    assert splits.notes == (
        "1 groups of data.group occur in both train and validation",
        "2 groups of data.group occur in both train and test",
        "1 groups of data.group occur in both validation and test",
    )


def test_the_column_stays_because_it_may_be_a_text_as_well() -> None:
    splits = _assemble("premise", train={"premise": ["a", "a", "b"], "hypothesis": ["x", "y", "z"]})
    assert {*splits.train["premise"], *splits.validation["premise"]} == {"a", "b"}


def test_a_column_called_group_is_replaced() -> None:
    splits = _assemble("group", train={"group": ["x"], "a": [1]}, validation={"group": ["y"], "a": [2]})
    assert (splits.train["group"][:], splits.validation["group"][:]) == ([0], [1])


def test_a_column_called_group_counts_only_where_it_is_set() -> None:
    splits = _assemble(train={"a": [1], "group": ["x"]}, validation={"a": [2]})
    assert splits.train.column_names == ["a"]
    assert splits.notes[0].startswith("the column 'group' is not used, because data.group is null")


def test_a_missing_group_column_is_named() -> None:
    with pytest.raises(
        InputError, match=r"data\.group is 'auhtor'; data\.test has no such column, but a, author\. .*'author'\?"
    ):
        _assemble("auhtor", train={"auhtor": [1]}, validation={"auhtor": [1]}, test={"a": [1], "author": [2]})


def test_a_missing_group_is_named() -> None:
    with pytest.raises(InputError, match=r"2 examples of data\.validation have no value there, the first is number 2"):
        _assemble("a", train={"a": ["x"]}, validation={"a": ["y", None, None]})


@pytest.mark.parametrize(
    ("group", "words"), [(None, "data.train holds one example"), ("a", "data.train holds one group")]
)
def test_too_little_to_split_is_named(group: str | None, words: str) -> None:
    rows = {"a": ["x"]} if group is None else {"a": ["x", "x"]}
    with pytest.raises(InputError, match=words):
        _assemble(group, train=rows)


def test_where_the_parts_of_a_split_come_from() -> None:
    text = [str(number) for number in range(10)]
    splits = _assemble(train={"text": text}, test={"text": ["x"]})
    assert {name: whole for name, (whole, _) in splits.origins.items()} == {"train": "train", "validation": "train"}
    for name, part in (("train", splits.train), ("validation", splits.validation)):
        assert [text[row] for row in splits.origins[name][1]] == part["text"][:]
    assert _assemble(train={"text": text}, validation={"text": ["x"]}).origins == {}


def test_identical_examples_are_counted() -> None:
    splits = _assemble(
        train={"text": ["a", "b", "c"], "label": ["0", "1", "0"]},
        validation={"text": ["d", "a"], "label": ["0", "1"]},
        test={"label": ["0", "0", "1"], "text": ["a", "a", "x"]},
    )
    # "a" has another label in the validation split; the test split has it twice with the same label as the train split.
    assert splits.notes == (
        "1 examples of test repeat others of it",
        "2 examples of test occur in train too, as the model reads them",
    )


TWICE = {
    "train": {"id": [1, 2, 3], "text": ["a", "b", "c"], "label": ["0", "1", "0"]},
    "validation": {"id": [4, 5, 6], "text": ["d", " a\t", "d"], "label": ["0", "1", "0"]},
    "test": {"id": [7, 8, 9], "text": ["x", "b", "d"], "label": ["0", "1", "1"]},
}


def _as_read(repeated: str, group: str | None = None, **parts: dict[str, list[Any]]) -> Splits:
    read = {name: Dataset.from_dict(part) for name, part in parts.items()}
    settings = {"group": group, "validation_share": 0.5, "seed": 0, "reads": ["text"], "label": "label"}
    return assemble(read, **settings, repeated=repeated)


def test_a_column_that_the_model_does_not_read_hides_nothing() -> None:
    splits = _as_read("keep", **TWICE)
    assert splits.notes == (
        "1 examples of validation repeat others of it",
        "1 examples of validation occur in train too, as the model reads them, 1 of them with another label",
        "1 examples of test occur in train too, as the model reads them",
        "1 examples of test occur in validation too, as the model reads them, 1 of them with another label",
    )


def test_repeated_examples_are_left_out_where_that_is_wanted() -> None:
    splits = _as_read("drop", **TWICE)
    assert splits.test is not None
    # What judges last stays whole; of the rest what is there already goes.
    assert [part["text"][:] for part in (splits.train, splits.validation, splits.test)] == [
        ["c"],
        [" a\t"],
        ["x", "b", "d"],
    ]
    assert splits.notes == (
        "data.repeated is drop: 2 examples of train are left out, because others read the same",
        "data.repeated is drop: 2 examples of validation are left out, because others read the same",
    )
    assert splits.origins == {"train": ("train", [2]), "validation": ("validation", [1])}
    same = {"text": ["a", "b"], "label": ["0", "1"]}
    with pytest.raises(
        InputError, match=r"data\.repeated is drop; every example of data\.train is in another split too"
    ):
        _as_read("drop", train=same, validation=same)


@pytest.mark.parametrize("repeated", ["keep", "drop"])
def test_a_file_is_split_so_that_none_is_on_both_sides(repeated: str) -> None:
    text = [f"{i % 20}" for i in range(100)]
    rows = {"id": list(range(100)), "text": text, "label": ["0", "1"] * 50, "who": [i // 2 for i in range(100)]}
    for group in (None, "who"):
        splits = _as_read(repeated, group, train=rows)
        sides = set(splits.train["text"][:]), set(splits.validation["text"][:])
        assert not sides[0] & sides[1] and sides[0] | sides[1] == set(text)
        assert not any("occur in" in note for note in splits.notes)
        for name, part in (("train", splits.train), ("validation", splits.validation)):
            assert [rows["id"][row] for row in splits.origins[name][1]] == part["id"][:]
    with pytest.raises(InputError, match=r"holds one example, counting those as one that read the same; it takes two"):
        _as_read("keep", train={"text": ["a", "a"], "label": ["0", "1"]})


def test_labels_that_nobody_gave() -> None:
    for empty in (None, "", " "):
        rows = {"text": ["a", "b", "c"], "label": ["0", empty, empty]}
        with pytest.raises(InputError, match=r"2 examples of data\.train have no value there, the first is number 2"):
            _as_read("keep", train=rows)
    splits = _as_read("keep", train={"text": ["a", "b", "c"], "label": ["0", " 1", "1 "]})
    assert splits.notes[0] == "data.label: white space around 2 labels of train is left out"


def test_equal_values_of_other_columns_are_no_identical_examples() -> None:
    assert _assemble(train={"text": ["a"]}, validation={"text": ["b"]}, test={"title": ["a"]}).notes == ()


def test_classes_become_names() -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    train = Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    splits = assemble({"train": train, "validation": train}, group=None, validation_share=0.5, seed=0)
    assert splits.train["label"][:] == ["yes", "no", None]
    assert splits.train.features["label"] == Value("string")
