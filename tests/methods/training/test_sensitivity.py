"""How far exchanged parts move the answers, and what is counted."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from compress.core.context import Context
from compress.methods.training.sensitivity import answers, products_of, shift_of
from compress.nn.exchange import Part
from compress.nn.family import layers_of
from compress.tasks.text_classification import TextClassification


class Vectors(TextClassification):
    """Answers that are vectors."""

    vectors = True


def one_each(context: Context, count: int) -> list[dict[str, torch.Tensor]]:
    return [context.collate([context.train[row]]) for row in range(count)]


def test_a_divergence_by_hand(make_model: Callable, make_context: Callable) -> None:
    model = make_model()
    context = make_context(model)
    batches = one_each(context, 2)
    # A head that answers ln 3 and 0 whatever it sees: 3/4 and 1/4. The reference says 1/2 and 1/2.
    fixed = nn.Linear(32, 2)
    nn.init.zeros_(fixed.weight)
    fixed.bias.data = torch.tensor([math.log(3.0), 0.0])
    part = Part("head", {"classifier": fixed})
    reference = [torch.zeros(1, 2)] * 2
    shift = shift_of(model, [(part,)], batches, reference, context.task)
    by_hand = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert shift.divergence.shape == (1, 2)
    assert shift.mean.tolist() == pytest.approx([by_hand])
    assert shift.logits[0][0].tolist() == [pytest.approx([math.log(3.0), 0.0])]


def test_vectors_are_apart_by_their_angle(make_model: Callable, make_context: Callable) -> None:
    model = make_model()
    context = make_context(model)
    batches = one_each(context, 2)
    fixed = nn.Linear(32, 2)
    nn.init.zeros_(fixed.weight)
    fixed.bias.data = torch.tensor([3.0, 4.0])
    part = Part("head", {"classifier": fixed})
    # Cosines 0.6 and 1 with what is expected, whatever its length.
    reference = [torch.tensor([[2.0, 0.0]]), torch.tensor([[30.0, 40.0]])]
    shift = shift_of(model, [(part,)], batches, reference, Vectors(text="text", label="label", max_length=16))
    assert shift.divergence.tolist() == [[pytest.approx(0.4), pytest.approx(0.0, abs=1e-7)]]


def test_the_model_itself_does_not_move(make_model: Callable, make_context: Callable) -> None:
    model = make_model()
    context = make_context(model)
    batches = one_each(context, 3)
    shift = shift_of(model, [()], batches, answers(model, batches, context.task), context.task)
    assert shift.mean.tolist() == pytest.approx([0.0], abs=1e-7)


def test_no_time_left_still_sees_eight_examples(make_model: Callable, make_context: Callable) -> None:
    model = make_model(layers=1)
    context = make_context(model)
    batches = one_each(context, 12)
    reference = answers(model, batches, context.task)
    assert shift_of(model, [()], batches, reference, context.task, seconds=0).divergence.shape == (1, 8)


def test_multiply_adds_of_the_positions_really_seen(make_model: Callable, make_context: Callable) -> None:
    model = make_model(layers=1)
    context = make_context(model)
    batches = one_each(context, 2)
    positions = sum(batch["input_ids"].numel() for batch in batches)
    work = products_of(model, batches, context.task)
    assert work[layers_of(model)[0].path_of("ffn_in")] == positions * 32 * 64
    # The pooler reads one token of each example.
    assert work["bert.pooler.dense"] == 2 * 32 * 32
