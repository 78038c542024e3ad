"""GGUF files as models to begin with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.methods.teachers.folder import FolderTeacher
from compress.runtimes.gguf.writer import write_gguf
from compress.tasks.causal_lm import CausalLanguageModel

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed: pip install '.[gguf]'")

TASK = CausalLanguageModel(text="text", max_length=12, prompt_tokens=4, new_tokens=3)


@pytest.fixture
def byte_level(make_byte_level: Callable[..., PreTrainedTokenizerFast]) -> PreTrainedTokenizerFast:
    """Letters, a few merges of two, and a mark of the end."""
    return make_byte_level(["the lazy dog and the other lazy dog"] * 3, 262)


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
def test_it_is_the_model_that_was_written(
    model_type: str,
    byte_level: PreTrainedTokenizerFast,
    tmp_path: Path,
    make_decoder: Callable[..., PreTrainedModel],
) -> None:
    expected = make_decoder(model_type, vocab_size=262, num_hidden_layers=2, tie_word_embeddings=True, eos_token_id=0)
    write_gguf(expected, byte_level, tmp_path / "model.gguf")
    teacher = FolderTeacher(path=str(tmp_path / "model.gguf"))
    teacher.check_files()
    read, processor = teacher.read(TASK, Dataset.from_dict({"text": []}))
    found = teacher.look(TASK, read)
    tokens = torch.tensor([[5, 99, 200, 256, 0]])
    with torch.no_grad():
        torch.testing.assert_close(found(tokens).logits, expected(tokens).logits, rtol=1e-5, atol=1e-5)
    assert processor("the d\u00f6g<|end|>").input_ids == byte_level("the d\u00f6g<|end|>").input_ids


def _of_architecture(path: Path, name: str) -> None:
    writer = gguf.GGUFWriter(path, name)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda path: _of_architecture(path, "qwen3moe"), "of the architecture 'qwen3moe'; llama, qwen2, qwen3 can"),
        (lambda path: path.write_bytes(b"PK\x03\x04"), "does not begin as GGUF does"),
        (lambda path: path.write_bytes(b"GGUF\x03\x00"), "damaged or incomplete"),
    ],
)
def test_what_cannot_be_read_is_refused(write: Callable[[Path], None], told: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write(path)
    with pytest.raises(InputError, match=told):
        FolderTeacher(path=str(path)).check_files()
