"""Which layers of a part become which, by the precision that a recipe ends with."""

from __future__ import annotations

import pytest
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from compress.measure.rounded import rounded


def kinds(module: nn.Module, precision: str) -> dict[str, str]:
    """The class of each layer that has weights, by its path."""
    ((key, found),) = rounded([("part", module.train())], precision)
    assert key == "part" and not found.training
    names = {path: type(part).__name__ for path, part in found.named_modules()}
    return {path: name for path, name in names.items() if name.endswith(("Linear", "Embedding"))}


@pytest.mark.parametrize(
    ("precision", "linear"),
    [
        ("float", "Linear"),
        ("dynamic", "Int8DynamicLinear"),
        ("static", "Int8StaticLinear"),
        ("blocks", "Int8BlockLinear"),
        ("blocks4", "Int4BlockLinear"),
    ],
)
def test_of_a_part_every_linear_layer_is_rounded(precision: str, linear: str) -> None:
    part = nn.Sequential(nn.Embedding(4, 32), nn.Linear(32, 32), nn.Sequential(nn.GELU(), nn.Linear(32, 2)))
    # A table that is no model's word embedding is left.
    assert kinds(part, precision) == {"0": "Embedding", "1": linear, "2.1": linear}


def test_a_static_scale_has_its_zero_in_the_middle() -> None:
    ((_, part),) = rounded([("part", nn.Sequential(nn.Linear(2, 2)))], "static")
    assert int(part.get_buffer("0.input_zero_point")) == 128
    assert float(part.get_buffer("0.input_scale")) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("precision", "words", "inside", "outside"),
    [
        ("float", "Embedding", "Linear", "Linear"),
        ("dynamic", "Int8Embedding", "Int8DynamicLinear", "Int8DynamicLinear"),
        ("blocks", "Int8BlockEmbedding", "Int8BlockLinear", "Int8BlockLinear"),
        # Four bits within the layers only.
        ("blocks4", "Int8BlockEmbedding", "Int4BlockLinear", "Int8BlockLinear"),
    ],
)
def test_of_a_model_the_words_are_rounded_and_no_other_table(
    precision: str, words: str, inside: str, outside: str
) -> None:
    config = BertConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, num_labels=2
    )
    found = kinds(BertForSequenceClassification(config), precision)
    assert found["bert.embeddings.word_embeddings"] == words
    assert found["bert.embeddings.position_embeddings"] == "Embedding"
    assert {kind for path, kind in found.items() if path.startswith("bert.encoder.layer.0.")} == {inside}
    assert (found["bert.pooler.dense"], found["classifier"]) == (outside, outside)
