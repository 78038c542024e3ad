"""Parts in a ring: every request has all its tokens, and what is counted of their moments."""

from __future__ import annotations

import copy
import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from compress.core.errors import StageError
from compress.core.placement import Device, Step
from compress.measure.placement.pipeline import Server, Workers, _packed, part_of, period_of, run_placement

ONE = Device(name="cpu/1", kind="cpu", threads=1)
OTHER = Device(name="cpu/1@50%", kind="cpu", threads=1, share=0.5)
# The first device is passed twice: before the other, and for the head.
STEPS = (
    Step("cpu/1", True, 0, 1, False),
    Step("cpu/1@50%", False, 1, 3, False),
    Step("cpu/1", False, 3, 3, True),
)


@pytest.fixture(scope="module")
def model(make_decoder: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    return make_decoder(num_hidden_layers=3, max_position_embeddings=100)


class Chosen(Server):
    """Notes which tokens were chosen."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.tokens: dict[int, list[int]] = {}

    def _chosen(self, message, token) -> None:  # type: ignore[no-untyped-def]
        self.tokens.setdefault(message.request, []).append(int(token.item()))
        super()._chosen(message, token)


@torch.inference_mode()
def greedy(model: PreTrainedModel, prompt_tokens: int, tokens: int) -> list[int]:
    """What the whole model says after a prompt of zeros, anew for each token."""
    said = [0] * prompt_tokens
    for _ in range(tokens + 1):
        said.append(int(model(input_ids=torch.tensor([said])).logits[0, -1].argmax()))
    return said[prompt_tokens:]


def test_two_devices_say_what_the_whole_model_says(model: PreTrainedModel) -> None:
    there, back = multiprocessing.Pipe(duplex=False), multiprocessing.Pipe(duplex=False)
    controls = [multiprocessing.Pipe() for _ in range(2)]
    parts = [part_of(copy.deepcopy(model), step) for step in STEPS]
    common = (len(STEPS), ONE, torch.float32)
    first = Chosen({0: parts[0], 2: parts[2]}, *common, [back[0]], {1: there[1]}, controls[0][1])
    second = Chosen({1: parts[1]}, *common, [there[0]], {2: back[1]}, controls[1][1])

    def run(server: Server) -> None:
        with torch.inference_mode():
            server.run()

    threads = [threading.Thread(target=run, args=(server,), daemon=True) for server in (first, second)]
    for thread in threads:
        thread.start()
    for ours, _ in controls:
        ours.send(("forget", 2, 5, 4))
        assert ours.recv() == "done"
    controls[0][0].send(("begin",))
    assert controls[0][0].poll(60)
    moments = controls[0][0].recv()
    expected = greedy(model, 4, 5)
    assert first.tokens == {0: expected, 1: expected}
    # When it began, the token after the prompt, and five more.
    assert {request: len(found) for request, found in moments.items()} == {0: 7, 1: 7}
    # The second prompt begins when the first has its first token.
    assert moments[1][0] >= moments[0][1]
    for ours, _ in controls:
        ours.close()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_the_period_is_counted_while_both_are_in_flight() -> None:
    # The second has its first token at 30, and the first its last at 70: of what is between, gaps of 10 and of 14.
    # Before, the first was alone, and fast.
    moments = {0: [0, 10, 11, 12, 13, 30, 40, 50, 60, 70], 1: [12, 30, 44, 58, 100]}
    assert period_of(moments) == pytest.approx(10 / 2)


def test_halves_go_through_a_pipe_as_they_are() -> None:
    values = torch.tensor([[1.5, -2.25]], dtype=torch.bfloat16)
    packed = _packed(values)
    assert packed.dtype == "int16"
    assert torch.equal(torch.from_numpy(packed).view(torch.bfloat16), values)


def test_a_process_that_ends_is_not_waited_for() -> None:
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(0,))
    process.start()
    ours, _theirs = multiprocessing.Pipe()
    with pytest.raises(StageError, match="--verify: the process that ran blocks on cpu/1 ended by itself"):
        Workers({"cpu/1": ours}, {"cpu/1": process}).answer("cpu/1")


def test_a_process_for_each_device_gives_times(model: PreTrainedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    devices = {device.name: device for device in (ONE, OTHER)}
    ran = run_placement(tmp_path, STEPS, devices, bits=32, prompt_tokens=4)
    assert ran.prompt > 0 and ran.token > 0 and ran.period > 0
