"""llama.cpp itself on what was written: the same tokens, the same probabilities, the same continuation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GemmaTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from compress.runtimes.gguf.writer import write_gguf

pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")
xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")

TEXT = "the quick jugs, over 12 lazy boxes <think>"


def serve(path: Path) -> Any:
    """A server of this file, with keys and values in FP32."""
    options = xllamacpp.CommonParams()
    options.model.path = str(path)
    options.n_ctx, options.n_parallel, options.n_predict = 64, 1, 8
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.cache_type_k = options.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    options.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    options.warmup = False
    return xllamacpp.Server(options)


def next_token(server: Any, prompt: Any, letter: int) -> tuple[int, np.ndarray]:
    """How many tokens the prompt had, and the log-probability of each that may follow. letter: the token of one."""
    request = {"prompt": prompt, "n_predict": 1, "logprobs": 300, "temperature": 0.0, "cache_prompt": False}
    # It tells no probabilities before a character is whole: a letter is chosen, which the logits told do not see.
    answer = server.handle_completions({**request, "logit_bias": [[letter, 1000.0]]})
    found = np.full(300, np.nan)
    for entry in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
        found[entry["id"]] = entry["logprob"]
    return answer["usage"]["prompt_tokens"], found


@torch.no_grad()
def expected_of(model: PreTrainedModel, ids: list[int]) -> np.ndarray:
    """The same in torch."""
    return model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(dim=-1).numpy()


@pytest.mark.parametrize("blocks", [False, True], ids=["float", "blocks"])
@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3", "gemma3_text"])
def test_it_computes_the_same(
    model_type: str,
    blocks: bool,
    make_decoder: Callable[..., PreTrainedModel],
    quantize_in_blocks: Callable[[PreTrainedModel], PreTrainedModel],
    byte_level: PreTrainedTokenizerFast,
    pieces: GemmaTokenizer,
    tmp_path: Path,
) -> None:
    tokenizer = pieces if model_type == "gemma3_text" else byte_level
    model = make_decoder(model_type)
    model = quantize_in_blocks(model) if blocks else model
    write_gguf(model, tokenizer, tmp_path / "model.gguf")
    server = serve(tmp_path / "model.gguf")
    ids, letter = tokenizer(TEXT).input_ids, tokenizer.convert_tokens_to_ids("b")
    # Given the text, it reads the same tokens.
    count, found = next_token(server, TEXT, letter)
    assert count == len(ids)
    np.testing.assert_array_equal(found, next_token(server, ids, letter)[1])
    for _ in range(4):
        _, found = next_token(server, ids, letter)
        expected = expected_of(model, ids)
        # It rounds what integers are multiplied by to 8 bits in blocks of 32 as well, as ONNX Runtime does; and has
        # GELU, which is Gemma's, in a table of half precision.
        tolerance = 0.25 if blocks else 5e-3 if model_type == "gemma3_text" else 1e-3
        assert np.abs(found - expected).max() < tolerance
        ids = [*ids, int(found.argmax())]
        assert blocks or ids[-1] == expected.argmax()
