"""A causal language model as one GGUF file, with the very integers of the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from compress.core.errors import InputError
from compress.nn.family import Layer, base_of, family_of, layers_of
from compress.nn.layers import TiedBlockHead
from compress.runtimes.gguf.tensors import Stored, stored_float, stored_matrix
from compress.runtimes.gguf.vocabulary import gguf_vocabulary

# By the name that Transformers has for a family, llama.cpp's.
ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3_text": "gemma3"}
MATRICES = {
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "attention_output": "attn_output",
    "ffn_gate": "ffn_gate",
    "ffn_in": "ffn_up",
    "ffn_out": "ffn_down",
}
NORMS = {"attention_norm": "attn_norm", "ffn_norm": "ffn_norm"}
# Of what a block gives, where there is one; and of each head's queries and keys.
FURTHER_NORMS = {
    "post_attention_layernorm": "post_attention_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
}
# What llama.cpp takes for granted of Gemma 3: every so many layers one without a window, and the others' angles.
WINDOWS_BETWEEN, WINDOWED_BASE = 6, 10000.0
# So many layers are to it the largest model, whose queries have another scale.
LAYERS_OF_THE_LARGEST = 62
SPECIAL = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
FILE_TYPES = {"F32": 0, "Q4_0": 2, "Q8_0": 7}
QUANTIZATION_VERSION = 2
ONE_SIZE = "Run again with stages.prune.uniform=true: then all layers are cut alike."


def write_gguf(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Write `path`. Layers in blocks are Q8_0 and Q4_0 there, with the same integers and scales; all else is FP32.

    model: a causal language model of a family in ARCHITECTURES. Raises InputError for one that llama.cpp would not
    compute the same way: layers of different sizes, blocks that were dropped, factorized layers, windows where it
    expects none, scaled rotary positions; for a tokenizer that it would not follow; and where the package `gguf` is not
    installed.
    """
    try:
        from gguf import GGMLQuantizationType, GGUFWriter
    except ImportError as error:
        raise InputError(
            "writing GGUF needs the package gguf, which is not installed. Install it (pip install 'compress[gguf]')."
        ) from error

    require_writable(model)
    vocabulary = gguf_vocabulary(tokenizer, int(model.config.vocab_size))
    tensors = dict(tensors_of(model))
    writer = GGUFWriter(path, ARCHITECTURES[model.config.model_type])
    _describe(writer, model)
    kinds: list[str] = [stored.form for stored in tensors.values() if stored.form != "F32"]
    writer.add_file_type(FILE_TYPES[max(set(kinds), key=kinds.count) if kinds else "F32"])
    writer.add_quantization_version(QUANTIZATION_VERSION)
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(False)
    else:
        writer.add_token_merges(vocabulary.merges)
    for name, number in vocabulary.special.items():
        writer.add_uint32(f"tokenizer.ggml.{SPECIAL[name]}_token_id", number)
    writer.add_add_bos_token(vocabulary.starts)
    writer.add_add_eos_token(vocabulary.ends)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)
    for name, stored in tensors.items():
        writer.add_tensor(name, stored.data, raw_dtype=GGMLQuantizationType[stored.form])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def require_writable(model: PreTrainedModel) -> None:
    """Raise InputError where llama.cpp has no form for what the model computes."""
    config = model.config
    if config.model_type not in ARCHITECTURES:
        raise InputError(
            f"the model is of type {config.model_type!r}; GGUF is written here of {', '.join(ARCHITECTURES)}."
        )
    if model.get_output_embeddings() is None:
        raise InputError(f"the model is a {type(model).__name__}, which writes no tokens; GGUF holds models that do.")
    reason = _unlike(config)
    if reason:
        raise InputError(f"config.json has {reason}, which GGUF is not written with here.")
    layers = layers_of(model)
    for number, layer in enumerate(layers):
        for what, found, first in (
            ("heads", layer.query_heads, layers[0].query_heads),
            ("FFN neurons", layer.neurons, layers[0].neurons),
        ):
            if not found:
                raise InputError(
                    f"layer {number} has no {what}: its block was dropped, and GGUF has no layer without. {ONE_SIZE}"
                )
            if found != first:
                raise InputError(
                    f"layer {number} has {found} {what} and layer 0 {first}; llama.cpp reads layers of one size. "
                    f"{ONE_SIZE}"
                )


def tensors_of(model: PreTrainedModel) -> Iterator[tuple[str, Stored]]:
    """All weights by the names that they have in GGUF. Raises InputError for a layer that GGUF has no form for."""
    base, head, config = base_of(model), model.get_output_embeddings(), model.config
    table = model.get_input_embeddings()
    yield "token_embd.weight", stored_matrix("the word embeddings", table)
    for number, layer in enumerate(layers_of(model)):
        for part, name in MATRICES.items():
            module = layer.part(part)
            order = _half_split_rows(layer, part) if model.config.model_type == "llama" else None
            yield f"blk.{number}.{name}.weight", stored_matrix(layer.path_of(part), module, order)
            if module.bias is not None:
                yield f"blk.{number}.{name}.bias", stored_float(torch.as_tensor(module.bias))
        for part, name in NORMS.items():
            yield f"blk.{number}.{name}.weight", _stored_norm(layer.weight(part), config)
        for path in (*layer.family.attention.further, *layer.family.ffn.further):
            norm = _weight(layer.module.get_submodule(path))
            yield f"blk.{number}.{FURTHER_NORMS[path]}.weight", _stored_norm(norm, config)
    yield "output_norm.weight", _stored_norm(_weight(base.get_submodule("norm")), config)
    if not (isinstance(head, TiedBlockHead) or _weight(head) is _weight(table)):
        yield "output.weight", stored_matrix("the head", head)


def _stored_norm(weight: Tensor, config: PretrainedConfig) -> Stored:
    """With what the family adds to it."""
    decoder = family_of(config).decoder
    return stored_float(weight if decoder is None or not decoder.rms_offset else weight + decoder.rms_offset)


def _half_split_rows(layer: Layer, part: str) -> Tensor | None:
    """The order of a matrix's rows in which llama.cpp turns neighbours of a head by their position, where this library
    turns those half a head apart. None where nothing is turned."""
    if part not in ("query", "key"):
        return None
    rows, size = layer.part(part).out_features, layer.family.head_size(layer.config)
    assert isinstance(rows, int)
    return torch.arange(rows).reshape(-1, 2, size // 2).transpose(1, 2).flatten()


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def _unlike(config: PretrainedConfig) -> str:
    """What of a configuration has no counterpart; "" where all has."""
    if config.model_type == "gemma3_text":
        return _unlike_gemma(config)
    rope = config.rope_parameters
    if rope.get("rope_type", "default") != "default":
        return f"rope_type={rope['rope_type']}"
    if config.hidden_act != "silu":
        return f"hidden_act={config.hidden_act}"
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        return "layers of type sliding_attention"
    # Of these two, llama.cpp knows Qwen 2's, which every model of its type has.
    if config.model_type != "qwen2" and getattr(config, "attention_bias", False):
        return "attention_bias=True"
    return "mlp_bias=True" if getattr(config, "mlp_bias", False) else ""


def _unlike_gemma(config: PretrainedConfig) -> str:
    """The same of Gemma 3, of which llama.cpp takes more for granted."""
    angles = config.rope_parameters
    for kind, rope in angles.items():
        if rope.get("rope_type", "default") != "default":
            return f"rope_type={rope['rope_type']} of layers of type {kind}"
    if angles["sliding_attention"]["rope_theta"] != WINDOWED_BASE:
        return f"rope_theta={angles['sliding_attention']['rope_theta']} of layers of type sliding_attention"
    expected = [
        "sliding_attention" if (i + 1) % WINDOWS_BETWEEN else "full_attention" for i in range(len(config.layer_types))
    ]
    if list(config.layer_types) != expected:
        return f"layer_types that are not every {WINDOWS_BETWEEN}th full_attention"
    if len(expected) == LAYERS_OF_THE_LARGEST:
        return f"{LAYERS_OF_THE_LARGEST} layers"
    if config.query_pre_attn_scalar != config.head_dim:
        return f"query_pre_attn_scalar={config.query_pre_attn_scalar}, not head_dim={config.head_dim}"
    if config.hidden_activation != "gelu_pytorch_tanh":
        return f"hidden_activation={config.hidden_activation}"
    given = ("attn_logit_softcapping", "final_logit_softcapping", "use_bidirectional_attention", "attention_bias")
    return next((f"{name}={value}" for name in given if (value := getattr(config, name, None))), "")


def _describe(writer: Any, model: PreTrainedModel) -> None:
    config, layers = model.config, layers_of(model)
    family, first = layers[0].family, layers[0]
    size, sharing = family.head_size(config), family.sharing(config)
    writer.add_block_count(len(layers))
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(first.neurons)
    writer.add_head_count(first.query_heads)
    writer.add_head_count_kv(first.query_heads // sharing)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    if config.model_type == "gemma3_text":
        writer.add_sliding_window(config.sliding_window)
        writer.add_rope_freq_base(float(config.rope_parameters["full_attention"]["rope_theta"]))
    else:
        writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
