"""A file that the `gguf` package reads back: the very weights, the sizes, the tokens; and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import GemmaTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.nn.family import layers_of
from compress.nn.layers import LowRankLinear
from compress.nn.structure import replace_module
from compress.nn.surgery import keep_neurons
from compress.runtimes.gguf.vocabulary import gguf_vocabulary
from compress.runtimes.gguf.writer import require_writable, tensors_of, write_gguf

Make = Callable[..., PreTrainedModel]
PLACES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def written(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Any:
    """The reader of the file."""
    gguf = pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")
    write_gguf(model, tokenizer, folder / "model.gguf")
    return gguf.GGUFReader(folder / "model.gguf")


def weights(reader: Any) -> dict[str, np.ndarray]:
    """All weights scaled back, by name."""
    from gguf import dequantize

    return {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}


GEMMA_ANGLES = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
SCALED = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}


def turned(weight: np.ndarray, heads: int) -> np.ndarray:
    """As llama.cpp's own converter orders the rows of Llama's queries and keys."""
    return weight.reshape(heads, 2, len(weight) // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
def test_the_very_weights(
    model_type: str,
    tied: bool,
    make_decoder: Make,
    quantize_in_blocks: Callable,
    byte_level: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    model = quantize_in_blocks(make_decoder(model_type, tied))
    reader = written(model, byte_level, tmp_path)
    found = weights(reader)
    expected = {
        "token_embd.weight": model.model.embed_tokens.weight,
        "output_norm.weight": model.model.norm.weight,
        **({} if tied else {"output.weight": model.lm_head.weight}),
    }
    for number, layer in enumerate(model.model.layers):
        expected[f"blk.{number}.attn_norm.weight"] = layer.input_layernorm.weight
        expected[f"blk.{number}.ffn_norm.weight"] = layer.post_attention_layernorm.weight
        for path, name in PLACES.items():
            module = layer.get_submodule(path)
            expected[f"blk.{number}.{name}.weight"] = module.weight
            if module.bias is not None:
                expected[f"blk.{number}.{name}.bias"] = module.bias
        if model_type == "qwen3":
            expected[f"blk.{number}.attn_q_norm.weight"] = layer.self_attn.q_norm.weight
            expected[f"blk.{number}.attn_k_norm.weight"] = layer.self_attn.k_norm.weight
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        whole = value.detach().numpy()
        if model_type == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
            whole = turned(whole, 4 if "attn_q" in name else 2)
        np.testing.assert_array_equal(found[name], whole, err_msg=name)
    forms = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    names = ("blk.1.attn_q.weight", "blk.1.ffn_down.weight", "token_embd.weight", "blk.1.attn_norm.weight")
    assert [forms[name] for name in names] == ["Q8_0", "Q4_0", "Q8_0", "F32"]


def test_what_it_says_of_the_model(
    make_decoder: Make, quantize_in_blocks: Callable, byte_level: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    reader = written(quantize_in_blocks(make_decoder("qwen3")), byte_level, tmp_path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert {name.removeprefix("qwen3."): value for name, value in fields.items() if name.startswith("qwen3.")} == {
        "block_count": 2,
        "context_length": 64,
        "embedding_length": 64,
        "feed_forward_length": 96,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "attention.key_length": 16,
        "attention.value_length": 16,
        "rope.dimension_count": 16,
        "rope.freq_base": pytest.approx(10000.0),
        "attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
        "vocab_size": 300,
    }
    assert fields["general.architecture"] == "qwen3"
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert (fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    last = len(byte_level)
    assert tokens[:2] == ["<|start|>", "<|end|>"] and tokens[last - 1] == "<think>"
    # Special, normal, added; what the embeddings have rows for beyond that is not used.
    assert (types[0], types[2], types[last - 1], types[last:]) == (3, 1, 4, [5] * (300 - last))
    assert (fields["tokenizer.ggml.bos_token_id"], fields["tokenizer.ggml.eos_token_id"]) == (0, 1)
    assert fields["tokenizer.ggml.merges"][0] == "t h" or " " in fields["tokenizer.ggml.merges"][0]
    assert fields["tokenizer.chat_template"] == "{{ messages[0].content }}"


def test_gemma(make_decoder: Make, quantize_in_blocks: Callable, pieces: GemmaTokenizer, tmp_path: Path) -> None:
    model = quantize_in_blocks(make_decoder("gemma3_text"))
    reader = written(model, pieces, tmp_path)
    found, layer = weights(reader), model.model.layers[3]
    norms = {
        "attn_norm": layer.input_layernorm,
        "post_attention_norm": layer.post_attention_layernorm,
        "ffn_norm": layer.pre_feedforward_layernorm,
        "post_ffw_norm": layer.post_feedforward_layernorm,
        "attn_q_norm": layer.self_attn.q_norm,
        "attn_k_norm": layer.self_attn.k_norm,
    }
    for name, norm in norms.items():
        np.testing.assert_array_equal(found[f"blk.3.{name}.weight"], 1 + norm.weight.detach().numpy(), err_msg=name)
    np.testing.assert_array_equal(found["output_norm.weight"], 1 + model.model.norm.weight.detach().numpy())
    # Whoever reads it multiplies by the root of the width.
    np.testing.assert_array_equal(found["token_embd.weight"], model.model.embed_tokens.weight.numpy())
    assert len(found) == 2 + 7 * 13
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "gemma3" and fields["gemma3.attention.sliding_window"] == 5
    assert fields["gemma3.rope.freq_base"] == pytest.approx(1e6) and fields["tokenizer.ggml.model"] == "llama"
    tokens, types, scores = (fields[f"tokenizer.ggml.{name}"] for name in ("tokens", "token_type", "scores"))
    # Special ones, bytes, pieces, and an added word.
    assert [types[at] for at in (0, 4, 259, 260, tokens.index("<think>"))] == [3, 6, 6, 1, 4]
    assert tokens[4] == "<0x00>" and "tokenizer.ggml.merges" not in fields
    assert (fields["tokenizer.ggml.add_bos_token"], fields["tokenizer.ggml.add_space_prefix"]) == (False, False)
    made = [
        score for token, score in zip(tokens, scores, strict=True) if len(token) > 1 and types[tokens.index(token)] == 1
    ]
    assert made == sorted(made, reverse=True) and made[0] == 0


def test_layers_of_different_sizes(make_decoder: Make) -> None:
    model = make_decoder("llama")
    keep_neurons(model, layers_of(model)[1], torch.arange(64))
    with pytest.raises(InputError, match=r"layer 1 has 64 FFN neurons and layer 0 96; llama.cpp reads layers of one"):
        require_writable(model)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hidden_act": "gelu"}, "hidden_act=gelu"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type=yarn"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layers of type sliding_attention"),
        ({"attention_bias": True}, "attention_bias=True"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping=30.0"),
        ({"layer_types": ["full_attention"] * 7}, "layer_types that are not every 6th full_attention"),
        ({"layer_types": ((["sliding_attention"] * 5 + ["full_attention"]) * 11)[:62]}, "62 layers"),
        ({"query_pre_attn_scalar": 256}, "query_pre_attn_scalar=256, not head_dim=16"),
        ({"hidden_activation": "gelu"}, "hidden_activation=gelu"),
        (
            {"rope_parameters": GEMMA_ANGLES | {"full_attention": SCALED}},
            "rope_type=linear of layers of type full_attention",
        ),
        (
            {"rope_parameters": GEMMA_ANGLES | {"sliding_attention": {"rope_theta": 5e3}}},
            "rope_theta=5000.0 of layers of type sliding_attention",
        ),
    ],
)
def test_what_the_configuration_asks_for(changes: dict[str, Any], told: str, make_decoder: Make) -> None:
    of_gemma = re.search("softcapping|6th|62|scalar|activation|of layers of", told)
    model = make_decoder("gemma3_text" if of_gemma else "qwen3")
    for name, value in changes.items():
        setattr(model.config, name, value)
    with pytest.raises(InputError, match=f"config.json has {told}, which GGUF is not written with"):
        require_writable(model)


def test_models_that_write_no_tokens_and_other_families(make_model: Make) -> None:
    with pytest.raises(InputError, match="which writes no tokens"):
        require_writable(make_model("llama"))
    with pytest.raises(InputError, match="of type 'bert'; GGUF is written here of llama, qwen2, qwen3, gemma3_text"):
        require_writable(make_model("bert"))


def test_a_factorized_layer(make_decoder: Make) -> None:
    model = make_decoder("llama")
    path = "model.layers.1.mlp.up_proj"
    replace_module(model, path, LowRankLinear(64, 96, 8, bias=False))
    with pytest.raises(InputError, match=f"{path} is a LowRankLinear, which GGUF has no form for"):
        dict(tensors_of(model))


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)], "smollm"),
        ([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)], None),
    ],
)
def test_what_splits_a_text(parts: list[Any], name: str | None, byte_level: PreTrainedTokenizerFast) -> None:
    byte_level.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    if name is None:
        with pytest.raises(InputError, match="splits texts in a way that has no name in GGUF"):
            gguf_vocabulary(byte_level, 300)
    else:
        assert gguf_vocabulary(byte_level, 300).pre == name


def test_a_tokenizer_that_is_not_byte_level(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="the tokenizer is a WordLevel"):
        gguf_vocabulary(tokenizer, 34)


def test_more_tokens_than_rows(byte_level: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="and the model's embeddings 100 rows"):
        gguf_vocabulary(byte_level, 100)


def test_an_added_token_that_the_model_has_no_row_for(byte_level: PreTrainedTokenizerFast) -> None:
    byte_level.add_tokens(["<image>"])
    size = len(byte_level) - 1
    told = gguf_vocabulary(byte_level, size)
    assert len(told.tokens) == size and "<image>" not in told.tokens
    byte_level.pad_token = "<image>"
    with pytest.raises(InputError, match=f"has token {size}, and the model's embeddings {size} rows"):
        gguf_vocabulary(byte_level, size)


def test_a_float_model_is_float(make_decoder: Make) -> None:
    model = make_decoder("llama")
    stored = dict(tensors_of(model))
    assert {each.form for each in stored.values()} == {"F32"}
    assert "output.weight" not in stored
