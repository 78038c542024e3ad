"""Numbers as data write them, and distances between scores, by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from compress.core.errors import InputError
from compress.tasks.scores import scored, shifted, squared_distance, with_score, written_scores


def test_numbers_and_texts_that_are_numbers_are_scores() -> None:
    assert written_scores([1, 2.5, "3", " -1e2 "], "stars", "train") == [1.0, 2.5, 3.0, -100.0]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, r"data\.label=stars: example 2 of data\.train has no score \(None\)"),
        (math.nan, r"has no score \(nan\)"),
        ("  ", r"has no score"),
        ("good", r"example 2 of data\.train has the score 'good', which is no finite number"),
        (math.inf, r"has the score inf, which is no finite number"),
        (True, r"has the score True, which is no finite number"),
        ([1.0], r"has the score \[1\.0\], which is no finite number"),
    ],
)
def test_what_is_no_number_is_named(value: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        written_scores([1, value], "stars", "train")


def test_the_squared_distance_of_those_that_have_a_score() -> None:
    output = torch.tensor([[1.0], [4.0], [9.0]], requires_grad=True)
    # (1 - 3)² / 2² = 1 and (4 - 4)² = 0; the third has none.
    loss = squared_distance(output, torch.tensor([3.0, 4.0, math.nan]), 2.0)
    assert float(loss.detach()) == pytest.approx(0.5)
    loss.backward()
    # 2 (1 - 3) / 2² / 2 rows.
    assert output.grad is not None and output.grad.reshape(-1).tolist() == [-0.5, 0.0, 0.0]
    assert float(squared_distance(output, torch.tensor([math.nan] * 3), 2.0).detach()) == 0.0
    assert float(squared_distance(output, output.detach() + 3, 1.0).detach()) == pytest.approx(9.0)
    assert int(scored({"labels": torch.tensor([3.0, math.nan])})) == 1


def test_a_score_moves_by_a_share_of_the_spread() -> None:
    # The standard deviation of 0 and 2 is 1: a tenth of it is the least that counts.
    before = [np.array([0.0]), np.array([2.0])]
    assert shifted(before, [np.array([0.09]), np.array([2.11])]) == 1
    assert shifted(before, before) == 0


def test_a_configuration_with_one_output(make_model: Any) -> None:
    config = with_score(make_model().config, "stars")
    assert (config.num_labels, config.problem_type, config.id2label) == (1, "regression", {0: "stars"})
