"""A model's Structure, and a fresh model edited to match it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from compress.core.errors import InputError
from compress.core.structure import Edit, Structure
from compress.nn.family import layers_of
from compress.nn.layers import Int8DynamicLinear, Int8Embedding, Int8StaticLinear, LowRankLinear, MaskedLinear
from compress.nn.structure import apply_structure, kind_of, replace_module, structure_of
from compress.nn.surgery import keep_heads, keep_layers, keep_neurons, tell_config

QUERY = "bert.encoder.layer.1.attention.self.query"


def test_a_plain_model_has_none(model_type: str, make_model: Callable) -> None:
    assert structure_of(make_model(model_type)) == Structure()


def test_replaced_layers(make_model: Callable) -> None:
    model = make_model()
    replace_module(model, QUERY, LowRankLinear(32, 32, 4, bias=True))
    replace_module(model, "classifier", Int8StaticLinear.of(model.classifier))
    replace_module(model, "bert.embeddings.word_embeddings", Int8Embedding.of(model.get_input_embeddings()))
    assert structure_of(model) == Structure(
        {
            QUERY: Edit("low_rank", {"inputs": 32, "outputs": 32, "rank": 4, "bias": 1}),
            "classifier": Edit("int8_static_linear", {"inputs": 32, "outputs": 2}),
            "bert.embeddings.word_embeddings": Edit("int8_embedding", {"rows": 34, "width": 32}),
        }
    )


def test_factors_that_were_replaced_in_turn(make_model: Callable) -> None:
    model = make_model()
    low_rank = LowRankLinear(32, 32, 4, bias=True)
    replace_module(model, QUERY, low_rank)
    replace_module(model, f"{QUERY}.up", Int8DynamicLinear.of(low_rank.up))
    structure = structure_of(model)
    assert structure.edits == {
        QUERY: Edit("low_rank", {"inputs": 32, "outputs": 32, "rank": 4, "bias": 1}),
        f"{QUERY}.up": Edit("int8_dynamic_linear", {"inputs": 4, "outputs": 32}),
    }
    fresh = make_model(seed=1)
    apply_structure(fresh, structure)
    assert kind_of(fresh.get_submodule(QUERY)) == "low_rank"
    assert kind_of(fresh.get_submodule(f"{QUERY}.up")) == "int8_dynamic_linear"
    assert kind_of(fresh.get_submodule(f"{QUERY}.down")) == "linear"


def test_zeros_in_place(make_model: Callable) -> None:
    model = make_model()
    dense = model.get_submodule(QUERY)
    replace_module(model, QUERY, MaskedLinear.of(dense, dense.weight > 0))
    assert structure_of(model).edits == {QUERY: Edit("masked_linear", {"inputs": 32, "outputs": 32, "bias": 1})}


def test_heads(make_model: Callable) -> None:
    model = make_model()
    keep_heads(model, layers_of(model)[1], torch.tensor([0, 2, 3]))
    assert structure_of(model) == Structure(
        {
            QUERY: Edit("linear", {"inputs": 32, "outputs": 24, "bias": 1}),
            "bert.encoder.layer.1.attention.self.key": Edit("linear", {"inputs": 32, "outputs": 24, "bias": 1}),
            "bert.encoder.layer.1.attention.self.value": Edit("linear", {"inputs": 32, "outputs": 24, "bias": 1}),
            "bert.encoder.layer.1.attention.output.dense": Edit("linear", {"inputs": 24, "outputs": 32, "bias": 1}),
        },
        {"bert.encoder.layer.1.attention.self": {"num_attention_heads": 3, "all_head_size": 24}},
    )


def test_what_the_configuration_says_is_no_edit(model_type: str, make_model: Callable) -> None:
    model = make_model(model_type)
    keep_layers(model, [0, 2])
    for layer in layers_of(model):
        keep_neurons(model, layer, torch.arange(32))
    family = layers_of(model)[0].family
    assert len(structure_of(model).edits) == 2 * (len(family.ffn.inputs) + 1)
    tell_config(model)
    assert structure_of(model) == Structure()


def test_a_fresh_model_takes_the_shape(model_type: str, make_model: Callable) -> None:
    model = make_model(model_type)
    if layers_of(model)[0].heads > 1:
        keep_heads(model, layers_of(model)[0], torch.tensor([1]))
    keep_neurons(model, layers_of(model)[2], torch.arange(48))
    layer = layers_of(model)[3]
    last = layer.attention_inputs[-1]
    replace_module(model, layer.path_of(last), MaskedLinear.of(layer.part(last), torch.ones_like(layer.weight(last))))
    fresh = make_model(model_type, seed=1)
    apply_structure(fresh, structure_of(model))
    assert structure_of(fresh) == structure_of(model)
    fresh.load_state_dict(model.state_dict(), strict=True)


@pytest.mark.parametrize(
    ("edits", "attributes", "message"),
    [
        ({"bert.encoder.layer.9.output.dense": ("linear", {})}, {}, "does not fit the model at bert.encoder.layer.9"),
        ({"": ("linear", {"inputs": 1, "outputs": 1, "bias": 0})}, {}, "does not fit"),
        ({"config": ("linear", {"inputs": 1, "outputs": 1, "bias": 0})}, {}, "does not fit"),
        ({"classifier.weight": ("linear", {"inputs": 1, "outputs": 1, "bias": 0})}, {}, "does not fit"),
        ({"classifier": ("linear", {"inputs": 32})}, {}, "does not fit the model at classifier"),
        ({"classifier": ("linear", {"inputs": 10**9, "outputs": 10**9, "bias": 0})}, {}, "does not fit"),
        ({"classifier": ("linear", {"inputs": 10**30, "outputs": 1, "bias": 0})}, {}, "does not fit"),
        ({"classifier": ("low_rank", {"inputs": 32, "outputs": 2, "rank": 10**30, "bias": 1})}, {}, "does not fit"),
        ({"classifier": ("os.system", {})}, {}, "names the kind 'os.system' at classifier; known are fused_embeddings"),
        ({}, {"bert.encoder.layer.0.attention.self": {"training": 1}}, "sets 'training'.*; a bert may set"),
        ({}, {"bert.encoder.layer.9.attention.self": {"all_head_size": 1}}, "which the model does not have"),
    ],
)
def test_a_structure_that_came_from_anywhere(make_model: Callable, edits: Any, attributes: Any, message: str) -> None:
    structure = Structure({path: Edit(*edit) for path, edit in edits.items()}, attributes)
    with pytest.raises(InputError, match=message):
        apply_structure(make_model(), structure)


def test_a_replacement_takes_over_the_mode(make_model: Callable) -> None:
    model = make_model().train()
    replace_module(model, "classifier", nn.Linear(32, 2).eval())
    assert model.classifier.training
    model.eval()
    replace_module(model, "classifier", nn.Linear(32, 2).train())
    assert not model.classifier.training
