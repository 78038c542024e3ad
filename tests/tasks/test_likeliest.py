"""What a teacher finds likeliest, as others read it, and how far they are from it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from compress.tasks.likeliest import LIKELIEST, REMOVED, UNTOLD, divergence, likeliest_told, taught, teacher_figures
from compress.tasks.windows import NOT_JUDGED


def processor(*names: str) -> Any:
    """What is asked of a tokenizer that knows these."""
    known = {name: number for number, name in enumerate(names)}
    return SimpleNamespace(
        get_vocab=lambda: known,
        convert_ids_to_tokens=lambda ids: [names[number] if number < len(names) else None for number in ids],
    )


def test_tokens_are_told_by_the_numbers_of_who_reads() -> None:
    # Two positions; the model has a row that its tokenizer does not know.
    output = torch.tensor([[0.1, 0.6, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1]]).log()
    window = {"document": 0, "input_ids": [1, 0]}
    told = likeliest_told(Dataset.from_dict({"text": ["x"]}), [window], [(0, output)], processor("a", "b", "c"))
    assert output.shape[1] < LIKELIEST
    (same,) = taught(told, [window], processor("a", "b", "c"))
    assert sorted(same["tokens"][:4]) == [0, 1, 2, 3] and same["tokens"][:2] == [1, 2] and same["tokens"][4] == 0
    assert same["log_probabilities"][:2] == pytest.approx([math.log(0.6), math.log(0.2)])
    (fewer,) = taught(told, [window], processor("c", "a"))
    assert fewer["tokens"][:2] == [REMOVED, 0] and fewer["tokens"][4] == 1
    assert fewer["tokens"].count(REMOVED) == 4 and fewer["log_probabilities"] == same["log_probabilities"]
    # Three positions of the reader's, of which the last one's next token is the teacher's, too, at its first position.
    longer = {"document": 0, "input_ids": [0, 0, 1], "teacher": [-1, -1, 0], "teacher_length": 2}
    (moved,) = taught(told, [longer], processor("c", "a"))
    assert moved["tokens"][:8] == [UNTOLD] * 8 and moved["tokens"][8:] == fewer["tokens"][:4]


def test_figures_are_of_the_tokens_that_both_read() -> None:
    row = {
        "labels": {
            "next": [3, 4, 5, NOT_JUDGED],
            "tokens": [3, 1, UNTOLD, UNTOLD, REMOVED, 5, 0, 0],
            "log_probabilities": np.log([0.5, 0.25, 1, 1, 0.75, 0.25, 0.5, 0.5]).tolist(),
        }
    }
    output = np.log(np.array([[0.5, 0.5, 0.25, 0.5], [0.9, 0.9, 0.9, 0.9], [0.5, 0.9, 0.5, 0.9], [0.1] * 4]))
    # The first position is the teacher's own. At the third 1/4 for token 5 is 1/2, and the rest, with what was removed,
    # 1/2 instead of 3/4.
    third = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert teacher_figures([output], [row]) == {"kl_divergence": pytest.approx(third / 2), "same_top_token": 0.5}
    nothing = {"labels": {**row["labels"], "tokens": [UNTOLD] * 8}}
    assert teacher_figures([output], [nothing]) == {}


def test_the_divergence_of_a_few_tokens_and_the_rest_is_no_more_than_that_of_all() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        one, other = (np.log(draw.dirichlet(np.full(12, 0.3), size=3) + 1e-9) for _ in range(2))
        one, other = (values - np.log(np.exp(values).sum(axis=1, keepdims=True)) for values in (one, other))
        whole = (np.exp(one) * (one - other)).sum(axis=1)
        assert (divergence(one[:, :4], other[:, :4]) <= whole + 1e-9).all()
        assert divergence(one, other) == pytest.approx(whole, abs=1e-6)
        assert divergence(one[:, :4], one[:, :4]) == pytest.approx(0, abs=1e-9)
        there = np.array([[True, False, True, True]] * 3)
        fewer = divergence(one[:, [0, 2, 3]], other[:, [0, 2, 3]])
        assert divergence(one[:, :4], other[:, :4], there) == pytest.approx(fewer)
