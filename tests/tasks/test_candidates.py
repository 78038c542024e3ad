"""Queries with a passage, or a list of them, in each example."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from compress.core.errors import InputError
from compress.tasks.candidates import candidates_of, gains_of, judged_rows

COLUMNS = ("query", "passage")


def test_lists_are_taken_apart_and_put_together() -> None:
    examples = Dataset.from_dict({"query": ["q", "r"], "passage": [["a", "b"], ["c"]], "label": [[1, 0], [0.5]]})
    found = candidates_of(examples, COLUMNS, None, "train")
    assert (found.queries, found.passages) == (("q", "q", "r"), ("a", "b", "c"))
    assert (found.labels, found.examples, found.groups) == (None, (0, 0, 1), (0, 0, 1))
    assert found.by_example([1.0, 2.0, 3.0], 2) == [[1.0, 2.0], [3.0]]
    assert found.select([2]).passages == ("c",)


def test_a_pair_in_each_example() -> None:
    columns = {"query": ["q", "r", "q"], "passage": ["a", "b", "c"], "label": ["1", "0", "0.5"]}
    found = candidates_of(Dataset.from_dict(columns), COLUMNS, "label", "train")
    assert found.labels == [1.0, 0.0, 0.5] and found.groups == (0, 1, 0)
    grouped = candidates_of(Dataset.from_dict({**columns, "group": [4, 5, 4]}), COLUMNS, "label", "train")
    assert grouped.groups == (4, 5, 4)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"query": ["q", " "]}, r"data\.query=query: example 2 of data\.train has no text \(' '\)"),
        ({"passage": [["a"], []], "label": [[1], []]}, r"data\.passage=passage: example 2 of data\.train has no passa"),
        ({"passage": [["a"], [None]], "label": [[1], [1]]}, r"example 2 of data\.train has no text \(None\)"),
        (
            {"passage": [["a"], ["b", "c"]], "label": [[1], [1]]},
            r"example 2 of data\.train has 2 passages and 1 label",
        ),
        (
            {"label": ["1", "good"]},
            r"data\.label=label: example 2 of data\.train has the score 'good', which is no",
        ),
        ({"passage": [["a", "b"], ["c"]], "label": [["1", "0"], [""]]}, r"example 2 of data\.train has no score"),
    ],
)
def test_what_cannot_be_used_is_named(changes: dict[str, Any], told: str) -> None:
    columns = {"query": ["q", "r"], "passage": ["a", "b"], "label": [1, 0], **changes}
    with pytest.raises(InputError, match=told):
        candidates_of(Dataset.from_dict(columns), COLUMNS, "label", "train")


@pytest.mark.parametrize("missing", ["query", "passage", "label"])
def test_a_missing_column_is_named_as_it_was_typed(missing: str) -> None:
    columns = {"query": ["q"], "passage": ["a"], "label": [1]}
    del columns[missing]
    with pytest.raises(InputError, match=rf"data\.{missing} is '{missing}', a column that data\.test does not have"):
        candidates_of(Dataset.from_dict(columns), COLUMNS, "label", "test")


def test_gains_by_hand() -> None:
    assert gains_of(np.array([2.0, 0.0, -1.0]), teacher=False).tolist() == [2.0, 0.0, 0.0]
    # The mean is 3.
    assert gains_of(np.array([7.0, 3.0, -1.0]), teacher=True).tolist() == [4.0, 0.0, 0.0]


def test_queries_that_can_be_ordered_well_or_badly() -> None:
    queries = ["a", "b", "a", "b", "c"]
    assert judged_rows(queries, [1, 0, 0, 0, 1], teacher=False) == [0, 2]
    assert judged_rows(queries, [1, 5, 1, 2, 9], teacher=True) == [1, 3]
