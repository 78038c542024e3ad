"""A harm done on purpose is found where it was done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from compress.core.context import Context
from compress.methods.training.sensitivity import answers
from compress.nn.family import layers_of
from compress.nn.layers import Int8DynamicLinear
from compress.nn.smoothing import scalable_pairs, scale_between
from compress.nn.structure import replace_module
from compress.nn.surgery import change_activation, keep_heads, keep_layers
from compress.pipeline.blame.restore import Restoration, restore


def restored(
    before: PreTrainedModel, after: PreTrainedModel, teacher: PreTrainedModel, context: Context, **changes: Any
) -> Restoration:
    rows = [context.train[row] for row in range(12)]
    batches = [context.collate([row]) for row in rows]
    settings = {"seconds": 60.0, "config": None, **changes}
    reference = answers(teacher, batches, context.task)
    return restore(before, after, task=context.task, rows=rows, batches=batches, reference=reference, **settings)


def quantized(model: PreTrainedModel, broken: str) -> PreTrainedModel:
    for path in [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]:
        layer = Int8DynamicLinear.of(model.get_submodule(path))  # type: ignore[arg-type]
        if path == broken:
            layer.weight_int8.neg_()
        replace_module(model, path, layer)
    return model


def test_the_broken_layer_is_named_first_and_suffices(make_model: Callable, make_context: Callable) -> None:
    teacher = make_model()
    broken = layers_of(teacher)[2].path_of("ffn_out")
    found = restored(make_model(), quantized(make_model(), broken), teacher, make_context(teacher))
    assert found.examples == 12
    assert found.divergence_before == pytest.approx(0.0, abs=1e-7)
    assert len(found.restored) == 4 * 6 + 2
    assert found.restored[0].part == broken
    assert found.restored[0].recovered > 0.9
    assert found.worst[0] == broken
    assert found.recovered > 0.9
    # An FFN product is 2 of a layer's 8 parts of work; the head's two read one token each.
    assert 0.05 < found.worst_share < 0.9


def test_what_is_put_back_is_worth_its_work(make_model: Callable, make_context: Callable) -> None:
    teacher, before, after = make_model(), make_model(), make_model()
    for model in (teacher, before, after):
        # Answers as sure as a trained model's, so that rounding moves them.
        model.classifier.weight.data *= 100
    found = restored(before, quantized(after, ""), teacher, make_context(teacher))
    assert len(found.worst) >= 1
    assert found.recovered > found.worst_share


def test_a_cut_block_is_named_and_has_no_paths(make_model: Callable, make_context: Callable) -> None:
    teacher, after = make_model(), make_model()
    keep_heads(after, layers_of(after)[1], torch.tensor([3]))
    found = restored(make_model(), after, teacher, make_context(teacher))
    assert [part.part for part in found.restored] == ["attention of layer 1"]
    assert found.restored[0].recovered == pytest.approx(1.0)
    assert found.worst == ()


def test_a_model_no_further_from_the_teacher_is_not_blamed(make_model: Callable, make_context: Callable) -> None:
    teacher = make_model()
    found = restored(make_model(seed=1), make_model(), teacher, make_context(teacher))
    assert found.restored == ()
    assert "no further from the teacher" in found.why_not


def test_another_depth_says_so(make_model: Callable, make_context: Callable) -> None:
    teacher, after = make_model(), make_model()
    keep_layers(after, [0, 1])
    found = restored(make_model(), after, teacher, make_context(teacher))
    assert found == Restoration(why_not="it has 2 layers and the model before it 4, so none stands for another")


def test_what_cancels_out_is_put_back_together(make_model: Callable, make_context: Callable) -> None:
    teacher, before, scaled = make_model(), make_model(), make_model()
    for model in (teacher, before, scaled):
        change_activation(model, "relu")
    pairs, _ = scalable_pairs(scaled)
    for pair in pairs:
        scale_between(scaled, pair, torch.full((len(scaled.get_submodule(pair.consumer).weight[0]),), 64.0))
    broken = next(pair for pair in pairs if pair.consumer == layers_of(scaled)[2].path_of("ffn_out"))
    after = quantized(scaled, broken.consumer)
    together = [{pair.producer, pair.consumer} for pair in pairs]
    found = restored(before, after, teacher, make_context(teacher), together=together)
    assert found.restored[0].part == f"{broken.producer} with {broken.consumer}"
    assert found.restored[0].recovered > 0.9
    # One of a pair alone would be 64 times too large or too small.
    assert min(part.recovered for part in found.restored) > -0.5
    assert len(found.restored) == 4 * 6 + 2 - 8
    assert set(found.worst[:2]) == {broken.producer, broken.consumer}
    assert found.recovered > 0.9
