"""Cutting equals masking in the original, and keeps what it says."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.nn.block import OUTPUTS
from compress.nn.family import family_of, head_size, hidden_size, layers_of
from compress.nn.layers import MaskedLinear
from compress.nn.structure import replace_module
from compress.nn.surgery import keep_heads, keep_layers, keep_neurons, narrow, tell_config
from compress.nn.vocabulary import reads_tokens, word_embeddings


@torch.no_grad()
def logits(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    return model(**batch).logits


@torch.no_grad()
def zero_columns(model: PreTrainedModel, layer: int, part: str, columns: list[int]) -> None:
    layers_of(model)[layer].part(part).weight[:, columns] = 0


def test_kept_heads_answer_as_the_original_without_the_others(
    heads_type: str, make_model: Callable, batch: dict[str, Tensor]
) -> None:
    model = make_model(heads_type)
    silenced, family = copy.deepcopy(model), family_of(model.config)
    before = logits(model, batch)
    if family.sharing_field is None:
        # Heads 1 and 2 of layer 0 and head 0 of layer 3 leave: columns 8..23 and 0..7 of the output projection.
        gone, kept, left = (range(8, 24), range(8)), ([0, 3], [1, 2, 3]), [2, 4, 4, 3]
    else:
        # Two heads share each key and value: the first two of layer 0 leave with theirs, and the others of layer 3.
        gone, kept, left = (range(16), range(16, 32)), ([1], [0]), [1, 2, 2, 1]
    for number, columns, heads in zip((0, 3), gone, kept, strict=True):
        zero_columns(silenced, number, "attention_output", list(columns))
        keep_heads(model, layers_of(model)[number], torch.tensor(heads))
    assert [layer.heads for layer in layers_of(model)] == left
    # Of layer 0 two query heads are left, and two keys and values, or the one that they share.
    rows = {"heads": 16, "shared": 16 if family.sharing_field is None else 8}
    for name in family.attention.inputs:
        assert layers_of(model)[0].weight(name).shape == (sum(rows[what] for what in OUTPUTS[name]), 32)
    torch.testing.assert_close(logits(model, batch), logits(silenced, batch), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(logits(model, batch), before, rtol=1e-5, atol=1e-6)


def test_kept_neurons_answer_as_the_original_without_the_others(
    model_type: str, make_model: Callable, batch: dict[str, Tensor]
) -> None:
    model = make_model(model_type)
    silenced = copy.deepcopy(model)
    zero_columns(silenced, 2, "ffn_out", [neuron for neuron in range(64) if neuron not in (3, 5, 60)])
    before = logits(model, batch)
    keep_neurons(model, layers_of(model)[2], torch.tensor([3, 5, 60]))
    assert [layer.neurons for layer in layers_of(model)] == [64, 64, 3, 64]
    torch.testing.assert_close(logits(model, batch), logits(silenced, batch), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(logits(model, batch), before, rtol=1e-5, atol=1e-6)


def test_kept_layers(model_type: str, make_model: Callable, batch: dict[str, Tensor]) -> None:
    model = make_model(model_type)
    modules = [layer.module for layer in layers_of(model)]
    states = model(**batch, output_hidden_states=True).hidden_states
    keep_layers(model, [0, 3])
    assert [layer.module for layer in layers_of(model)] == [modules[0], modules[3]]
    assert getattr(model.config, layers_of(model)[0].family.layers_field) == 2
    found = model(**batch, output_hidden_states=True).hidden_states
    assert len(found) == 3
    assert torch.equal(found[1], states[1])
    model.train()(**batch).logits.sum().backward()


def test_cut_twice(make_model: Callable, batch: dict[str, Tensor]) -> None:
    once, twice = make_model(), make_model()
    keep_heads(once, layers_of(once)[0], torch.tensor([3]))
    keep_heads(twice, layers_of(twice)[0], torch.tensor([0, 1, 3]))
    keep_heads(twice, layers_of(twice)[0], torch.tensor([2]))
    assert torch.equal(logits(once, batch), logits(twice, batch))


def test_masked_layers_stay_masked(make_model: Callable) -> None:
    model = make_model()
    path = layers_of(model)[0].path_of("ffn_in")
    dense = model.get_submodule(path)
    mask = dense.weight > 0
    replace_module(model, path, MaskedLinear.of(dense, mask))
    keep_neurons(model, layers_of(model)[0], torch.tensor([1, 7]))
    found = model.get_submodule(path)
    assert isinstance(found, MaskedLinear)
    assert torch.equal(found.weight != 0, mask[[1, 7]])


def test_the_configuration_is_told_of_one_width_only(make_model: Callable) -> None:
    model = make_model(layers=2)
    keep_neurons(model, layers_of(model)[0], torch.arange(16))
    tell_config(model)
    assert model.config.intermediate_size == 64
    keep_neurons(model, layers_of(model)[1], torch.arange(16))
    tell_config(model)
    assert model.config.intermediate_size == 16


def test_narrow_keeps_the_strongest_positions_and_heads(width_type: str, make_model: Callable) -> None:
    model = make_model(width_type, layers=2)
    hidden, heads = list(range(1, 32, 2)), {0: [0, 2], 1: [1, 3]}
    with torch.no_grad():
        for number, layer in enumerate(layers_of(model)):
            layer.part("ffn_out").weight[hidden] *= 10
            for head in heads[number]:
                layer.part("value").weight[head * 8 : head * 8 + 8] *= 10
    found = narrow(model, 16)
    assert (hidden_size(found), head_size(found), [layer.heads for layer in layers_of(found)]) == (16, 8, [2, 2])
    if reads_tokens(model) and word_embeddings(model).embedding_dim == 32:
        assert torch.equal(word_embeddings(found).weight, word_embeddings(model).weight[:, hidden])
    for number, (layer, original) in enumerate(zip(layers_of(found), layers_of(model), strict=True)):
        rows = [head * 8 + i for head in heads[number] for i in range(8)]
        for part in ("query", "key", "value"):
            assert torch.equal(layer.weight(part), original.weight(part)[rows][:, hidden])
            assert torch.equal(layer.part(part).bias, original.part(part).bias[rows])
        assert torch.equal(layer.weight("attention_output"), original.weight("attention_output")[hidden][:, rows])
        assert torch.equal(layer.weight("ffn_in"), original.weight("ffn_in")[:, hidden])
        assert torch.equal(layer.weight("ffn_out"), original.weight("ffn_out")[hidden])


def test_narrow_to_the_same_width_changes_nothing(
    width_type: str, make_model: Callable, batch: dict[str, Tensor]
) -> None:
    model = make_model(width_type)
    assert torch.equal(logits(narrow(model, 32), batch), logits(model, batch))


def test_narrow_leaves_the_original_alone_and_can_learn(
    width_type: str, make_model: Callable, batch: dict[str, Tensor]
) -> None:
    model = make_model(width_type)
    before = logits(model, batch)
    found = narrow(model, 8)
    assert logits(found, batch).shape == (3, 2)
    found.train()(**batch).logits.sum().backward()
    assert layers_of(found)[0].part("query").weight.grad is not None
    assert torch.equal(logits(model, batch), before)


def test_narrow_refuses_an_edited_model(make_model: Callable) -> None:
    model = make_model()
    keep_heads(model, layers_of(model)[0], torch.tensor([0, 1]))
    with pytest.raises(InputError, match=r"bert.encoder.layer.0.attention.self.query was pruned or factorized"):
        narrow(model, 16)


def test_a_layer_keeps_the_window_it_has(make_model: Callable, batch: dict[str, Tensor]) -> None:
    # Of four layers the last two see the last three tokens only.
    model = make_model("qwen2")
    assert model.config.layer_types == ["full_attention"] * 2 + ["sliding_attention"] * 2
    keep_layers(model, [1, 2])
    assert model.config.layer_types == ["full_attention", "sliding_attention"]
    assert [layer.part("attention").layer_idx for layer in layers_of(model)] == [0, 1]
    first, second = (layer.module for layer in layers_of(model))
    assert (first.self_attn.sliding_window, second.self_attn.sliding_window) == (None, 3)
    # What an early token changes of the first layer's outputs reaches all later ones; of the second's, the next two.
    states = model(**batch, output_hidden_states=True).hidden_states
    changed = {**batch, "input_ids": batch["input_ids"].clone()}
    changed["input_ids"][0, 0] += 1
    moved = model(**changed, output_hidden_states=True).hidden_states
    assert (moved[1][0] != states[1][0]).any(dim=1).all()
    keep_layers(model, [1])
    states, moved = (model(**given, output_hidden_states=True).hidden_states[1] for given in (batch, changed))
    assert (moved[0] != states[0]).any(dim=1).tolist() == [True] * 3 + [False] * 6
