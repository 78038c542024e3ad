"""Which tensors a GGUF file must have, by what its settings say, before a model of these sizes is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from compress.methods.teachers.gguf_header import GgufHeader

# As GGUF calls them; Transformers by the same names.
ARCHITECTURES = ("llama", "qwen2", "qwen3")
TOKENS = "tokenizer.ggml.tokens"
# Not read by Transformers for these architectures, though answers depend on it.
STRETCHED = "rope.scaling.type"


@dataclass(frozen=True, kw_only=True)
class GgufSizes:
    """head: the width of one. tensors: of each that a model of these settings has its sizes, the innermost first."""

    head: int
    tensors: Mapping[str, tuple[int, ...]]


def gguf_sizes(header: GgufHeader, architecture: str) -> GgufSizes:
    """What the settings of a file ask for. Raises ValueError where a setting is missing, no whole number, contradicts
    another, or would be dropped."""
    stretched = header.settings.get(f"{architecture}.{STRETCHED}", "none")
    if stretched != "none":
        raise ValueError(f"its setting {architecture}.{STRETCHED} is {str(stretched)[:60]!r}; only none can be read")
    size = partial(_size, header.settings, f"{architecture}.")
    layers, hidden, neurons = size("block_count"), size("embedding_length"), size("feed_forward_length")
    heads = size("attention.head_count")
    shared = size("attention.head_count_kv", heads)
    head = size("attention.key_length", hidden // heads)
    for name in ("attention.value_length", "rope.dimension_count"):
        if size(name, head) != head:
            raise ValueError(f"its setting {architecture}.{name} is not {head}, the width of a head")
    if heads % shared:
        raise ValueError(f"its {heads} heads cannot share {shared} keys and values")
    words = _size(header.settings, "", TOKENS)
    if size("vocab_size", words) != words:
        raise ValueError(f"its setting {architecture}.vocab_size is not {words}, the tokens that it has")
    # Each layer has tensors: more than there are cannot be counted up to either.
    if layers > len(header.tensors):
        raise ValueError(
            f"its setting {architecture}.block_count is {layers}, and it has {len(header.tensors)} tensors"
        )
    tensors = {"token_embd.weight": (hidden, words), "output_norm.weight": (hidden,), "output.weight": (hidden, words)}
    for layer in range(layers):
        for name, shape in _layer(architecture, hidden, neurons, heads * head, shared * head, head):
            tensors[f"blk.{layer}.{name}"] = shape
    return GgufSizes(head=head, tensors=tensors)


def _layer(
    architecture: str, hidden: int, neurons: int, queries: int, keys: int, head: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, width in (("attn_q", queries), ("attn_k", keys), ("attn_v", keys)):
        yield f"{name}.weight", (hidden, width)
        if architecture == "qwen2":
            yield f"{name}.bias", (width,)
    yield "attn_output.weight", (queries, hidden)
    for name in ("ffn_gate", "ffn_up"):
        yield f"{name}.weight", (hidden, neurons)
    yield "ffn_down.weight", (neurons, hidden)
    norms = [("attn_norm", hidden), ("ffn_norm", hidden)]
    if architecture == "qwen3":
        norms += [("attn_q_norm", head), ("attn_k_norm", head)]
    for name, width in norms:
        yield f"{name}.weight", (width,)


def _size(settings: Mapping[str, Any], prefix: str, short: str, default: int | None = None) -> int:
    name = f"{prefix}{short}"
    value = settings.get(name, default)
    if value is None:
        raise ValueError(f"it has no setting {name}")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"its setting {name} is {str(value)[:60]}, no whole number from 1 on")
    return value
