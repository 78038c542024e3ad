"""`--costs FILE` and `--save-costs FILE`: times measured on one machine, for plans made on another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

from compress.core.errors import InputError
from compress.core.json_file import read_json
from compress.core.placement import Costs
from compress.core.whole import write_whole

WAY_OUT = "Write it anew: compress-place ... --save-costs FILE, on a machine that has the devices."
MOST_BYTES = 10_000_000


def read_costs(path: Path, *, devices: Sequence[str], blocks: int, hidden_size: int) -> Costs:
    """The costs of a file. Raises InputError for what is none, for those of another model, and where they lack one of
    these devices, or what lies between two."""
    data = read_json(path, most_bytes=MOST_BYTES, way_out=WAY_OUT)
    try:
        costs = Costs.from_json(data)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}. {WAY_OUT}") from None
    found = (costs.blocks, costs.hidden_size)
    if found != (blocks, hidden_size):
        raise InputError(
            f"--costs is {path}, of a model with {found[0]} blocks of {found[1]} numbers; this one has {blocks} of "
            f"{hidden_size}. {WAY_OUT}"
        )
    missing = [name for name in devices if name not in costs.devices]
    if missing:
        raise InputError(
            f"--devices names {missing[0]}, of which {path} has no times; it has those of "
            f"{', '.join(costs.devices) or 'no device'}. Name one of these, or measure it."
        )
    for start, end in permutations(devices, 2):
        if (start, end) not in costs.links and (end, start) not in costs.links:
            raise InputError(f"{path} has no link between {start} and {end}. Add one to its links, or measure it.")
    return costs


def write_costs(path: Path, costs: Costs) -> None:
    """As `read_costs` takes them."""
    write_whole(path, json.dumps(costs.to_json(), indent=1) + "\n")


def require_writable(path: Path) -> None:
    """Raise InputError where `--save-costs` names no file that could be written."""
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"--save-costs is {path}, no file that could be written. Name one in a folder that is there.")
