"""DeBERTa v2 and v3: distances between tokens go through the matrices of queries and keys."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.methods.training.attention import attention_vectors
from compress.nn.checkpoint import load_model, read_config, save_model, settle
from compress.nn.family import layers_of
from compress.nn.surgery import keep_heads, narrow


@pytest.fixture
def model(make_model: Callable) -> PreTrainedModel:
    """Of four layers, with distances that are felt."""
    found = make_model("deberta-v2")
    with torch.no_grad():
        found.deberta.encoder.rel_embeddings.weight.normal_()
        for layer in layers_of(found):
            for part in layer.parts:
                layer.part(part).weight.mul_(8)
    return found


@pytest.fixture
def words() -> dict[str, Tensor]:
    """Two rows of 9 and 5 tokens."""
    mask = (torch.arange(9) < torch.tensor([9, 5])[:, None]).long()
    ids = torch.randint(4, 34, (2, 9), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids * mask, "attention_mask": mask}


@torch.no_grad()
def logits(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    return model(**batch).logits


def test_heads_leave_with_their_distances(model: PreTrainedModel, words: dict) -> None:
    before, silenced = logits(model, words), copy.deepcopy(model)
    with torch.no_grad():
        layers_of(silenced)[1].part("attention_output").weight[:, [*range(8), *range(16, 24)]] = 0
    keep_heads(model, layers_of(model)[1], torch.tensor([1, 3]))
    torch.testing.assert_close(logits(model, words), logits(silenced, words), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits(model, words), before, rtol=1e-2, atol=1e-3)
    # The distances matter at all.
    with torch.no_grad():
        model.deberta.encoder.rel_embeddings.weight.zero_()
    assert not torch.allclose(logits(model, words), logits(silenced, words), rtol=1e-2, atol=1e-3)


def test_padding_changes_nothing(model: PreTrainedModel, words: dict) -> None:
    alone = {name: value[1:, :5] for name, value in words.items()}
    torch.testing.assert_close(logits(model, words)[1:], logits(model, alone), rtol=1e-4, atol=1e-5)


def test_queries_and_keys_are_those_of_the_tokens(model: PreTrainedModel, words: dict) -> None:
    with attention_vectors(model, 1) as found:
        for batch in (words, {name: value[:1] for name, value in words.items()}):
            states = model(**batch, output_hidden_states=True).hidden_states[0]
            torch.testing.assert_close(found["query"], layers_of(model)[0].part("query")(states))
            assert found["key"].shape == (len(batch["input_ids"]), 9, 32)


def test_narrower(model: PreTrainedModel, words: dict, tmp_path: Path) -> None:
    assert torch.equal(logits(narrow(model, 32), words), logits(model, words))
    hidden = list(range(1, 32, 2))
    with torch.no_grad():
        for layer in layers_of(model):
            layer.part("ffn_out").weight[hidden] *= 10
    found = narrow(model, 16)
    assert torch.equal(
        found.deberta.encoder.rel_embeddings.weight, model.deberta.encoder.rel_embeddings.weight[:, hidden]
    )
    assert (found.config.pooler_hidden_size, found.classifier.in_features) == (16, 16)
    save_model(settle(found), tmp_path)
    assert torch.equal(logits(load_model(tmp_path), words), logits(found, words))


@pytest.mark.parametrize(
    ("name", "value", "meaning"),
    [
        ("share_att_key", False, "distances have matrices of their own"),
        ("relative_attention", False, "its attention knows no distances"),
        ("conv_kernel_size", 3, "a convolution follows its first layer"),
    ],
)
def test_other_forms_are_refused(
    name: str, value: object, meaning: str, model: PreTrainedModel, tmp_path: Path
) -> None:
    setattr(model.config, name, value)
    model.config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=rf"config.json has {name}={value}, so {meaning}; of deberta-v2 models"):
        read_config(tmp_path)
