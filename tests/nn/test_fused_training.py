"""A fused model computes the same while it learns, and gives the hidden states of the layers that it was fused from."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from compress.nn.family import layers_of
from compress.nn.fused_training import fused_layers_learn, whole_layers
from compress.nn.fusion import fuse_embeddings, fuse_layers
from compress.nn.layers import FusedLayer
from compress.nn.surgery import drop_attention


@pytest.mark.parametrize("first_token", [False, True])
def test_logits_hidden_states_and_derivatives(
    first_token: bool, fusable_type: str, make_model: Callable, batch: dict[str, Tensor]
) -> None:
    model = make_model(fusable_type, layers=3)
    if first_token and fusable_type == "dinov2":
        pytest.skip("its head reads the other positions too")
    plain = copy.deepcopy(model)
    fuse_layers(model, first_token=first_token)
    fuse_embeddings(model, types=False)
    with torch.no_grad():
        expected = plain(**batch, output_hidden_states=True)
        before = model(**batch).logits
    with fused_layers_learn(model):
        found = model(**batch, output_hidden_states=True)
        found.logits.square().sum().backward()
    assert torch.equal(found.logits, before)
    assert whole_layers(model) == (2 if first_token else 3)
    lengths = [state.shape[1] for state in expected.hidden_states]
    assert [state.shape[1] for state in found.hidden_states] == [*lengths[:3], 1 if first_token else lengths[3]]
    whole = whole_layers(model) + 1
    for ours, theirs in zip(found.hidden_states[:whole], expected.hidden_states[:whole], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    learned = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert any("query" in name for name in learned)
    # What stands for a hidden patch is read where some are hidden.
    named = (name for name, _ in model.named_parameters() if not name.endswith("mask_token"))
    assert [name for name in named if name not in learned] == []


def test_afterwards_all_is_as_it_was(make_model: Callable, batch: dict[str, Tensor]) -> None:
    model = make_model(layers=2)
    fuse_layers(model, first_token=True)
    with pytest.raises(KeyboardInterrupt), fused_layers_learn(model):
        raise KeyboardInterrupt
    assert {type(layer) for layer in model.bert.encoder.layer} == {FusedLayer}
    assert not model(**batch, output_hidden_states=True).hidden_states


def test_attention_that_was_dropped(make_model: Callable, batch: dict[str, Tensor]) -> None:
    model = make_model(layers=2)
    drop_attention(model, layers_of(model)[0])
    fuse_layers(model, first_token=False)
    with torch.no_grad():
        before = model(**batch).logits
    with fused_layers_learn(model):
        found = model(**batch, output_hidden_states=True)
        found.logits.sum().backward()
    assert torch.equal(found.logits, before) and len(found.hidden_states) == 3


def test_what_is_not_fused_is_left_alone(make_model: Callable, batch: dict[str, Tensor]) -> None:
    model = make_model(layers=2)
    with torch.no_grad(), fused_layers_learn(model):
        assert len(model(**batch, output_hidden_states=True).hidden_states) == 3
    assert whole_layers(model) == 2
