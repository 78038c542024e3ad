"""Layers are shown what they receive, without padding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from compress.methods.training.calibration import show_examples


def test_one_example_at_a_time(make_model: Callable, make_context: Callable) -> None:
    model = make_model().train()
    context = make_context(model)
    layers = {path: model.get_submodule(path) for path in ("classifier", "bert.encoder.layer.0.attention.self.query")}
    seen: dict[str, list[Tensor]] = {path: [] for path in layers}
    shown = show_examples(model, context, layers, 5, lambda path, inputs: seen[path].append(inputs))
    assert shown == 5
    assert [tuple(inputs.shape) for inputs in seen["classifier"]] == [(1, 32)] * 5
    lengths = [inputs.shape[0] for inputs in seen["bert.encoder.layer.0.attention.self.query"]]
    assert len(lengths) == 5
    assert set(lengths) <= set(context.train["length"])
    assert not any(inputs.requires_grad for inputs in seen["classifier"])
    assert not model.training


def test_the_seed_chooses_and_every_example_at_most_once(make_model: Callable, make_context: Callable) -> None:
    model = make_model()

    def first_inputs(seed: int, count: int) -> list[Tensor]:
        seen: list[Tensor] = []
        context = make_context(model, seed=seed)
        assert show_examples(model, context, {"x": model.classifier}, count, lambda _, x: seen.append(x)) == len(seen)
        return seen

    assert torch.equal(torch.cat(first_inputs(1, 4)), torch.cat(first_inputs(1, 4)))
    assert not torch.equal(torch.cat(first_inputs(1, 4)), torch.cat(first_inputs(2, 4)))
    assert len(first_inputs(0, 1000)) == 24


def test_no_hook_is_left_behind(make_model: Callable, make_context: Callable) -> None:
    model = make_model()

    def fail(path: str, inputs: Tensor) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        show_examples(model, make_context(model), {"x": model.classifier}, 2, fail)
    assert not model.classifier._forward_pre_hooks
