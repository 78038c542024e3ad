"""Integers scaled back to what they stand for, and shapes that a plain loader could not build."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from compress.core.errors import InputError
from compress.nn.fusion import fuse_layers
from compress.nn.layers import Int4Embedding, Int8BlockLinear, Int8DynamicLinear, Int8Embedding
from compress.nn.structure import replace_module, structure_of
from compress.runtimes.transformers.plain import make_plain

DENSE = "bert.encoder.layer.0.output.dense"
WORDS = "bert.embeddings.word_embeddings"


def test_by_hand(make_model: Callable) -> None:
    model = make_model(layers=1)
    layer = Int8DynamicLinear(64, 32)
    layer.weight_int8[5, 7], layer.weight_int8[0, 7] = 100, -3
    layer.weight_scale.fill_(0.5)
    layer.weight_scale[7], layer.bias[7] = 0.25, 1.5
    replace_module(model, DENSE, layer)
    assert make_plain(model) == 1
    plain = model.get_submodule(DENSE)
    assert type(plain) is nn.Linear and plain.weight.shape == (32, 64)
    # (in, out) there, (out, in) here; each output has its own scale.
    assert plain.weight[7, 5] == 25 and plain.weight[7, 0] == -0.75 and plain.bias[7] == 1.5
    assert plain.weight.count_nonzero() == 2
    assert structure_of(model).is_plain


@pytest.mark.parametrize("kind", [Int8Embedding, Int4Embedding])
def test_a_table_gives_the_rows_that_it_gave(kind: type, make_model: Callable) -> None:
    model = make_model(layers=1)
    replace_module(model, WORDS, kind.of(model.get_input_embeddings()))
    every = torch.arange(34)
    before = model.get_submodule(WORDS)(every)
    assert make_plain(model) == 1
    assert type(model.get_submodule(WORDS)) is nn.Embedding
    assert torch.equal(model.get_submodule(WORDS)(every), before)


def test_blocks(make_model: Callable) -> None:
    model = make_model(layers=1)
    layer = Int8BlockLinear.of(model.get_submodule(DENSE))
    replace_module(model, DENSE, layer)
    make_plain(model)
    assert torch.equal(model.get_submodule(DENSE).weight, layer.weight)


def test_fused_layers_stay_what_they_are_and_are_refused(make_model: Callable) -> None:
    model = make_model(layers=1)
    fuse_layers(model, first_token=False)
    with pytest.raises(InputError, match=r"encoder\.layer\.0 is a fused_layer"):
        make_plain(model)
