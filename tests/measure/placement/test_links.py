"""What goes between two devices."""

from __future__ import annotations

import pytest

from compress.core.placement import Device, Link
from compress.measure.placement.links import link_of, time_links


def test_latency_is_of_the_small_message_and_bytes_of_the_rest() -> None:
    # A large message takes 5 ms more: 1,000,000 bytes in that.
    link = link_of(0.002, 0.007, 1_000_000)
    assert link.latency_ms == pytest.approx(2.0)
    assert link.bytes_per_s == pytest.approx(2e8)
    assert link.milliseconds(100_000) == pytest.approx(2.5)


def test_a_large_message_that_came_no_later_costs_its_latency_alone() -> None:
    assert link_of(0.002, 0.001, 1_000_000).milliseconds(1_000_000) == pytest.approx(2.0, abs=1e-5)


def test_two_cpu_devices_are_linked_both_ways_by_a_pipe_to_another_process() -> None:
    one, other = (Device(name=name, kind="cpu", threads=1) for name in ("cpu/1", "cpu/1@50%"))
    found = time_links([one, other], hidden_bytes=128, prompt_tokens=4)
    assert set(found) == {("cpu/1", "cpu/1@50%"), ("cpu/1@50%", "cpu/1")}
    assert all(isinstance(link, Link) and link.latency_ms > 0 and link.bytes_per_s > 0 for link in found.values())
    assert time_links([one], hidden_bytes=128, prompt_tokens=4) == {}
