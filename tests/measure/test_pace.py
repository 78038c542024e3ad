"""A few training steps, timed on a model that is left as it was."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from compress.measure.pace import seconds_per_step
from compress.tasks.text_classification import TextClassification


def test_the_model_is_left_as_it_was(make_model: Callable, text_type: str, batch: dict[str, Tensor]) -> None:
    model = make_model(text_type)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert seconds_per_step(model, batch, TextClassification(text="text", label="label", max_length=16), "cpu") > 0
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
