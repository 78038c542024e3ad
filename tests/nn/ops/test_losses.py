"""Losses from numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import tensor

from compress.nn.ops.losses import (
    common_heads,
    counted,
    hidden_states_loss,
    masked_mean,
    relations_loss,
    size_of_hidden_states,
    softened_logits_loss,
)

# Teacher (3/4, 1/4) against student (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2).
DIVERGENCE = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)


def test_divergence_of_logits() -> None:
    teacher, student = tensor([[math.log(3), 0.0]]), tensor([[0.0, 0.0]])
    assert float(softened_logits_loss(student, teacher, 1.0)) == pytest.approx(DIVERGENCE, rel=1e-5)
    # The other way round it is another number: the teacher is the first argument of the divergence.
    backwards = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert float(softened_logits_loss(teacher, student, 1.0)) == pytest.approx(backwards, rel=1e-5)


def test_temperature_softens_and_is_squared() -> None:
    teacher, student = tensor([[2 * math.log(3), 0.0]]), tensor([[0.0, 0.0]])
    assert float(softened_logits_loss(student, teacher, 2.0)) == pytest.approx(4 * DIVERGENCE, rel=1e-5)


def test_equal_logits_cost_nothing() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert float(softened_logits_loss(logits, logits, 3.0)) == pytest.approx(0, abs=1e-6)
    # A constant added to all logits of a row changes no distribution.
    assert float(softened_logits_loss(logits + 5, logits, 3.0)) == pytest.approx(0, abs=1e-5)


def test_masked_logits_do_not_count() -> None:
    teacher = tensor([[[math.log(3), 0.0], [9.0, -9.0]]])
    student = tensor([[[0.0, 0.0], [-9.0, 9.0]]])
    mask = tensor([[True, False]])
    assert float(softened_logits_loss(student, teacher, 1.0, mask)) == pytest.approx(DIVERGENCE, rel=1e-5)


def test_hidden_states_relative_to_the_teachers_size() -> None:
    # Mean squared difference ((2-1)² + (0-1)²) / 2 = 1, the teacher's mean square (4 + 0) / 2 = 2.
    student, teacher = tensor([[[1.0, 1.0]]]), tensor([[[2.0, 0.0]]])
    assert float(hidden_states_loss(student, teacher)) == 0.5
    assert float(hidden_states_loss(10 * student, 10 * teacher)) == 0.5


def test_masked_hidden_states_count_neither_above_nor_below() -> None:
    student = tensor([[[1.0, 1.0], [1000.0, -3.0]]])
    teacher = tensor([[[2.0, 0.0], [0.0, 777.0]]])
    assert float(hidden_states_loss(student, teacher, tensor([[True, False]]))) == 0.5


def test_half_precision_is_compared_in_float32() -> None:
    student, teacher = torch.full((1, 1, 4), 300.0).half(), torch.zeros(1, 1, 4).half()
    # 300² does not fit float16.
    assert math.isfinite(float(hidden_states_loss(student, teacher)))
    assert hidden_states_loss(student, teacher).dtype == torch.float32


def test_relations_between_positions() -> None:
    # One head of two values. The teacher's positions are orthogonal, each of length sqrt(sqrt(2) ln 3): scaled products
    # ln 3 with itself and 0 with the other, so a relation (3/4, 1/4). The student's are alike: (1/2, 1/2).
    length = math.sqrt(math.sqrt(2) * math.log(3))
    teacher = tensor([[[length, 0.0], [0.0, length]]])
    student = tensor([[[1.0, 1.0], [1.0, 1.0]]])
    assert float(relations_loss(student, teacher, 1)) == pytest.approx(DIVERGENCE, rel=1e-5)
    # The same relation of a student with four values, of which two are 0: it is scaled by the root of its own width.
    longer = length * 2**0.25
    wide = tensor([[[longer, 0.0, 0.0, 0.0], [0.0, longer, 0.0, 0.0]]])
    assert float(relations_loss(wide, teacher, 1)) == pytest.approx(0, abs=1e-6)


def test_relations_are_a_mean_over_heads() -> None:
    # The first head as above (one value wide: ln 3 = length², no scaling), the second without any difference.
    length = math.sqrt(math.log(3))
    teacher = tensor([[[length, 5.0], [0.0, 5.0]]])
    student = tensor([[[0.0, 1.0], [0.0, 1.0]]])
    # Position 1: (3/4, 1/4) against (1/2, 1/2); position 2: (1/2, 1/2) against the same. Two heads.
    assert float(relations_loss(student, teacher, 2)) == pytest.approx(DIVERGENCE / 4, rel=1e-5)


def test_masked_positions_have_no_relations() -> None:
    length = math.sqrt(math.sqrt(2) * math.log(3))
    teacher = tensor([[[length, 0.0], [0.0, length], [900.0, 900.0]]])
    student = tensor([[[1.0, 1.0], [1.0, 1.0], [-7.0, 50.0]]])
    mask = tensor([[True, True, False]])
    assert float(relations_loss(student, teacher, 1, mask)) == pytest.approx(DIVERGENCE, rel=1e-5)
    student.requires_grad_()
    relations_loss(student, teacher, 1, mask).backward()
    assert student.grad is not None and torch.isfinite(student.grad).all() and bool((student.grad[0, 2] == 0).all())


def test_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide a width of 8"):
        relations_loss(torch.zeros(1, 2, 8), torch.zeros(1, 2, 9), 3)


@pytest.mark.parametrize(
    ("wanted", "first", "second", "heads"),
    [(12, 384, 384, 12), (12, 192, 384, 12), (12, 160, 384, 8), (12, 32, 384, 8), (1, 7, 5, 1), (12, 7, 5, 1)],
)
def test_common_heads(wanted: int, first: int, second: int, heads: int) -> None:
    assert common_heads(wanted, first, second) == heads


def test_masked_mean() -> None:
    values = tensor([1.0, 2.0, 6.0])
    assert float(masked_mean(values, None)) == 3.0
    assert float(masked_mean(values, tensor([True, False, True]))) == 3.5
    assert float(masked_mean(values, tensor([False, False, False]))) == 0.0


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    """Each part's loss times its share of what the whole's sum is divided by."""
    draw = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 5, 6, generator=draw) for _ in range(2))
    mask = torch.arange(5) < tensor([[5], [1], [3], [2]])
    halves = [(student[rows], teacher[rows], mask[rows]) for rows in (slice(2), slice(2, 4))]
    whole = float(size_of_hidden_states(teacher, mask))
    parts = sum(float(hidden_states_loss(*half) * size_of_hidden_states(*half[1:])) / whole for half in halves)
    assert parts == pytest.approx(float(hidden_states_loss(student, teacher, mask)), rel=1e-6)
    assert [counted(half[0], half[2]) for half in halves] == [6, 5] and counted(student, mask) == 11
    parts = sum(float(relations_loss(one, other, 2, kept)) * counted(one, kept) / 11 for one, other, kept in halves)
    assert parts == pytest.approx(float(relations_loss(student, teacher, 2, mask)), rel=1e-6)
    # Without a mask everything counts; (4 + 0) / 2 once, (1 + 1) / 2 once.
    assert counted(student) == 20
    assert float(size_of_hidden_states(tensor([[[2.0, 0.0], [1.0, 1.0]]]))) == 3.0
