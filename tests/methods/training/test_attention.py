"""What is left in the dictionary is what the layer computed."""

from __future__ import annotations

from collections.abc import Callable

import torch

from compress.methods.training.attention import attention_vectors, widths
from compress.nn.family import layers_of


def test_queries_keys_and_values_of_one_layer(
    model_type: str, make_model: Callable, batch: dict[str, torch.Tensor]
) -> None:
    model = make_model(model_type)
    with attention_vectors(model, 2) as found:
        states = model(**batch, output_hidden_states=True).hidden_states
    layer = layers_of(model)[1]
    assert list(found) == ["query", "key", "value"]
    for part, vectors in found.items():
        # The second layer reads what the first gave.
        name = part if part in layer.attention_inputs else layer.attention_inputs[0]
        read = states[1] if layer.family.attention.position == "post" else layer.part("attention_norm")(states[1])
        numbers = layer.rows(name)[list(found).index(part) if name != part else 0]
        torch.testing.assert_close(vectors, layer.part(name)(read)[..., numbers])
        assert vectors.requires_grad
        assert not layer.part(name)._forward_hooks
    assert widths(layer) == {part: vectors.shape[-1] for part, vectors in found.items()}


def test_none_wanted(make_model: Callable, batch: dict[str, torch.Tensor]) -> None:
    model = make_model()
    with attention_vectors(model, None) as found:
        model(**batch)
    assert found == {}
