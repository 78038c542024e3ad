"""GGUF files as models to begin with."""

from __future__ import annotations

import struct
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


@pytest.fixture
def whole(byte_level: PreTrainedTokenizerFast, tmp_path: Path, make_decoder: Callable[..., PreTrainedModel]) -> Path:
    """A Llama of two layers, 64 neurons, 4 heads of 8."""
    model = make_decoder("llama", vocab_size=262, num_hidden_layers=2, tie_word_embeddings=True, eos_token_id=0)
    write_gguf(model, byte_level, tmp_path / "model.gguf")
    return tmp_path / "model.gguf"


def _with_setting(path: Path, name: str, value: int) -> None:
    """Write another whole number, of 32 bits, in the place of the one that it has."""
    data, key = bytearray(path.read_bytes()), name.encode()
    place = data.index(struct.pack("<Q", len(key)) + key) + 8 + len(key)
    assert struct.unpack_from("<I", data, place) == (4,)
    struct.pack_into("<I", data, place + 4, value)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("llama.block_count", 2**32 - 1, r"block_count is 4294967295, and it has \d+ tensors"),
        ("llama.block_count", 3, r"a model with blk\.2\.attn_k\.weight, and it has no such tensor"),
        ("llama.block_count", 1, r"has the tensor 'blk\.1\.attn_k\.weight', and Transformers would leave it out"),
        ("llama.block_count", 0, r"block_count is 0, no whole number from 1 on"),
        ("llama.embedding_length", 2**31, r"has the sizes \(\d+, \d+\), where its settings ask for"),
        ("llama.feed_forward_length", 2**32 - 1, r"ffn_\w+\.weight has the sizes .* ask for \(4294967295, 32\)"),
        ("llama.attention.head_count", 2**30, r"attn_\w+\.weight has the sizes"),
        ("llama.attention.head_count", 3, r"its 3 heads cannot share 2 keys and values"),
        ("llama.attention.key_length", 2**31, r"value_length is not 2147483648, the width of a head"),
        ("llama.vocab_size", 2**31, r"vocab_size is not 262, the tokens that it has"),
    ],
)
def test_settings_that_its_tensors_contradict(whole: Path, name: str, value: int, told: str) -> None:
    """Before a model of such sizes is made, and before weights are drawn that are not there."""
    _with_setting(whole, name, value)
    with pytest.raises(InputError, match=told):
        FolderTeacher(path=str(whole)).check_files()


def test_positions_that_are_stretched(whole: Path) -> None:
    data = whole.read_bytes()
    key = b"llama.rope.scaling.type"
    added = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, 4) + b"yarn"
    count = struct.unpack_from("<Q", data, 16)[0]
    # What follows moves by as many bytes as weights are aligned at.
    name = b"x" * (-(len(added) + 8 + 4 + 1) % 32)
    added += struct.pack("<Q", len(name)) + name + struct.pack("<IB", 0, 0)
    whole.write_bytes(data[:16] + struct.pack("<Q", count + 2) + added + data[24:])
    with pytest.raises(InputError, match=r"rope\.scaling\.type is 'yarn'; only none can be read"):
        FolderTeacher(path=str(whole)).check_files()


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
        (lambda path: path.write_bytes(b""), "damaged or incomplete"),
        (lambda path: path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 62, 0)), "4611686018427387904 tensors"),
    ],
)
def test_what_cannot_be_read_is_refused(write: Callable[[Path], None], told: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write(path)
    with pytest.raises(InputError, match=told):
        FolderTeacher(path=str(path)).check_files()
