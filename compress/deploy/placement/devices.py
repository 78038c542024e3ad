"""Devices as users write them: `cuda:6GiB,cpu:16GiB`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from compress.core.checks import nearest
from compress.core.errors import InputError
from compress.core.placement import Device

UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
DEVICE = re.compile(r"(?P<kind>[A-Za-z]+)(?::(?P<index>\d+))?(?:/(?P<threads>\d+))?(?:@(?P<share>\d+)%)?")
MEMORY = re.compile(rf"(?P<count>\d+(?:\.\d+)?)(?P<unit>{'|'.join(UNITS)})")
RULE = (
    "A device is cpu, cpu/2 (two threads), cpu/2@50% (which rests half of the time), cuda or cuda:1; after it a colon "
    "and its memory: cuda:6GiB,cpu:16GiB."
)
# A search looks at all sets of them.
MOST = 4


def read_devices(text: str) -> dict[Device, int]:
    """Each device with its bytes, in the order given. Raises InputError with the part that is malformed."""
    found: dict[Device, int] = {}
    for part in text.split(","):
        device, memory = _read(text, part.strip())
        if any(device.name == other.name for other in found):
            raise InputError(f"--devices names {device.name} twice. Give it all its memory at once.")
        found[device] = memory
    if len(found) > MOST:
        raise InputError(f"--devices names {len(found)} devices; {MOST} are searched at most. Leave some out.")
    return found


def _read(text: str, part: str) -> tuple[Device, int]:
    name, _, amount = part.rpartition(":")
    matched, memory = DEVICE.fullmatch(name), MEMORY.fullmatch(amount)
    if memory is None or float(memory["count"]) == 0:
        raise _malformed(text, part, f"{amount!r} is no memory, such as 6GiB or 500MiB" if amount else "it is empty")
    if matched is None:
        raise _malformed(text, part, f"{name!r} is no device" if name else "it names no device")
    if matched["kind"] not in ("cpu", "cuda"):
        hint = nearest(matched["kind"], ("cpu", "cuda"))
        raise _malformed(text, part, f"{matched['kind']!r} is none. {hint}".removesuffix(". "))
    kind: Literal["cpu", "cuda"] = "cuda" if matched["kind"] == "cuda" else "cpu"
    if kind == "cuda" and (matched["threads"] or matched["share"]):
        raise _malformed(text, part, "threads and shares are of a CPU")
    if kind == "cpu" and matched["index"]:
        raise _malformed(text, part, "a CPU has no number")
    threads = None if matched["threads"] is None else int(matched["threads"])
    share = int(matched["share"] or 100) / 100
    if threads == 0 or not 0 < share <= 1:
        raise _malformed(text, part, "it must have a thread, and a share from 1% to 100%")
    device = Device(name=name, kind=kind, index=int(matched["index"] or 0), threads=threads, share=share)
    return device, int(float(memory["count"]) * UNITS[memory["unit"]])


def _malformed(text: str, part: str, why: str) -> InputError:
    return InputError(f"--devices is {text!r}; of {part!r}, {why}{'' if why.endswith('?') else '.'} {RULE}")


MEASURED_ELSEWHERE = "Name one of these, or give times that were measured elsewhere: --costs FILE."


def require_here(devices: Sequence[Device], *, gpus: int, processors: int, way_out: str = MEASURED_ELSEWHERE) -> None:
    """Raise InputError for a device that this machine does not have. gpus, processors: how many of them it has.
    way_out: what to do then."""
    here = ", ".join(["cpu" if processors == 1 else f"cpu (up to {processors} threads)", *map(_gpu, range(gpus))])
    for device in devices:
        missing = device.index >= gpus if device.kind == "cuda" else (device.threads or 0) > processors
        if missing:
            raise InputError(
                f"--devices names {device.name}, which this machine does not have; it has {here}. {way_out}"
            )


def _gpu(index: int) -> str:
    return f"cuda:{index}" if index else "cuda"
