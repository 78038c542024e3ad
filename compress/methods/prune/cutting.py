"""What every stage that cuts heads, neurons and layers says: what it cannot be applied to, and what it left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from transformers import PreTrainedModel

from compress.core.context import Context
from compress.core.fact_table import FactTable, Kind
from compress.nn.family import layers_of

COLUMNS: tuple[tuple[str, Kind], ...] = (
    ("layer", "count"),
    ("was layer", "count"),
    ("heads", "count"),
    ("neurons", "count"),
    ("ranks", "text"),
)

UNCUTTABLE: Mapping[str, str] = MappingProxyType(
    {
        "fused": "the heads of a fused layer have no weights of their own; prune before fusing",
        "int8": "int8 weights cannot be trained or cut; prune before quantizing",
        "low_rank": "the factors of a factorized layer have no heads or neurons of their own; prune before factorizing",
    }
)


def sizes_left(
    model: PreTrainedModel, numbers: Sequence[int], ranks: Sequence[Mapping[str, Any]] | None = None
) -> FactTable:
    """A table of the layers that are left. numbers: what each was before. ranks: of its products that became thin."""
    layers = layers_of(model)
    rows = [
        (place, number, layer.query_heads, layer.neurons, ", ".join(f"{name} {rank}" for name, rank in thin.items()))
        for place, (number, layer, thin) in enumerate(zip(numbers, layers, ranks or [{}] * len(layers), strict=True))
    ]
    return FactTable.of("What each layer has now", COLUMNS, rows)


def tell_uneven(model: PreTrainedModel, context: Context) -> None:
    """Note which readers refuse layers of different sizes, where there are such in a model that goes on with a text."""
    layers = layers_of(model)
    attention, ffn = {layer.query_heads for layer in layers}, {layer.neurons for layer in layers}
    if not context.task.decodes or (len(attention) == 1 and len(ffn) == 1):
        return
    refused = "from_pretrained and GGUF refuse them"
    if len(attention - {0}) > 1:
        refused = "from_pretrained, GGUF and ONNX Runtime GenAI refuse them (there is no genai_config.json)"
    context.note(f"layers of different sizes are left: {refused}; stages.prune.uniform=true cuts all alike")
