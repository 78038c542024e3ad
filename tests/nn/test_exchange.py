"""Which parts of one model stand for those of another, and that they come back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from compress.nn.exchange import Part, exchanged, joined, parts_from
from compress.nn.family import layers_of
from compress.nn.fusion import fuse_embeddings, fuse_layers
from compress.nn.layers import Int8DynamicLinear, Int8Embedding, LowRankLinear
from compress.nn.structure import replace_module
from compress.nn.surgery import drop_attention, drop_ffn, keep_heads, keep_layers, keep_neurons
from compress.nn.vocabulary import reads_tokens


def answer(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch).logits


def quantize(model: PreTrainedModel, path: str) -> None:
    module = model.get_submodule(path)
    assert isinstance(module, nn.Linear)
    replace_module(model, path, Int8DynamicLinear.of(module))


def test_single_layers_where_nothing_else_differs(model_type: str, make_model: Callable, batch: dict) -> None:
    before, after = make_model(model_type), make_model(model_type)
    words = [path for path, module in after.named_modules() if module is after.get_input_embeddings()]
    first = layers_of(after)[0].path_of("ffn_out")
    quantize(after, first)
    if not reads_tokens(after):
        words = []
    for path in words:
        replace_module(after, path, Int8Embedding.of(after.get_submodule(path)))
    parts, why_not = parts_from(before, after)
    assert sorted(part.name for part in parts) == sorted([first, *words])
    assert why_not == ""
    changed = answer(after, batch)
    with exchanged(after, parts):
        assert torch.equal(answer(after, batch), answer(before, batch))
    assert torch.equal(answer(after, batch), changed)
    assert isinstance(after.get_submodule(first), Int8DynamicLinear)


def test_a_layer_that_lacks_a_block_is_exchanged_whole(model_type: str, make_model: Callable, batch: dict) -> None:
    before, after = make_model(model_type), make_model(model_type)
    drop_attention(after, layers_of(after)[1])
    drop_ffn(after, layers_of(after)[2])
    parts, _ = parts_from(before, after)
    assert [part.name for part in parts] == ["layer 1", "layer 2"]
    changed = answer(after, batch)
    with exchanged(after, parts):
        assert torch.equal(answer(after, batch), answer(before, batch))
    assert torch.equal(answer(after, batch), changed)


def test_a_factor_of_a_factorized_layer(make_model: Callable) -> None:
    before = make_model()
    path = layers_of(before)[1].path_of("ffn_in")
    module = before.get_submodule(path)
    replace_module(before, path, LowRankLinear.of(torch.randn(64, 8), torch.randn(8, 32), module.bias.detach()))
    after = copy.deepcopy(before)
    down = next(name for name, m in after.get_submodule(path).named_modules() if isinstance(m, nn.Linear))
    quantize(after, f"{path}.{down}")
    assert [part.name for part in parts_from(before, after)[0]] == [f"{path}.{down}"]
    assert [part.name for part in parts_from(make_model(), before)[0]] == [path]


def test_blocks_where_shapes_inside_differ(heads_type: str, make_model: Callable, batch: dict) -> None:
    before, after = make_model(heads_type), make_model(heads_type)
    keep_heads(after, layers_of(after)[1], torch.arange(0, layers_of(after)[1].heads, 2))
    keep_neurons(after, layers_of(after)[3], torch.arange(16))
    parts, _ = parts_from(before, after)
    assert [part.name for part in parts] == ["attention of layer 1", "FFN of layer 3"]
    heads = layers_of(after)[1].heads
    with exchanged(after, parts):
        assert torch.equal(answer(after, batch), answer(before, batch))
    assert layers_of(after)[1].heads == heads == layers_of(before)[1].heads // 2


def test_whole_layers_where_one_is_fused(make_model: Callable, batch: dict) -> None:
    before, after = make_model(), make_model()
    fuse_layers(after, first_token=True)
    fuse_embeddings(after, types=False)
    parts, _ = parts_from(before, after)
    assert [part.name for part in parts] == ["embeddings", *(f"layer {number}" for number in range(4))]
    for part in parts:
        with exchanged(after, [part]):
            assert torch.allclose(answer(after, batch), answer(before, batch), atol=1e-5)


def test_trained_further_every_block_and_the_head(make_model: Callable) -> None:
    after = make_model(layers=2, seed=1)
    # What no other layer could stand for.
    layers_of(after)[0].part("ffn_norm").bias.data += 0.1
    parts, _ = parts_from(make_model(layers=2), after)
    assert [part.name for part in parts] == [
        "embeddings",
        *(f"{block} of layer {number}" for number in range(2) for block in ("attention", "FFN")),
        "head",
    ]


def test_other_depths_have_no_parts(make_model: Callable) -> None:
    after = make_model()
    keep_layers(after, [0, 2])
    parts, why_not = parts_from(make_model(), after)
    assert parts == []
    assert why_not == "it has 2 layers and the model before it 4, so none stands for another"


def test_a_model_has_no_parts_against_itself(make_model: Callable, tmp_path: Path) -> None:
    parts, why_not = parts_from(make_model(), make_model())
    assert parts == []
    assert why_not == "no part of it that differs from the model before fits in its place"


def test_what_was_there_comes_back_after_an_error(make_model: Callable) -> None:
    before, after = make_model(), make_model(seed=1)
    kept = after.classifier
    with pytest.raises(RuntimeError, match="stop"), exchanged(after, parts_from(before, after)[0]):
        raise RuntimeError("stop")
    assert after.classifier is kept


def test_what_belongs_together_is_one_part() -> None:
    first, second, third, fourth = (nn.Linear(1, 1) for _ in range(4))
    parts = [Part("a", {"a": first}), Part("b", {"b": second}), Part("c", {"c": third}), Part("d", {"d": fourth})]
    found = joined(parts, [{"d", "b"}, {"c", "elsewhere"}, {"d", "a"}])
    assert [part.name for part in found] == ["a with b with d", "c"]
    assert dict(found[0].modules) == {"a": first, "b": second, "d": fourth}
    assert joined(parts, []) == parts
