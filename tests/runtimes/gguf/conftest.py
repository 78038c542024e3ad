"""Tiny causal language models, a byte-level tokenizer and one of pieces, for what reads GGUF."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, GemmaTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from compress.nn.layers import Int4BlockLinear, Int8BlockEmbedding, Int8BlockLinear, TiedBlockHead
from compress.nn.structure import replace_module

TOKENS = 300
TEXT = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs"] * 3


def gguf_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with GPT-2's splitting: two special tokens, an added word, a few merges."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|start|>", "<|end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=TOKENS - 4, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=special[0], eos_token=special[1])
    tokenizer.add_tokens(["<think>"])
    tokenizer.chat_template = "{{ messages[0].content }}"
    return tokenizer


def pieces_tokenizer() -> GemmaTokenizer:
    """As Gemma's, of 300 tokens: special ones, all bytes, letters and what is found in the texts, and an added word. Of
    each piece all pairs that make it are merges, one after the other."""
    backend = Tokenizer(models.BPE())
    backend.train_from_iterator(
        [text.replace(" ", "\u2581") for text in TEXT],
        trainers.BpeTrainer(vocab_size=TOKENS - 261, show_progress=False),
    )
    learned = [name for name, _ in sorted(backend.get_vocab().items(), key=lambda item: item[1])]
    names = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *learned]
    merges = [
        (name[:at], name[at:])
        for name in learned
        for at in range(1, len(name))
        if name[:at] in learned and name[at:] in learned
    ]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=merges, mask_token=None)
    tokenizer.add_tokens(["<think>"])
    return tokenizer


def tiny_decoder(model_type: str, tied: bool = True) -> PreTrainedModel:
    """Two layers, 64 wide, 4 heads of 16 that share 2 keys and values, 96 neurons. Of Gemma 3 seven, of which one sees
    more than the last five tokens, and no norm is as it begins."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": TOKENS}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    more = {"tie_word_embeddings": tied, "max_position_embeddings": 64, "initializer_range": 0.2}
    if model_type == "gemma3_text":
        more |= {"query_pre_attn_scalar": 16, "sliding_window": 5}
        sizes["num_hidden_layers"] = 7
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **sizes, **heads, **more)).eval()
    for name, weight in model.named_parameters():
        if model_type == "gemma3_text" and "norm" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return model


def in_blocks(model: PreTrainedModel) -> PreTrainedModel:
    """Attention in 8 bits, the FFN in 4, a tied table in 8."""
    head = model.get_output_embeddings()
    for path, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and module is not head:
            replace_module(model, path, (Int4BlockLinear if ".mlp." in path else Int8BlockLinear).of(module))
    table = Int8BlockEmbedding.of(model.get_input_embeddings())
    tied = head.weight is model.get_input_embeddings().weight
    replace_module(model, "model.embed_tokens", table)
    replace_module(model, "lm_head", TiedBlockHead(64, TOKENS).read(table) if tied else Int8BlockLinear.of(head))
    return model.eval()


@pytest.fixture
def byte_level() -> PreTrainedTokenizerFast:
    """The tokenizer."""
    return gguf_tokenizer()


@pytest.fixture
def pieces() -> GemmaTokenizer:
    """The tokenizer of pieces."""
    return pieces_tokenizer()


@pytest.fixture
def make_decoder() -> Callable[..., PreTrainedModel]:
    """`make_decoder(model_type, tied=True)`."""
    return tiny_decoder


@pytest.fixture
def quantize_in_blocks() -> Callable[[PreTrainedModel], PreTrainedModel]:
    """Every weight of a decoder as integers."""
    return in_blocks
