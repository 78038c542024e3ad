"""What an export says of itself outlives the release that wrote it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from compress.core.evaluation import BatchEffect
from compress.core.serving import Serving
from compress.core.signature import BATCH, SEQUENCE, Port, Signature

SERVING = Serving(
    pipeline_tag="token-classification",
    signature=Signature(
        inputs=(Port("input_ids", (BATCH, SEQUENCE), "int64"), Port("attention_mask", (BATCH, SEQUENCE), "int64")),
        output=Port("logits", (BATCH, SEQUENCE, "labels"), "float32"),
        mask="attention_mask",
    ),
    batch_effect=BatchEffect(rows=256, batch=32, largest_difference=0.01, changed=2),
)


def test_it_comes_back_from_a_file() -> None:
    found = Serving.from_json(json.loads(json.dumps(SERVING.to_json())))
    assert found == SERVING
    assert found.signature.per_position


def test_the_words_in_the_file_are_these() -> None:
    """Exports lie on disks for years: a field of ours that gets another name must not change them."""
    assert json.loads(json.dumps(SERVING.to_json())) == {
        "pipeline_tag": "token-classification",
        "signature": {
            "inputs": [
                {"name": "input_ids", "axes": ["batch", "sequence"], "dtype": "int64"},
                {"name": "attention_mask", "axes": ["batch", "sequence"], "dtype": "int64"},
            ],
            "output": {"name": "logits", "axes": ["batch", "sequence", "labels"], "dtype": "float32"},
            "mask": "attention_mask",
        },
        "batch_effect": {"rows": 256, "batch": 32, "largest_difference": 0.01, "changed": 2},
    }


def test_outputs_besides_are_told_by_name() -> None:
    bits = Port("sentence_embedding_ubinary", (BATCH, "bytes"), "uint8")
    more = dataclasses.replace(SERVING, signature=dataclasses.replace(SERVING.signature, more=(bits,)))
    told = json.loads(json.dumps(more.to_json()))
    assert told["signature"]["more"] == [
        {"name": "sentence_embedding_ubinary", "axes": ["batch", "bytes"], "dtype": "uint8"}
    ]
    assert Serving.from_json(told) == more


def test_what_another_release_says_besides_is_left_aside() -> None:
    told = SERVING.to_json()
    told["later"] = 1
    told["signature"]["later"] = {"a": 1}
    assert Serving.from_json(told) == SERVING


@pytest.mark.parametrize("name", ["pipeline_tag", "signature", "batch_effect"])
def test_what_is_missing_is_missed(name: str) -> None:
    told = SERVING.to_json()
    del told[name]
    with pytest.raises(KeyError, match=name):
        Serving.from_json(told)
