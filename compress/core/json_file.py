"""JSON from outside: one reader for everything that a folder of somebody else's may hold.

Python's own reader takes a number that no other language reads (NaN), the last of two entries of one name, half of a
character, and nesting until the stack ends. What it takes in, another reader of the same file reads otherwise.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from compress.core.errors import InputError

# Of the largest tokenizers 35 MB are known; a header of safetensors has 100 MB at most.
LARGEST_BYTES = 200_000_000
DEEPEST = 64
# Half of a character that needs two, as an escape.
HALF = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(
    path: Path,
    top: type = dict,
    *,
    most_bytes: int = LARGEST_BYTES,
    finite: bool = True,
    way_out: str = "Save it again.",
) -> Any:
    """What a JSON file holds, an object where `top` is not another type.

    Raises InputError, which names the file and the place, for what is no regular file (a pipe would be waited for), is
    too large, not UTF-8, no JSON, nested deeper than 64, has two entries of one name, a number that is not finite, half
    of a character, or something else than `top` outermost. finite: False where NaN is a result. way_out: what to do
    then.
    """
    try:
        return parse_json(read_regular(path, most_bytes), top, finite=finite)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). {way_out}") from None
    except ValueError as error:
        raise InputError(f"{path} cannot be read: it is malformed ({error}). {way_out}") from None


def read_regular(path: Path, most_bytes: int = LARGEST_BYTES) -> bytes:
    """The bytes of a regular file. Raises OSError where it cannot be opened, ValueError where it is no regular file, or
    larger than `most_bytes`."""
    # Without waiting: a pipe has no end until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, which no Path opens
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        if found.st_size > most_bytes:
            raise ValueError(f"it has {found.st_size} bytes; {most_bytes} are read at most")
        return file.read(most_bytes + 1)


def parse_json(data: bytes | str, top: type = dict, *, finite: bool = True) -> Any:
    """What JSON text holds. Raises ValueError with the place where `read_json` says InputError."""
    text = data if isinstance(data, str) else _decoded(data)
    try:
        value = (_decoder if finite else _decoder_of_results).decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"it is nested deeper than {DEEPEST}") from None
    if not isinstance(value, top):
        raise ValueError(f"it holds {_kind(value)}, not {_kind(top())}")
    _require_shallow(value, halves=HALF.search(text) is not None)
    return value


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:60]!r} stands twice in one object")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is not finite")
    return value


_decoder = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_constant=_finite)
_decoder_of_results = json.JSONDecoder(object_pairs_hook=_once)


def require_types(kind: type, values: Mapping[str, Any]) -> None:
    """Raise ValueError where a value is not of the type that the field of its name in a dataclass has. Looked at are
    plain types, and pairs and sequences of them."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if field.name in values and not _fits(values[field.name], hints[field.name]):
            raise ValueError(f"{field.name} is {ascii(values[field.name])[:60]}, no {field.type}")


def _fits(value: Any, hint: Any) -> bool:
    parts, origin = get_args(hint), get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return False
        wanted = [parts[0]] * len(value) if parts[1:] == (...,) else list(parts)
        return len(value) == len(wanted) and all(map(_fits, value, wanted))
    if origin is Sequence:
        return isinstance(value, Sequence) and all(_fits(part, parts[0]) for part in value)
    if hint in (float, int):
        return isinstance(value, int | float if hint is float else int) and not isinstance(value, bool)
    return isinstance(value, origin or hint)


def _require_shallow(value: Any, *, halves: bool) -> None:
    """Raise ValueError for what is nested too deep, and, where there may be one, for half of a character."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"it is nested deeper than {DEEPEST}")
        for inner in level if halves else ():
            for text in (inner, *inner) if isinstance(inner, Mapping) else (inner,):
                if isinstance(text, str) and not _whole(text):
                    raise ValueError(f"{ascii(text)[:60]} holds half of a character")
        level = [
            part
            for inner in level
            if isinstance(inner, dict | list)
            for part in (inner.values() if isinstance(inner, dict) else inner)
            if halves or isinstance(part, dict | list)
        ]


def _whole(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
