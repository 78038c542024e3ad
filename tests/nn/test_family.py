"""The tables point at the right modules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import GPT2Config

from compress.core.errors import InputError
from compress.nn.family import (
    PARTS,
    dense_layers,
    family_of,
    head_size,
    hidden_size,
    known_families,
    layers_of,
    part_of_path,
)


def test_shapes_of_every_part(model_type: str, make_model: Callable) -> None:
    model = make_model(model_type)
    assert (hidden_size(model), head_size(model), len(layers_of(model))) == (32, 8, 4)
    for layer in layers_of(model):
        shapes = [tuple(layer.weight(part).shape) for part in PARTS]
        assert shapes == [(32, 32)] * 4 + [(64, 32), (32, 64)]
        assert (layer.heads, layer.neurons) == (4, 64)
        assert all(model.get_submodule(layer.path_of(part)) is layer.part(part) for part in PARTS)


def test_parts_are_used_as_named(model_type: str, make_model: Callable, batch: dict[str, torch.Tensor]) -> None:
    """What a part receives and gives: query, key and value read the layer's input, the FFN's neurons are activated."""
    model = make_model(model_type, layers=1)
    layer, seen = layers_of(model)[0], {}
    for part in PARTS:
        layer.part(part).register_forward_hook(
            lambda module, inputs, output, part=part: seen.update({part: (inputs[0], output)})
        )
    states = model(**batch, output_hidden_states=True).hidden_states
    for part in ("query", "key", "value"):
        assert torch.equal(seen[part][0], states[0])
    query, key, value = (seen[part][1].view(3, 9, 4, 8).transpose(1, 2) for part in ("query", "key", "value"))
    scores = query @ key.transpose(2, 3) / 8**0.5
    scores = scores.masked_fill(batch["attention_mask"][:, None, None] == 0, -torch.inf)
    mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(3, 9, 32)
    torch.testing.assert_close(seen["attention_output"][0], mixed)
    torch.testing.assert_close(seen["ffn_out"][0], nn.functional.gelu(seen["ffn_in"][1]))


def test_norms_receive_what_a_block_adds_and_what_went_past_it(
    model_type: str, make_model: Callable, batch: dict[str, torch.Tensor]
) -> None:
    model = make_model(model_type, layers=1)
    layer, seen = layers_of(model)[0], {}
    for part in ("attention_output", "attention_norm", "ffn_in", "ffn_out", "ffn_norm"):
        layer.part(part).register_forward_hook(
            lambda module, inputs, output, part=part: seen.update({part: (inputs[0], output)})
        )
    states = model(**batch, output_hidden_states=True).hidden_states
    assert torch.equal(seen["attention_norm"][0], seen["attention_output"][1] + states[0])
    assert torch.equal(seen["ffn_norm"][0], seen["ffn_out"][1] + seen["ffn_in"][0])
    assert torch.equal(seen["ffn_norm"][1], states[1])


def test_dense_layers_in_order(model_type: str, make_model: Callable) -> None:
    model = make_model(model_type, layers=2)
    found = list(dense_layers(model))
    assert [path for path, _ in found] == [layer.path_of(part) for layer in layers_of(model) for part in PARTS]
    assert all(model.get_submodule(path) is module for path, module in found)


def test_where_a_parameter_belongs(make_model: Callable) -> None:
    model = make_model("bert")
    parts = {
        "bert.embeddings.word_embeddings.weight": "embeddings",
        "bert.encoder.layer.0.attention.self.query.weight": "attention",
        "bert.encoder.layer.0.attention.output.dense.bias": "attention",
        "bert.encoder.layer.3.intermediate.dense.weight": "ffn",
        "bert.encoder.layer.3.output.dense.weight": "ffn",
        "bert.pooler.dense.weight": "other",
        "classifier.weight": "other",
    }
    assert {path: part_of_path(model, path) for path in parts} == parts
    assert set(parts) <= set(model.state_dict())


def test_every_parameter_belongs_somewhere(model_type: str, make_model: Callable) -> None:
    model = make_model(model_type)
    found = {part_of_path(model, path) for path in model.state_dict()}
    assert found == {"embeddings", "attention", "ffn", "other"}


def test_a_family_without_a_table() -> None:
    with pytest.raises(InputError, match=r"type 'gpt2'; supported are bert, distilbert"):
        family_of(GPT2Config())
    assert set(known_families()) == {"bert", "distilbert", "roberta", "xlm-roberta"}
