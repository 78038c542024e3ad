"""A causal language model as one ONNX graph for the prompt and for every step after it, with keys and values kept.

Inputs and outputs are named as Optimum and ONNX Runtime GenAI expect: `input_ids`, `attention_mask` (of all that was
read), `past_key_values.N.key` and `.value` (rows, heads, positions so far, head width) to `logits` and `present.N.key`
and `.value`. There is no `position_ids`: the graph counts, padding too, which changes nothing, for what attention sees
of two positions is how far they are apart. The input `logits_to_keep` may be left out: with 1 the logits of the last
position alone are computed, which is all that a prompt needs.

Keys and values need not be copied at every step: whoever gives one buffer as `past_key_values.N.key` and takes it as
`present.N.key`, with room for more positions than were read, finds the new ones added in place. The mask says how many
there are. ONNX Runtime's operator GroupQueryAttention does that, and turns queries and keys too; what it refuses is a
batch that goes on by more than one token at once.

The graph is written block by block from the family's table: torch's exporter takes minutes for thirty layers, and this
seconds. Weights lie in a file of their own, `model.onnx.data`, which a session maps instead of copying it twice. That
the graph computes what torch does is proven for every model exported.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import TensorProto
from torch import nn
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.signature import Signature
from compress.nn.family import Family, Layer, base_of, family_of, layers_of
from compress.nn.layers import Int8BlockEmbedding, TiedBlockHead
from compress.runtimes.onnx import genai
from compress.runtimes.onnx.decoder_layers import (
    CONTRIBUTED,
    activated,
    array,
    looked_up,
    product,
    side_by_side,
    tied_blocks,
)
from compress.runtimes.onnx.graph import GraphWriter
from compress.runtimes.onnx.words import IN_PLACE, KEEP

FILE = "model.onnx"
OPSET = 23
# Positions for which angles are stored; a longer context is refused by the graph itself.
LONGEST_CONTEXT = 32_768
# Heads whose width is a multiple of this are turned by the operator that attends.
TURNED_INSIDE = 16
FULL, WINDOW = "full_attention", "sliding_attention"
LOWEST = float(np.finfo(np.float32).min)


def export_decoder(model: PreTrainedModel, signature: Signature, folder: Path) -> Path:
    """Write `model.onnx` into `folder`, with `genai_config.json` where that can be, and return its path. Raises
    InputError for a family without a decoder, or a layer that has no form here."""
    family = family_of(model.config)
    if family.decoder is None:
        raise InputError(
            f"a {model.config.model_type} model does not say what comes next: it has no decoder to export."
        )
    writer = _Writer(model, family, signature)
    path = writer.write(folder / FILE)
    settings = writer.genai_config()
    if settings is not None:
        (folder / genai.FILE).write_text(json.dumps(settings, indent=1), encoding="utf-8")
    return path


class _Writer:
    def __init__(self, model: PreTrainedModel, family: Family, signature: Signature) -> None:
        assert family.decoder is not None and signature.decoding is not None
        self.model, self.family, self.signature = model, family, signature
        self.decoder, self.decoding, self.config = family.decoder, signature.decoding, model.config
        self.base, self.graph = base_of(model), GraphWriter(OPSET)
        self.layers = layers_of(model)
        self.turned_inside = family.head_size(model.config) % TURNED_INSIDE == 0
        self.present: list[tuple[str, list[str | int], str]] = []

    def write(self, path: Path) -> Path:
        graph = self.graph
        tokens = graph.input("input_ids", "int64", ["batch", "sequence"])
        mask = graph.input("attention_mask", "int64", ["batch", "total"])
        self.masks = _Masks(graph, tokens, mask)
        self.angles: dict[str, tuple[str, str]] = {}
        states = self._embedded(tokens)
        for number, layer in enumerate(self.layers):
            if layer.heads:
                states = self._block(layer, states, layer.family.attention, lambda x: self._attention(layer, x, number))  # noqa: B023 - called at once
            if layer.neurons:
                states = self._block(layer, states, layer.family.ffn, lambda x: self._feed_forward(layer, x))  # noqa: B023
        keep = graph.input_with_default(KEEP, np.zeros(1, dtype=np.int64))
        # From the last ones on; with 0, from the first.
        last = graph.add("Slice", states, graph.add("Neg", keep), graph.integers(2**62), graph.integers(1))
        logits = self._logits(self._norm(last, f"{self.model.base_model_prefix}.{self.decoder.norm}"))
        graph.output(self.signature.output.name, "float32", ["batch", "kept", self._vocabulary()], logits)
        for name, axes, values in self.present:
            graph.output(name, "float32", axes, values)
        return graph.write(path, beside=True, told={IN_PLACE: "1"})

    def genai_config(self) -> dict[str, Any] | None:
        """See `genai_config`."""
        size = self.family.head_size(self.config)
        attending = [layer for layer in self.layers if layer.heads]
        return genai.genai_config(
            self.config,
            heads=[layer.query_heads for layer in attending],
            shared=[layer.heads * layer.shared_width // size or 1 for layer in attending],
            head_size=size,
            context=min(int(self.config.max_position_embeddings), LONGEST_CONTEXT),
            decoding=self.decoding,
        )

    def _block(self, layer: Layer, states: str, block: Any, inner: Callable[[str], str]) -> str:
        """A residual sum: states + after(inner(norm(states)))."""
        found = inner(self._norm(states, f"{layer.path}.{block.norm}"))
        if block.after is not None:
            found = self._norm(found, f"{layer.path}.{block.after}")
        return self.graph.add("Add", states, found)

    def _embedded(self, tokens: str) -> str:
        path = f"{self.model.base_model_prefix}.{self.family.words}"
        found = looked_up(self.graph, path, self.model.get_submodule(path), tokens)
        # A table in blocks holds what its rows are multiplied by, and was multiplied by it above.
        if not self.decoder.scaled_embeddings or isinstance(self.model.get_submodule(path), Int8BlockEmbedding):
            return found
        return self.graph.add("Mul", found, self.graph.number(math.sqrt(self.config.hidden_size)))

    def _vocabulary(self) -> int:
        """How many tokens there are logits of."""
        head: Any = self.model.get_output_embeddings()
        return int(head.out_features)

    def _norm(self, states: str, path: str) -> str:
        module = self.model.get_submodule(path)
        weight = array(module.weight) + np.float32(self.decoder.rms_offset)
        # Whoever wrote the model made no difference between what the norms add: one number for all.
        epsilon = float(self.config.rms_norm_eps)
        return self.graph.add(
            "RMSNormalization", states, self.graph.tensor(f"{path}.weight", weight), axis=-1, epsilon=epsilon
        )

    def _attention(self, layer: Layer, states: str, number: int) -> str:
        graph, size = self.graph, layer.family.head_size(self.config)
        heads, shared = layer.query_heads, layer.heads * layer.shared_width // size or 1
        kind = self._kind(number)
        query, key, value = self._to_attend(layer, states, heads, shared, size)
        angles = self._angles(kind)
        if not self.turned_inside:
            query, key = (
                graph.add("RotaryEmbedding", values, *angles, self.masks.places, num_heads=count)
                for values, count in ((query, heads), (key, shared))
            )
            angles = ("", "")
        # Numbered by the layers that keep any: one whose attention was dropped has none.
        kept, axes = len(self.present) // 2, ("batch", shared, "total", size)
        past = [
            graph.input(f"{self.decoding.state}.{kept}.{part}", "float32", ("batch", shared, "past", size))
            for part in ("key", "value")
        ]
        mixed, *present = graph.add(
            "GroupQueryAttention",
            query,
            key,
            value,
            *past,
            *self.masks.lengths,
            *angles,
            "",
            self.masks.of(self._window(kind)),
            outputs=3,
            domain=CONTRIBUTED,
            num_heads=heads,
            kv_num_heads=shared,
            do_rotary=int(self.turned_inside),
            scale=float(layer.part("attention").scaling),  # type: ignore[arg-type]
        )
        for part, values in zip(("key", "value"), present, strict=True):
            self.present.append((f"{self.decoding.present}.{kept}.{part}", list(axes), values))
        return self._product(layer, "attention_output", mixed)

    def _to_attend(self, layer: Layer, states: str, heads: int, shared: int, size: int) -> tuple[str, str, str]:
        """Queries, keys and values, not yet turned; where one product gives all three, the first holds them."""
        block = layer.family.attention
        if self.turned_inside and block.query_norm is None and block.key_norm is None:
            together = side_by_side([layer.part(name) for name in ("query", "key", "value")])
            if together is not None:
                return product(self.graph, f"{layer.path}.query_key_value", together, states), "", ""
        query, key, value = (self._product(layer, name, states) for name in ("query", "key", "value"))
        return (
            self._normed_by_head(layer, query, block.query_norm, heads, size),
            self._normed_by_head(layer, key, block.key_norm, shared, size),
            value,
        )

    def _normed_by_head(self, layer: Layer, values: str, norm: str | None, heads: int, size: int) -> str:
        if norm is None:
            return values
        graph = self.graph
        by_head = graph.add("Reshape", values, graph.integers(0, 0, heads, size))
        return graph.add("Reshape", self._norm(by_head, f"{layer.path}.{norm}"), graph.integers(0, 0, heads * size))

    def _angles(self, kind: str) -> tuple[str, str]:
        """The names of the cosines and sines of all positions, (positions, half of a head)."""
        kind = kind if self.decoder.angles_by_type else ""
        if kind not in self.angles:
            places = torch.arange(min(int(self.config.max_position_embeddings), LONGEST_CONTEXT))[None]
            rotary = self.base.get_submodule(self.decoder.rotary)
            more = (kind,) if kind else ()
            with torch.no_grad():
                found = rotary(torch.zeros(1), places, *more)
            halves = [array(values[0, :, : values.shape[-1] // 2]) for values in found]
            names = [f"{name}{'.' if kind else ''}{kind}" for name in ("cosines", "sines")]
            self.angles[kind] = tuple(self.graph.tensor(*pair) for pair in zip(names, halves, strict=True))  # type: ignore[assignment]
        return self.angles[kind]

    def _kind(self, number: int) -> str:
        """Which positions a layer sees."""
        kinds = getattr(self.config, "layer_types", None) if "layer_types" in self.family.layer_lists else None
        return FULL if kinds is None else str(kinds[number])

    def _window(self, kind: str) -> int | None:
        if kind == FULL:
            return None
        if kind != WINDOW:
            raise InputError(f"a layer of the model is of type {kind!r}; {FULL} and {WINDOW} can be exported.")
        return int(self.config.sliding_window)

    def _feed_forward(self, layer: Layer, states: str) -> str:
        graph, inner = self.graph, self._product(layer, "ffn_in", states)
        activation = str(getattr(self.config, self.family.activation_field))
        if not layer.family.ffn.gated:
            return self._product(layer, "ffn_out", activated(graph, activation, inner))
        gate = activated(graph, activation, self._product(layer, "ffn_gate", states))
        return self._product(layer, "ffn_out", graph.add("Mul", gate, inner))

    def _product(self, layer: Layer, name: str, inputs: str) -> str:
        return product(self.graph, layer.path_of(name), layer.part(name), inputs)

    def _logits(self, states: str) -> str:
        graph, head = self.graph, self.model.get_output_embeddings()
        words = f"{self.model.base_model_prefix}.{self.family.words}"
        table = self.model.get_submodule(words)
        path = next(path for path, module in self.model.named_modules() if module is head)
        if isinstance(head, TiedBlockHead):
            return tied_blocks(graph, words, head.table, states)
        if not (isinstance(table, nn.Embedding) and head.weight is table.weight):
            return product(graph, path, head, states)
        # One table is stored for both.
        rows = graph.add("Reshape", states, graph.integers(-1, table.weight.shape[1]))
        found = graph.add("Gemm", rows, graph.tensor(f"{words}.weight", array(table.weight)), transB=1)
        shape = graph.add("Concat", graph.add("Shape", states, start=0, end=2), graph.integers(-1), axis=0)
        return graph.add("Reshape", found, shape)


class _Masks:
    """What hides padding and what comes later, (rows, 1, sequence, total), made once for each kind of layer.

    lengths: the last position of each row, (rows,), and how many positions there are, (): padding is among them and is
    hidden, so all rows have as many. places: the positions of the new tokens, (rows, sequence).
    """

    def __init__(self, graph: GraphWriter, tokens: str, mask: str) -> None:
        self.graph, self.known = graph, {}  # type: tuple[GraphWriter, dict[int | None, str]]
        rows = graph.add("Shape", tokens, start=0, end=1)
        zero, one = (graph.tensor(f"whole_{value}", np.array(value, dtype=np.int64)) for value in (0, 1))
        total, new = (graph.add("Squeeze", graph.add("Shape", name, start=1, end=2)) for name in (mask, tokens))
        last = graph.add("Expand", graph.add("Sub", total, one), rows)
        self.lengths = tuple(graph.add("Cast", name, to=TensorProto.INT32) for name in (last, total))
        now = graph.add("Range", graph.add("Sub", total, new), total, one)
        self.now = graph.add("Unsqueeze", now, graph.integers(1))
        self.places = graph.add("Expand", graph.add("Unsqueeze", now, graph.integers(0)), graph.add("Shape", tokens))
        self.then = graph.add("Unsqueeze", graph.add("Range", zero, total, one), graph.integers(0))
        real = graph.add("Unsqueeze", graph.add("Cast", mask, to=TensorProto.BOOL), graph.integers(1, 2))
        self.seen = graph.add("And", graph.add("LessOrEqual", self.then, self.now), real)

    def of(self, window: int | None) -> str:
        """Added to the scores. window: of how many last positions, its own among them, a layer sees each."""
        if window not in self.known:
            graph, seen = self.graph, self.seen
            if window is not None:
                first = graph.add("Sub", self.now, graph.tensor(f"whole_{window}", np.array(window, dtype=np.int64)))
                seen = graph.add("And", seen, graph.add("Greater", self.then, first))
            self.known[window] = graph.add("Where", seen, graph.number(0.0), graph.number(LOWEST))
        return self.known[window]
