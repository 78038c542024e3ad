"""What a decoder consists of, as nodes of its graph: each kind of linear layer, embedding tables, activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from onnx import TensorProto
from torch import nn

from compress.core.errors import InputError
from compress.nn.layers import (
    Int8BlockEmbedding,
    Int8BlockLinear,
    Int8DynamicLinear,
    Int8Embedding,
    Int8StaticLinear,
    LowRankLinear,
)
from compress.nn.ops.blocks import BLOCK, unpack_int4
from compress.runtimes.onnx.graph import GraphWriter

CONTRIBUTED = "com.microsoft"
# Of MatMulNBits: products of integers of eight bits.
IN_EIGHT_BITS = 4


def side_by_side(parts: Sequence[nn.Module]) -> nn.Module | None:
    """One layer that gives what several with the same inputs give, one after the other; None where they are not all of
    one kind that has such a form. The weights are the same ones."""
    kind = type(parts[0])
    biases = [getattr(part, "bias", None) for part in parts]
    if any(type(part) is not kind for part in parts) or len({bias is None for bias in biases}) > 1:
        return None
    bias = None if biases[0] is None else torch.cat([bias for bias in biases if bias is not None])
    if issubclass(kind, Int8BlockLinear):
        values, scale = (torch.cat([getattr(part, name) for part in parts]) for name in ("values", "weight_scale"))
        return kind.from_blocks(values, scale, bias)
    if kind is not nn.Linear:
        return None
    weight = torch.cat([part.weight.detach() for part in parts])  # type: ignore[operator]
    found = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=bias is not None)
    found.weight = nn.Parameter(weight)
    found.bias = None if bias is None else nn.Parameter(bias.detach())
    return found


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
    found = _by_blocks(graph, path, module, inputs, module.out_features, module.bits)
    return found if module.bias is None else graph.add("Add", found, *_stored(graph, path, module, "bias"))


def tied_blocks(graph: GraphWriter, words: str, table: Int8BlockEmbedding, inputs: str) -> str:
    """The head that reads the integers of a table. words: the path of the table, which alone holds them."""
    return _by_blocks(graph, words, table, inputs, table.num_embeddings, 8)


def _by_blocks(graph: GraphWriter, path: str, module: Any, inputs: str, outputs: int, bits: int) -> str:
    """inputs @ weights.T. ONNX Runtime's own operator: of DequantizeLinear and MatMul a session makes the same one, and
    takes longer and more memory to begin with. Inputs are rounded to eight bits, block by block, as it does there."""
    shape = (outputs, _width(module))
    weight = graph.tensor(f"{path}.weight_blocks", _unsigned(array(module.weight_blocks), shape, bits))
    return graph.add(
        "MatMulNBits",
        inputs,
        weight,
        _scales(graph, path, module),
        domain=CONTRIBUTED,
        K=shape[1],
        N=outputs,
        bits=bits,
        block_size=BLOCK,
        accuracy_level=IN_EIGHT_BITS,
    )


def _scales(graph: GraphWriter, path: str, module: Any) -> str:
    """(rows, blocks), as FP32."""
    (scale,) = _stored(graph, path, module, "weight_scale")
    return graph.add("Cast", scale, to=TensorProto.FLOAT)


def _width(module: Any) -> int:
    return int(module.embedding_dim if isinstance(module, Int8BlockEmbedding) else module.in_features)


def _unsigned(stored: np.ndarray, shape: tuple[int, int], bits: int) -> np.ndarray:
    """Integers as MatMulNBits reads them: uint8 (rows, blocks, bytes of a block), the middle of their range for zero,
    two of four bits in a byte, the first as its lower bits; the last block of a row is filled with zeros.

    stored: int8 of the shape, or, of four bits, packed over the ends of rows, as `pack_int4` does.
    """
    rows, width = shape
    values = stored if bits == 8 else unpack_int4(torch.from_numpy(stored), rows, width).numpy()
    values = np.pad(values, ((0, 0), (0, -width % BLOCK)))
    found = (values.astype(np.int16) + (1 << (bits - 1))).astype(np.uint8).reshape(rows, -1, BLOCK)
    return found if bits == 8 else found[..., 0::2] | found[..., 1::2] << 4


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
        rows, width = table.num_embeddings, table.embedding_dim
        # As the head that shares them reads them.
        weight = graph.tensor(f"{path}.weight_blocks", _unsigned(array(table.weight_blocks), (rows, width), 8))
        (scale,) = _stored(graph, path, table, "weight_scale")
        scales = graph.add("Cast", graph.add("Gather", scale, tokens), to=TensorProto.FLOAT)
        values = graph.add("Cast", graph.add("Gather", weight, tokens), to=TensorProto.FLOAT)
        values = graph.add("Sub", values, graph.number(128.0))
        blocks = graph.add("Mul", values, graph.add("Unsqueeze", scales, graph.integers(-1)))
        found = graph.add("Reshape", blocks, graph.integers(0, 0, -1))
        if width % BLOCK:
            found = graph.add("Slice", found, graph.integers(0), graph.integers(width), graph.integers(2))
        return found if table.factor is None else graph.add("Mul", found, graph.number(float(table.factor)))
    raise InputError(f"{path} is a {type(table).__name__}, which has no form in a decoder's graph yet.")


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
