"""Our operators in those that every torch has: what a program is made of that is read without this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule

from compress.nn.layers.attention import attention
from compress.nn.layers.block_embedding import int8_block_embedding
from compress.nn.layers.block_linear import int4_block_linear, int8_block_linear
from compress.nn.layers.int8_linear import int8_dynamic_linear, int8_static_linear

OURS: Mapping[Any, Callable[..., Any]] = {
    torch.ops.compress.attention.default: attention,
    torch.ops.compress.int8_dynamic_linear.default: int8_dynamic_linear,
    torch.ops.compress.int8_static_linear.default: int8_static_linear,
    torch.ops.compress.int8_block_linear.default: int8_block_linear,
    torch.ops.compress.int4_block_linear.default: int4_block_linear,
    torch.ops.compress.int8_block_embedding.default: int8_block_embedding,
}


def in_torch_alone(program: ExportedProgram) -> ExportedProgram:
    """The same program, in which each operator of ours is the operators that it is defined by."""
    return program.run_decompositions(dict(OURS))


def operators_of(program: ExportedProgram) -> set[str]:
    """The names of all operators that a program calls, as torch spells them, such as `aten.add.Tensor`."""
    parts = (part for part in program.graph_module.modules() if isinstance(part, GraphModule))
    calls = (node for part in parts for node in part.graph.nodes)
    return {str(node.target) for node in calls if node.op == "call_function"}
