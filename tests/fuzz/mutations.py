"""What disks, transfers and people do to files: bits, bytes and lengths; names, values and types inside JSON."""

from __future__ import annotations

import bz2
import gzip
import json
import random
from collections.abc import Callable
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
        return with_another_value(data, draw)
    if kind == "bit" and data:
        return data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :]
    if kind == "cut":
        return data[:place]
    if kind == "twice":
        return data.replace(b"{", b'{"model_type": "bert", "model_type": "x", ', 1)
    if kind == "deep":
        return b'{"a":' * 3000 + data + b"}" * 3000
    return data[:place] + draw.randbytes(draw.randint(1, 8)) + data[place:]


# What people and programs put into files of data: other ends of lines, other alphabets, signs with a meaning.
PIECES: tuple[bytes, ...] = (
    b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b'"', b'""', b",", b";", b"\t", b"\\", b"\xef\xbb\xbf", b"\xff\xfe",
    "\u2028".encode(), "\u0085".encode(), "\U0001f600".encode(), b"\xed\xa0\x80", b"\\ud800", b"NaN", b"Infinity",
    b"null", b"1e999", b"9" * 400, b"[" * 300, b'{"a":' * 300, b"x" * 300_000, b"=1+1", b"#", b"-DOCSTART-\n",
    b"sep=;\n", b"# newdoc\n", b" ", b"\xa0", b"nan", b"0", b"-1", b"true", b'{"text": 1}\n', b"[]\n",
)  # fmt: skip


def mutated_data(data: bytes, draw: random.Random, *, text: bool) -> bytes:
    """A file of data, changed in one to three of these ways. text: whether it is JSON line by line."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        data = _mutated_once(data, draw, text=text)
    return data


def _mutated_once(data: bytes, draw: random.Random, *, text: bool) -> bytes:
    kind = draw.choice(("plain", "value", "piece", "piece", "line", "line", "whole") if text else
                       ("plain", "piece", "piece", "line", "line", "whole"))  # fmt: skip
    if kind == "plain":
        return mutated(data, draw, text=False)
    if kind == "value":
        return with_another_value(data, draw)
    if kind == "piece":
        place, piece = draw.randrange(len(data) + 1), draw.choice(PIECES)
        return data[:place] + piece + data[place + draw.choice((0, len(piece))) :]
    if kind == "whole":
        return draw.choice(WHOLES)(data)
    lines = data.split(b"\n")
    first, second = draw.randrange(len(lines)), draw.randrange(len(lines))
    what = draw.choice(("drop", "twice", "swap", "join", "many"))
    if what == "drop":
        del lines[first]
    elif what == "twice":
        lines.insert(second, lines[first])
    elif what == "swap":
        lines[first], lines[second] = lines[second], lines[first]
    elif what == "join":
        lines[first : first + 2] = [b"".join(lines[first : first + 2])]
    else:
        # Many, and not more than a file of data has that is read at once.
        lines[first:first] = [lines[second]] * min(2000, 1 + 1_000_000 // (1 + len(lines[second])))
    return b"\n".join(lines)


# What is done to a file as a whole.
WHOLES: tuple[Callable[[bytes], bytes], ...] = (
    gzip.compress,
    bz2.compress,
    lambda data: b"",
    lambda data: b"\xef\xbb\xbf" + data,
    lambda data: data.decode("utf-8", "replace").encode("utf-16"),
    lambda data: data.decode("utf-8", "replace").encode("latin-1", "replace"),
    lambda data: data.replace(b"\n", b"\r\n"),
    lambda data: data.replace(b"\n", b"\r"),
    lambda data: data.replace(b"\n", b""),
    lambda data: data.replace(b",", b";"),
    lambda data: data.replace(b"\t", b" "),
    lambda data: data.replace(b'"', b""),
    lambda data: data.replace(b"text", b"label", 1),
    lambda data: data.upper(),
    lambda data: b"\0" * len(data),
    lambda data: data + data,
    lambda data: b"[" + data.strip().replace(b"\n", b",") + b"]",
)


def with_another_value(data: bytes, draw: random.Random) -> bytes:
    """JSON, or JSON line by line, with a value or a name of it changed, or left out."""
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
