"""Marks around pieces, on a clock that goes on by a millisecond whenever it is read."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from compress.core.errors import InputError
from compress.core.placement import Device, DeviceCosts, Taken
from compress.measure.placement import times, torch_device
from compress.measure.placement.times import Timed, kind_of, time_pieces
from compress.nn.family import layers_of

CPU = Device(name="cpu/1", kind="cpu", threads=1)
HALF = Device(name="cpu/1@50%", kind="cpu", threads=1, share=0.5)


def tiny(model_type: str = "llama", **more: Any) -> PreTrainedModel:
    sizes = {
        "vocab_size": 34,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **sizes, **more)).eval()


@pytest.fixture
def steady_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reading is a millisecond after the one before."""
    moments = count()
    clock = SimpleNamespace(perf_counter=lambda: next(moments) / 1000, sleep=lambda seconds: None)
    monkeypatch.setattr(torch_device, "time", clock)


@pytest.mark.usefixtures("steady_clock")
def test_each_piece_is_what_lies_between_two_marks() -> None:
    found = time_pieces(tiny(), [CPU, HALF], prompt_tokens=5, dtype=torch.float32)
    for name, each in (("cpu/1", 1.0), ("cpu/1@50%", 2.0)):
        # A device that works half of the time takes twice as long.
        costs, taken = found[name], pytest.approx(each)
        assert [costs.embeddings.prompt, costs.entry.prompt, costs.head.prompt] == [taken] * 3
        assert [(block.prompt, block.token) for block in costs.blocks] == [(taken, taken)] * 3


def test_a_device_has_its_threads_and_leaves_the_callers_alone() -> None:
    with torch_device.computing_on(Device(name="cpu/2", kind="cpu", threads=2)):
        assert torch.get_num_threads() == 2 and torch.is_inference_mode_enabled()
    assert torch.get_num_threads() == 1 and not torch.is_inference_mode_enabled()


def test_the_fast_calls_count_and_blocks_of_a_kind_are_one() -> None:
    prompts = [Timed(1, 2, (10, 30, 50), 3)] * 5
    # The first quartile of 1 to 5 is 2.
    tokens = [Timed(float(i), 0.5, (1, 3, 100 * i), 0.25) for i in range(1, 6)]
    found = times._costs(prompts, tokens, ["a", "a", "b"], ["a", "b", "a", "b"])  # type: ignore[list-item]
    alike, other = Taken(20, 2), Taken(50, 200)
    assert found == DeviceCosts(
        embeddings=Taken(1, 2), entry=Taken(2, 0.5), blocks=(alike, other, alike, other), head=Taken(3, 0.25)
    )


def test_layers_are_alike_by_their_shapes_and_how_far_they_look_back() -> None:
    model = tiny()
    assert len({kind_of(layer, number) for number, layer in enumerate(layers_of(model))}) == 1
    model.model.layers[1].mlp.up_proj = torch.nn.Linear(32, 8, bias=False)
    assert [
        kind_of(layer, number) == kind_of(layers_of(model)[0], 0) for number, layer in enumerate(layers_of(model))
    ] == [
        True,
        False,
        True,
    ]
    windows = tiny("qwen2", use_sliding_window=True, sliding_window=3, max_window_layers=2)
    first, second, third = (kind_of(layer, number) for number, layer in enumerate(layers_of(windows)))
    assert first == second != third


@pytest.mark.usefixtures("steady_clock")
def test_as_many_layers_are_timed_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(tie_word_embeddings=False)
    # A layer is 9,280 numbers; embeddings and head 34 x 32 each, and a norm of 32.
    layer, around = 9280 * 4, (2 * 34 * 32 + 32) * 4
    kinds = [kind_of(one, number) for number, one in enumerate(layers_of(model))]

    def chosen(room: float) -> list[int]:
        monkeypatch.setattr(times, "free_bytes", lambda device: room / times.MOST_OF_FREE + 1)
        return times._chosen(model, kinds, CPU, torch.float32)

    assert chosen(around + 3 * layer) == [0, 1, 2]
    assert chosen(around + 2 * layer) == [0, 1]
    assert times._chosen(model, ["a", "a", "b"], CPU, torch.float32) == [0, 2]  # type: ignore[list-item]
    # Each takes half in bfloat16.
    assert times._chosen(model, kinds, CPU, torch.bfloat16) == [0, 1, 2]
    with pytest.raises(InputError, match="names cpu/1, where"):
        chosen(around + layer - 8)
    # Fewer layers than the model has, and yet costs of all.
    chosen(around + 2 * layer)
    assert len(time_pieces(model, [CPU], prompt_tokens=2, dtype=torch.float32)["cpu/1"].blocks) == 3
