"""The tables point at the right modules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import GPT2Config

from compress.core.errors import InputError
from compress.nn.block import OUTPUTS
from compress.nn.family import (
    Layer,
    dense_layers,
    family_of,
    family_of_type,
    head_size,
    hidden_size,
    known_families,
    layers_of,
    part_of_path,
)


def test_shapes_of_every_part(model_type: str, make_model: Callable) -> None:
    model = make_model(model_type)
    family = family_of(model.config)
    assert (hidden_size(model), head_size(model), len(layers_of(model))) == (32, 8, 4)
    # Of four heads, two share each key and value; where nothing is shared, each is on its own.
    shared, units = (16, 2) if family.sharing_field is not None else (32, 4)
    units = 1 if family.attention.fixed_heads is not None else units
    rows = {"heads": 32, "shared": shared, "neurons": 64}
    for layer in layers_of(model):
        assert (layer.heads, layer.neurons) == (units, 64)
        for part in (*layer.attention_inputs, *layer.ffn_inputs):
            assert tuple(layer.weight(part).shape) == (sum(rows[what] for what in OUTPUTS[part]), 32)
            assert [end - start for _, start, end in layer.ranges(part)] == [rows[what] for what in OUTPUTS[part]]
        assert tuple(layer.weight("attention_output").shape) == (32, 32)
        assert tuple(layer.weight("ffn_out").shape) == (32, 64)
        assert all(model.get_submodule(layer.path_of(part)) is layer.part(part) for part in layer.parts)


def test_parts_are_used_as_named(model_type: str, make_model: Callable, batch: dict[str, torch.Tensor]) -> None:
    """What a part receives and gives: query, key and value read the block's input, the FFN's neurons are activated."""
    model = make_model(model_type, layers=1)
    layer, seen = layers_of(model)[0], {}
    for part in (*layer.parts, "attention_norm"):
        layer.part(part).register_forward_hook(
            # The first time: relative positions may go through the same matrices afterwards.
            lambda module, inputs, output, part=part: seen.setdefault(part, (inputs[0], output)) and None
        )
    states = model(**batch, output_hidden_states=True).hidden_states
    block = layer.family.attention
    for part in layer.attention_inputs:
        assert torch.equal(seen[part][0], states[0] if block.position == "post" else seen["attention_norm"][1])
    torch.testing.assert_close(seen["ffn_out"][0], neurons(layer, seen), atol=1e-6, rtol=1e-5)
    if not block.plain:
        return
    length = states[0].shape[1]
    query, key, value = (seen[part][1].view(3, length, 4, 8).transpose(1, 2) for part in ("query", "key", "value"))
    scores = query @ key.transpose(2, 3) / 8**0.5
    if "attention_mask" in batch:
        scores = scores.masked_fill(batch["attention_mask"][:, None, None] == 0, -torch.inf)
    mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(3, length, 32)
    torch.testing.assert_close(seen["attention_output"][0], mixed)


def neurons(layer: Layer, seen: dict) -> torch.Tensor:
    """What the FFN's output projection should receive. Of two products that meet, the first is activated."""
    activation = layer.part("activation")
    if not layer.family.ffn.gated:
        return activation(seen["ffn_in"][1])
    if "ffn_gate" in seen:
        return activation(seen["ffn_gate"][1]) * seen["ffn_in"][1]
    gate, inner = seen["ffn_gate_and_in"][1].chunk(2, dim=-1)
    return activation(gate) * inner


def test_norms_stand_where_the_table_says(
    model_type: str, make_model: Callable, batch: dict[str, torch.Tensor]
) -> None:
    """Post-norm they receive what a block adds and what went past it, pre-norm what goes past. A scale is what a block
    adds besides."""
    model = make_model(model_type, layers=1)
    layer, seen = layers_of(model)[0], {}
    first_ffn = next(iter(layer.family.ffn.inputs))
    for part in ("attention_output", "attention_norm", first_ffn, "ffn_out", "ffn_norm"):
        layer.part(part).register_forward_hook(
            lambda module, inputs, output, part=part: seen.update({part: (inputs[0], output)})
        )
    layer.module.register_forward_hook(lambda module, inputs, output: seen.update({"layer": output}))
    states = model(**batch, output_hidden_states=True).hidden_states
    output = seen["layer"] if isinstance(seen["layer"], torch.Tensor) else seen["layer"][0]
    attention, ffn = (scaled(layer, part, seen[part][1]) for part in ("attention_output", "ffn_out"))
    if layer.family.attention.position == "post":
        assert torch.equal(seen["attention_norm"][0], attention + states[0])
        assert torch.equal(seen["ffn_norm"][0], ffn + seen[first_ffn][0])
        assert torch.equal(seen["ffn_norm"][1], output)
        return
    assert torch.equal(seen["attention_norm"][0], states[0])
    assert torch.equal(seen[first_ffn][0], seen["ffn_norm"][1])
    added = torch.equal(seen["ffn_norm"][0], attention + states[0])
    assert added == (layer.family.attention.position == "pre")
    assert torch.equal(output, ffn + seen["ffn_norm"][0]) == added


def scaled(layer: Layer, part: str, output: torch.Tensor) -> torch.Tensor:
    """What is added of a projection's output."""
    scale = layer.scale(part)
    return output if scale is None else output * scale


def test_dense_layers_in_order(model_type: str, make_model: Callable) -> None:
    model = make_model(model_type, layers=2)
    found = list(dense_layers(model))
    assert [path for path, _ in found] == [layer.path_of(part) for layer in layers_of(model) for part in layer.parts]
    assert all(model.get_submodule(path) is module for path, module in found)
    # No dense layer of a layer has been forgotten.
    inside = [m for layer in layers_of(model) for m in layer.module.modules() if isinstance(m, nn.Linear)]
    more = {
        id(module)
        for layer in layers_of(model)
        for path in layer.family.attention.more
        for module in layer.module.get_submodule(path).modules()
    }
    assert {id(module) for _, module in found} | more == {id(module) for module in inside} | more


def test_every_weight_of_a_layer_is_in_its_table(model_type: str, make_model: Callable) -> None:
    layer = layers_of(make_model(model_type, layers=1))[0]
    attention, ffn = layer.family.attention, layer.family.ffn
    others = [layer.module.get_submodule(path) for block in (attention, ffn) for path in (block.norm, *block.further)]
    named = {id(value) for module in (*map(layer.part, layer.parts), *others) for value in module.parameters()}
    assert named == {id(value) for value in layer.module.parameters()}


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
    with pytest.raises(InputError, match=r"type 'gpt2'; supported are .*bert, .*distilbert"):
        family_of(GPT2Config())
    expected = {"bert", "distilbert", "roberta", "xlm-roberta", "camembert", "electra", "vit", "deit", "dinov2"}
    assert expected | {"llama", "qwen2", "qwen3"} <= set(known_families())


@pytest.mark.parametrize("model_type", ["albert", "convbert", "gpt2", "roberta-prelayernorm"])
def test_a_family_that_the_library_knows_is_no_slip_of_typing(model_type: str) -> None:
    with pytest.raises(InputError, match=rf"model\.path holds a model of type '{model_type}'") as caught:
        family_of_type(model_type)
    assert "Did you mean" not in str(caught.value) and "A new family is one table" in str(caught.value)


def test_a_slip_of_typing_is_offered() -> None:
    with pytest.raises(InputError, match=r"a model of type 'bertt'.*Did you mean 'bert'\?"):
        family_of_type("bertt")
