"""What disks, transfers and people do to files: bits, bytes and lengths; names, values and types inside JSON."""

from __future__ import annotations

import json
import random
from typing import Any

STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 10**9, 10**30, 0.5, -0.0, "", "x", "../x", "/etc/passwd", "\ud800", "\0", "[PAD]",
    "x" * 5000, [], [None], [[]], {}, {"": None}, {"_target_": "os.system"}, float("nan"), float("inf"),
)  # fmt: skip


def mutated(data: bytes, draw: random.Random, *, text: bool) -> bytes:
    """`data`, changed in one of these ways. text: whether it is JSON, whose values may be changed too."""
    kind = draw.choice(
        ("value", "value", "value", "bit", "cut", "insert", "twice", "deep")
        if text
        else ("bit", "bit", "cut", "insert")
    )
    place = draw.randrange(max(1, len(data)))
    if kind == "value":
        return _with_another_value(data, draw)
    if kind == "bit" and data:
        return data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :]
    if kind == "cut":
        return data[:place]
    if kind == "twice":
        return data.replace(b"{", b'{"model_type": "bert", "model_type": "x", ', 1)
    if kind == "deep":
        return b'{"a":' * 3000 + data + b"}" * 3000
    return data[:place] + draw.randbytes(draw.randint(1, 8)) + data[place:]


def _with_another_value(data: bytes, draw: random.Random) -> bytes:
    lines = data.split(b"\n") if data.count(b"\n{") else [data]
    number = draw.randrange(len(lines))
    try:
        value = json.loads(lines[number])
    except ValueError:
        return data[: len(data) // 2]
    places = list(_places(value))
    if not places:
        return json.dumps(draw.choice(STRANGE)).encode()
    holder, name = draw.choice(places)
    if draw.random() < 0.15:
        del holder[name]
    elif isinstance(holder, dict) and draw.random() < 0.1:
        holder[f"{name}{draw.choice(('_', ' ', 's'))}"] = holder.pop(name)
    else:
        holder[name] = draw.choice(STRANGE)
    lines[number] = json.dumps(value).encode()
    return b"\n".join(lines)


def _places(value: Any) -> Any:
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for name, part in inner:
        yield value, name
        yield from _places(part)
