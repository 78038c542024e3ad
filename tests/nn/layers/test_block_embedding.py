"""A table in int8 blocks, alone and read by a head, and a model with both saved once and loaded again."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn, tensor
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from compress.core.errors import InputError
from compress.nn.checkpoint import load_model, save_model
from compress.nn.layers import Int8BlockEmbedding, TiedBlockHead
from compress.nn.layers.embedding import rows_as_read


def tied_model(model_type: str = "llama") -> PreTrainedModel:
    """A tiny decoder whose head and embeddings are one table in int8 blocks."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 50, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = AutoConfig.for_model(model_type, **sizes, **heads, tie_word_embeddings=True)
    model = AutoModelForCausalLM.from_config(config).eval()
    table = Int8BlockEmbedding.of(model.get_input_embeddings())
    model.model.embed_tokens = table
    model.lm_head = TiedBlockHead(32, 50).read(table)
    return model.eval()


def test_by_hand() -> None:
    table = nn.Embedding(2, 33)
    with torch.no_grad():
        table.weight.zero_()
        table.weight[1, 0], table.weight[1, 1], table.weight[1, 32] = 63.5, -1.0, 12.7
    layer = Int8BlockEmbedding.of(table)
    assert layer.weight_blocks[1, [0, 1, 31, 32]].tolist() == [127, -2, 0, 127]
    assert layer.weight_scale.tolist() == [[0, 0], [0.5, pytest.approx(0.1, rel=1e-3)]]
    assert layer(tensor([[1, 0]]))[0, :, :3].tolist() == [[63.5, -1, 0], [0, 0, 0]]
    assert layer.factor is None


def test_a_factor_is_no_part_of_what_the_head_reads() -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model("gemma3_text", hidden_size=32, vocab_size=20, num_hidden_layers=1, head_dim=8)
    table = AutoModelForCausalLM.from_config(config).get_input_embeddings()
    layer = Int8BlockEmbedding.of(table)
    assert float(layer.factor) == pytest.approx(32**0.5, rel=1e-3)
    largest = float(table.weight.detach().abs().max())
    torch.testing.assert_close(layer.weight, table.weight.detach(), rtol=0, atol=largest / 127)
    torch.testing.assert_close(layer(torch.arange(20)), rows_as_read(table), rtol=0, atol=6 * largest / 127)


def test_a_head_reads_the_table() -> None:
    table, inputs = Int8BlockEmbedding.of(nn.Embedding(9, 40)), torch.randn(2, 40)
    head = TiedBlockHead(40, 9).read(table)
    assert torch.equal(head(inputs), functional.linear(inputs, table.weight))
    assert not head.state_dict()
    # A copy of both is tied to its own.
    both = copy.deepcopy(nn.ModuleList([table, head]))
    assert both[1].table is both[0]


def test_a_head_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="9 x 40 is no head of 40 to 8"):
        TiedBlockHead(40, 8).read(Int8BlockEmbedding.of(nn.Embedding(9, 40)))
    with pytest.raises(ValueError, match="no table yet"):
        TiedBlockHead(40, 8)(torch.zeros(1, 40))


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3", "gemma3_text"])
def test_a_tied_model_is_saved_once_and_loaded_again(model_type: str, tmp_path: Path) -> None:
    model, ids = tied_model(model_type), torch.arange(12).reshape(2, 6)
    save_model(model, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert [name for name, value in stored.items() if value.dtype == torch.int8] == ["model.embed_tokens.weight_blocks"]
    # A loader that knows nothing of this stops at both.
    assert stored["lm_head.weight"].numel() == stored["model.embed_tokens.weight"].numel() == 0
    again = load_model(tmp_path)
    assert again.lm_head.table is again.get_input_embeddings()
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)


def test_a_head_without_its_table_is_refused(tmp_path: Path) -> None:
    save_model(tied_model(), tmp_path)
    structure = json.loads((tmp_path / "structure.json").read_text(encoding="utf-8"))
    del structure["edits"]["model.embed_tokens"]
    (tmp_path / "structure.json").write_text(json.dumps(structure), encoding="utf-8")
    with pytest.raises(InputError, match="ties lm_head to a table in int8 blocks, and there is none"):
        load_model(tmp_path)
