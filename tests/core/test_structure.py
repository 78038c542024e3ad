"""A Structure as JSON and back, and what a malformed file says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.core.structure import Edit, Structure

STRUCTURE = Structure(
    edits={
        "b.dense": Edit("low_rank", {"inputs": 4, "outputs": 8, "rank": 2, "bias": 1}),
        "a.dense": Edit("linear", {"inputs": 4, "outputs": 2, "bias": 0}),
    },
    attributes={"a.attention": {"num_attention_heads": 2}},
)
JSON = {
    "format": 1,
    "edits": {
        "a.dense": {"kind": "linear", "sizes": {"inputs": 4, "outputs": 2, "bias": 0}},
        "b.dense": {"kind": "low_rank", "sizes": {"inputs": 4, "outputs": 8, "rank": 2, "bias": 1}},
    },
    "attributes": {"a.attention": {"num_attention_heads": 2}},
}


def test_written_in_order_of_path() -> None:
    assert STRUCTURE.to_json() == JSON
    assert list(STRUCTURE.to_json()["edits"]) == ["a.dense", "b.dense"]


def test_round_trip() -> None:
    assert Structure.from_json(json.loads(json.dumps(STRUCTURE.to_json()))) == STRUCTURE
    assert Structure.from_json(Structure().to_json()) == Structure()


def test_plain_and_kinds() -> None:
    assert Structure().is_plain
    assert not Structure(attributes={"a": {"n_heads": 2}}).is_plain
    assert not STRUCTURE.is_plain
    assert STRUCTURE.kinds() == {"linear", "low_rank"}


@pytest.mark.parametrize(
    "change",
    [
        {"edits": []},
        {"edits": {"a": None}},
        {"edits": {"a": {"kind": "linear"}}},
        {"edits": {"a": {"kind": "linear", "sizes": {"inputs": -1}}}},
        {"edits": {"a": {"kind": "linear", "sizes": {"inputs": 1.5}}}},
        {"edits": {"a": {"kind": "linear", "sizes": {"inputs": "4"}}}},
        {"edits": {"a": {"kind": "linear", "sizes": {"inputs": True}}}},
        {"attributes": {"a": 3}},
        {"attributes": {"a": {"num_attention_heads": None}}},
        {"attributes": None},
    ],
)
def test_malformed(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"malformed"):
        Structure.from_json({**JSON, **change})


@pytest.mark.parametrize("data", [None, [], "text", 3, {}, {"format": 1}])
def test_not_even_a_structure(data: Any) -> None:
    with pytest.raises(InputError, match=r"malformed"):
        Structure.from_json(data)


def test_another_release() -> None:
    with pytest.raises(InputError, match=r"format 2; this release reads format 1"):
        Structure.from_json({**JSON, "format": 2})
