"""What the blocks of a decoder consist of, as nodes of its graph: each kind of linear layer, embeddings, activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from compress.core.errors import InputError
from compress.nn.layers import (
    Int4BlockLinear,
    Int8BlockEmbedding,
    Int8BlockLinear,
    Int8DynamicLinear,
    Int8Embedding,
    Int8StaticLinear,
    LowRankLinear,
)
from compress.nn.ops.blocks import BLOCK
from compress.runtimes.onnx.graph import GraphWriter


def product(graph: GraphWriter, path: str, module: nn.Module, inputs: str) -> str:
    """A linear layer of any kind. path: its tensors' names begin so. Raises InputError for a kind without a form."""
    form = next((FORMS[kind] for kind in type(module).__mro__ if kind in FORMS), None)
    if form is None:
        raise InputError(f"{path} is a {type(module).__name__}, which has no form in a decoder's graph yet.")
    return form(graph, path, module, inputs)


def _dense(graph: GraphWriter, path: str, module: Any, inputs: str) -> str:
    # (in, out), the layout that MatMul multiplies by.
    found = graph.add("MatMul", inputs, graph.tensor(f"{path}.weight", array(module.weight).T))
    return found if module.bias is None else graph.add("Add", found, graph.tensor(f"{path}.bias", array(module.bias)))


def _low_rank(graph: GraphWriter, path: str, module: Any, inputs: str) -> str:
    return _dense(graph, f"{path}.up", module.up, _dense(graph, f"{path}.down", module.down, inputs))


def _dynamic(graph: GraphWriter, path: str, module: Any, inputs: str) -> str:
    weight, weight_scale, bias = _stored(graph, path, module, "weight_int8", "weight_scale", "bias")
    quantized, scale, zero_point = graph.add("DynamicQuantizeLinear", inputs, outputs=3)
    sums = graph.add("Cast", graph.add("MatMulInteger", quantized, weight, zero_point), to=1)
    return graph.add("Add", graph.add("Mul", sums, graph.add("Mul", scale, weight_scale)), bias)


def _blocks(graph: GraphWriter, path: str, module: Any, inputs: str) -> str:
    if isinstance(module, Int4BlockLinear):
        shape = (module.out_features, module.in_features)
        weight = graph.packed_int4(f"{path}.weight_blocks", array(module.weight_blocks), shape)
    else:
        weight = graph.tensor(f"{path}.weight_blocks", array(module.weight_blocks))
    (scale,) = _stored(graph, path, module, "weight_scale")
    found = _by_columns(graph, inputs, weight, scale)
    return found if module.bias is None else graph.add("Add", found, *_stored(graph, path, module, "bias"))


def tied_blocks(graph: GraphWriter, words: str, table: Int8BlockEmbedding, inputs: str) -> str:
    """words: the path of the table, which alone holds the integers."""
    return _by_columns(graph, inputs, *_stored(graph, words, table, "weight_blocks", "weight_scale"))


def _by_columns(graph: GraphWriter, inputs: str, weight: str, scale: str) -> str:
    # As in `compress.runtimes.onnx.export`: turned and widened once, when a session opens, which then makes one
    # operator of the last two.
    scales = graph.add("Cast", graph.add("Transpose", scale, perm=[1, 0]), to=1)
    columns = graph.add("Transpose", weight, perm=[1, 0])
    return graph.add("MatMul", inputs, graph.add("DequantizeLinear", columns, scales, axis=0, block_size=BLOCK))


def _static(graph: GraphWriter, path: str, module: Any, inputs: str) -> str:
    weight, weight_scale, bias = _stored(graph, path, module, "weight_int8", "weight_scale", "bias")
    fixed = _stored(graph, path, module, "input_scale", "input_zero_point")
    restored = graph.add("DequantizeLinear", graph.add("QuantizeLinear", inputs, *fixed), *fixed)
    return graph.add(
        "Add", graph.add("MatMul", restored, graph.add("DequantizeLinear", weight, weight_scale, axis=1)), bias
    )


FORMS: Mapping[type[nn.Module], Callable[[GraphWriter, str, Any, str], str]] = {
    nn.Linear: _dense,
    LowRankLinear: _low_rank,
    Int8DynamicLinear: _dynamic,
    Int8StaticLinear: _static,
    Int8BlockLinear: _blocks,
}


def looked_up(graph: GraphWriter, path: str, table: nn.Module, tokens: str) -> str:
    """The rows of an embedding table."""
    if isinstance(table, nn.Embedding):
        return graph.add("Gather", graph.tensor(f"{path}.weight", array(table.weight)), tokens)
    if isinstance(table, Int8Embedding):
        weight, scale = _stored(graph, path, table, "weight_int8", "weight_scale")
        rows = graph.add("Cast", graph.add("Gather", weight, tokens), to=1)
        return graph.add("Mul", rows, graph.add("Gather", scale, tokens))
    if isinstance(table, Int8BlockEmbedding):
        weight, scale = _stored(graph, path, table, "weight_blocks", "weight_scale")
        scales = graph.add("Cast", graph.add("Gather", scale, tokens), to=1)
        rows = graph.add("Cast", graph.add("Gather", weight, tokens), to=1)
        found = _scaled(graph, rows, scales, table.embedding_dim)
        return found if table.factor is None else graph.add("Mul", found, graph.number(float(table.factor)))
    raise InputError(f"{path} is a {type(table).__name__}, which has no form in a decoder's graph yet.")


def _scaled(graph: GraphWriter, rows: str, scales: str, width: int) -> str:
    """Each block of `rows` (..., width) times its scale (..., blocks)."""
    blocks = graph.add("Unsqueeze", scales, graph.integers(-1))
    if width % BLOCK:
        each = graph.add("Expand", blocks, graph.integers(1, 1, 1, BLOCK))
        whole = graph.add("Reshape", each, graph.integers(0, 0, -1))
        whole = graph.add("Slice", whole, graph.integers(0), graph.integers(width), graph.integers(2))
        return graph.add("Mul", rows, whole)
    apart = graph.add("Mul", graph.add("Reshape", rows, graph.integers(0, 0, -1, BLOCK)), blocks)
    return graph.add("Reshape", apart, graph.integers(0, 0, width))


def activated(graph: GraphWriter, name: str, values: str) -> str:
    if name in ("silu", "swish"):
        return graph.add("Mul", values, graph.add("Sigmoid", values))
    if name == "relu":
        return graph.add("Relu", values)
    if name in ("gelu", "gelu_pytorch_tanh"):
        return graph.add("Gelu", values, approximate="none" if name == "gelu" else "tanh")
    raise InputError(
        f"the activation {name!r} has no form in a decoder's graph. Use silu, gelu, gelu_pytorch_tanh or relu."
    )


def _stored(graph: GraphWriter, path: str, module: Any, *names: str) -> list[str]:
    return [graph.tensor(f"{path}.{name}", array(getattr(module, name))) for name in names]


def array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy()
