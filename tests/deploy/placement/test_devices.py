"""Devices as users write them."""

from __future__ import annotations

import pytest

from compress.core.errors import InputError
from compress.core.placement import Device
from compress.deploy.placement.devices import read_devices, require_here


def test_devices_are_read_in_order_with_their_memory() -> None:
    assert list(read_devices("cuda:6GiB, cuda:1:1.5GB,cpu/2@50%:300MiB,cpu:16GiB").items()) == [
        (Device(name="cuda", kind="cuda"), 6 * 2**30),
        (Device(name="cuda:1", kind="cuda", index=1), 1_500_000_000),
        (Device(name="cpu/2@50%", kind="cpu", threads=2, share=0.5), 300 * 2**20),
        (Device(name="cpu", kind="cpu"), 16 * 2**30),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty"),
        ("cpu", "'cpu' is no memory, such as 6GiB"),
        ("cpu:16", "'16' is no memory"),
        ("cpu:0GiB", "'0GiB' is no memory"),
        ("cpu:-1GiB", "'-1GiB' is no memory"),
        (":1GiB", "it names no device"),
        ("cpu:1GiB,gpu:6GiB", "of 'gpu:6GiB', 'gpu' is none. Did you mean 'cpu'?"),
        ("cdua:6GiB", "Did you mean 'cuda'?"),
        ("cpu/x:1GiB", "'cpu/x' is no device"),
        ("cpu/0:1GiB", "it must have a thread"),
        ("cpu@0%:1GiB", "a share from 1% to 100%"),
        ("cpu@101%:1GiB", "a share from 1% to 100%"),
        ("cuda/2:1GiB", "threads and shares are of a CPU"),
        ("cpu:1:1GiB", "a CPU has no number"),
        ("cpu:1GiB,cpu:2GiB", "names cpu twice"),
        ("cpu/1:1GiB,cpu/2:1GiB,cpu/3:1GiB,cpu/4:1GiB,cpu/5:1GiB", "names 5 devices; 4 are searched at most"),
    ],
)
def test_what_is_malformed_is_named(text: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        read_devices(text)
    assert told in str(error.value)


def test_a_device_that_is_not_there_is_told_with_those_that_are() -> None:
    devices = list(read_devices("cuda:1:6GiB,cpu/4:1GiB"))
    require_here(devices, gpus=2, processors=4)
    with pytest.raises(InputError, match=r"names cuda:1, which this .* it has cpu \(up to 4 threads\), cuda\. Name"):
        require_here(devices, gpus=1, processors=4)
    with pytest.raises(InputError, match=r"names cpu/4, which this .* it has cpu, cuda, cuda:1\. Name"):
        require_here(devices, gpus=2, processors=1)
