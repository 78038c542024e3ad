"""What other programs are given, and that they take it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import dispatch_model
from accelerate.utils import check_device_map
from transformers import AutoModelForCausalLM, PreTrainedModel

from compress.core.placement import Device
from compress.deploy.placement.files import device_map, gpu_layers, layers_of_devices
from compress.deploy.placement.place import without_times
from compress.deploy.placement.problem import Needs, Placement, Run
from compress.nn.pieces import pieces_of

DEVICES = {
    "cuda:1": Device(name="cuda:1", kind="cuda", index=1),
    "cpu/2": Device(name="cpu/2", kind="cpu", threads=2),
}
PLAN = Placement("cpu/2", (Run("cpu/2", 0, 1), Run("cuda:1", 1, 3)), "cuda:1")


@pytest.fixture(scope="module")
def model(make_decoder: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    return make_decoder(num_hidden_layers=3, pad_token_id=0)


def test_a_device_map_names_every_module_as_transformers_does(model: PreTrainedModel) -> None:
    found = device_map(pieces_of(model), PLAN, DEVICES)
    assert found == {
        "model.embed_tokens": "cpu",
        "model.rotary_emb": "cpu",
        "model.layers.0": "cpu",
        "model.layers.1": 1,
        "model.layers.2": 1,
        "model.norm": 1,
        "lm_head": 1,
    }
    check_device_map(model, found)
    with pytest.raises(ValueError, match="does not give any device"):
        check_device_map(model, {name: place for name, place in found.items() if name != "model.norm"})


def test_accelerate_and_transformers_take_it(model: PreTrainedModel, tmp_path: Path) -> None:
    on_cpu = {name: Device(name=name, kind="cpu") for name in DEVICES}
    given = device_map(pieces_of(model), PLAN, on_cpu)
    tokens = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        expected = model(input_ids=tokens).logits
        model.save_pretrained(tmp_path / "model")
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", device_map=given)
        torch.testing.assert_close(loaded(input_ids=tokens).logits, expected)
        dispatched = dispatch_model(copy.deepcopy(model), given, force_hooks=True)
        torch.testing.assert_close(dispatched(input_ids=tokens).logits, expected)


def test_every_device_is_told_what_it_holds() -> None:
    assert layers_of_devices(PLAN) == {
        "cpu/2": {"embeddings": True, "layers": [0], "head": False},
        "cuda:1": {"embeddings": False, "layers": [1, 2], "head": True},
    }


@pytest.mark.parametrize(
    ("memory", "plan", "count"),
    [
        # Two blocks and the head, which fit: 3 + 10 + 50.
        (63, PLAN, 3),
        (62, PLAN, 2),
        (13, PLAN, 1),
        (12, PLAN, 0),
        # No more than planned, though all would fit.
        (1000, PLAN, 3),
        (1000, Placement("cpu/2", (Run("cpu/2", 0, 3),), "cpu/2"), 0),
        (1000, Placement("cpu/2", (Run("cuda:1", 0, 3),), "cuda:1"), 4),
    ],
)
def test_layers_on_the_gpu_are_counted_as_llama_cpp_does(memory: int, plan: Placement, count: int) -> None:
    needs = Needs(embeddings=10, blocks=(20,) * 3, caches=(5,) * 3, head=10, shared=0, activations=3)
    problem = without_times(needs, {"cuda:1": memory, "cpu/2": 1000})
    assert gpu_layers(problem, plan, ["cuda:1"]) == count
