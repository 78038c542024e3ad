"""llama.cpp itself on what was written: the same tokens, the same probabilities, the same continuation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

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


def complete(server: Any, prompt: Any, tokens: int, probabilities: int) -> dict[str, Any]:
    """What it goes on with, greedily."""
    request = {
        "prompt": prompt,
        "n_predict": tokens,
        "n_probs": probabilities,
        "temperature": 0.0,
        "cache_prompt": False,
    }
    return server.handle_completions({**request, "return_tokens": True, "ignore_eos": True})


@pytest.mark.parametrize("blocks", [False, True], ids=["float", "blocks"])
@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
def test_it_computes_the_same(
    model_type: str,
    blocks: bool,
    make_decoder: Callable[..., PreTrainedModel],
    quantize_in_blocks: Callable[[PreTrainedModel], PreTrainedModel],
    byte_level: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    model = make_decoder(model_type)
    model = quantize_in_blocks(model) if blocks else model
    write_gguf(model, byte_level, tmp_path / "model.gguf")
    server = serve(tmp_path / "model.gguf")
    ids = byte_level(TEXT).input_ids
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(dim=-1).numpy()
    answer = complete(server, ids, 1, 300)
    found = np.full(300, np.nan)
    for entry in answer["completion_probabilities"][0]["top_logprobs"]:
        found[entry["id"]] = entry["logprob"]
    assert np.isfinite(found).all()
    # It rounds what is multiplied by integers to 8 bits in blocks of 32 as well, as ONNX Runtime does.
    assert np.abs(found - expected).max() < (0.25 if blocks else 2e-3)
    assert np.corrcoef(found, expected)[0, 1] > (0.995 if blocks else 0.999999)
    # Given the text, it reads the same tokens.
    assert complete(server, TEXT, 1, 0)["tokens_evaluated"] == len(ids)
    assert complete(server, TEXT, 4, 0)["tokens"] == complete(server, ids, 4, 0)["tokens"]
    if not blocks:
        greedy = model.generate(torch.tensor([ids]), max_new_tokens=4, min_new_tokens=4, do_sample=False)
        assert complete(server, ids, 4, 0)["tokens"] == greedy[0, len(ids) :].tolist()
