"""Times as a file holds them."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from compress.core.placement import Costs, DeviceCosts, Link, Taken

BLOCK, END = {"prompt_ms": 20, "token_ms": 4.5}, {"prompt_ms": 1, "token_ms": 0.5}
WRITTEN: dict[str, Any] = {
    "format": 1,
    "blocks": 3,
    "hidden_size": 64,
    "prompt_tokens": 128,
    "bits": 16,
    "devices": {"cuda": {"embeddings": END, "entry": END, "blocks": [BLOCK], "head": END}},
    "links": [{"from": "cuda", "to": "cpu", "latency_ms": 0.5, "bytes_per_s": 1000}],
}


def test_one_block_may_stand_for_all_and_a_link_for_both_ways() -> None:
    costs = Costs.from_json(WRITTEN)
    end = Taken(1.0, 0.5)
    assert costs.devices == {"cuda": DeviceCosts(embeddings=end, entry=end, blocks=(Taken(20.0, 4.5),) * 3, head=end)}
    # Half a millisecond, and 50 bytes at 1,000 a second.
    assert costs.link("cpu", "cuda") == Link(0.5, 1000.0)
    assert costs.link("cuda", "cpu").milliseconds(50) == 50.5
    with pytest.raises(KeyError):
        costs.link("cuda", "cuda:1")


def test_what_is_written_is_read_again() -> None:
    costs = Costs.from_json(WRITTEN)
    assert Costs.from_json(json.loads(json.dumps(costs.to_json()))) == costs
    different = copy.deepcopy(WRITTEN)
    different["devices"]["cuda"]["blocks"] = [BLOCK, END, BLOCK]
    costs = Costs.from_json(different)
    assert [block.token for block in costs.devices["cuda"].blocks] == [4.5, 0.5, 4.5]
    assert Costs.from_json(json.loads(json.dumps(costs.to_json()))) == costs


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("format",), 2, "format is 2, and this release reads format 1"),
        (("blocks",), "3", "blocks is '3', no int"),
        (("blocks",), 0, "at least 1"),
        (("bits",), 8, "bits must be 32 or 16"),
        (("devices",), [], "devices is missing, or no object"),
        (("devices", "cuda"), 3, "devices.cuda is missing, or no object"),
        (("devices", "cuda", "blocks"), [BLOCK, BLOCK], "devices.cuda.blocks must be an array of 3, or of one"),
        (("devices", "cuda", "blocks"), [{"prompt_ms": 1}], "devices.cuda.blocks.0.token_ms is None"),
        (("devices", "cuda", "head"), {"prompt_ms": -1, "token_ms": 1}, "devices.cuda.head.prompt_ms is -1"),
        (("devices", "cuda", "entry"), {"prompt_ms": True, "token_ms": 1}, "devices.cuda.entry.prompt_ms is True"),
        (("links",), {}, "links is no array"),
        (("links",), [{"latency_ms": 1, "bytes_per_s": 0}], "links.0.bytes_per_s is 0"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(path: tuple[str, ...], value: Any, told: str) -> None:
    data = copy.deepcopy(WRITTEN)
    place = data
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(ValueError) as error:
        Costs.from_json(data)
    assert told in str(error.value)
