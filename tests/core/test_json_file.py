"""One file each for everything that a reader of JSON could stumble over."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from compress.core.errors import InputError
from compress.core.json_file import parse_json, read_json, require_types

BAD = [
    (b'{"a": 1, "b": 2, "a": 3}', "'a' stands twice in one object"),
    (b'{"c": 1, "b": 2, "b": 3}', "'b' stands twice in one object"),
    (b'{"a": NaN}', "the number NaN is not finite"),
    (b'{"a": -Infinity}', "the number -Infinity is not finite"),
    (b'{"a": 1e999}', "the number 1e999 is not finite"),
    (b'{"a": "\\ud83d"}', r"'\ud83d' holds half of a character"),
    (b'{"\\ude00": 1}', r"'\ude00' holds half of a character"),
    (b'{"a": ["x", {"b": "\\uD800"}]}', r"'\ud800' holds half of a character"),
    (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
    (b'{"a": 1,\n }', "line 2, column 2: "),
    (b"[1]", "it holds an array, not an object"),
    (b"true", "it holds true or false, not an object"),
    (b"", "line 1, column 1"),
    (b"[" * 100_000 + b"]" * 100_000, "nested deeper than 64"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper than 64"),
    (b'{"a": ' + b"9" * 5000 + b"}", "integer string conversion"),
]


@pytest.mark.parametrize(("data", "told"), BAD, ids=[case[1] + case[0][:12].decode("latin-1") for case in BAD])
def test_what_is_wrong_is_said_with_the_file(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(data)
    with pytest.raises(InputError) as refused:
        read_json(path)
    assert str(path) in str(refused.value) and told in str(refused.value)


def test_only_regular_files_of_a_size_that_fits_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b'{"a": "' + b"x" * 100 + b'"}')
    for name, told in (
        ("pipe", "no regular file"),
        (".", "Is a directory"),
        ("missing", "No such file"),
        ("large", "109 bytes; 100 are read at most"),
    ):
        with pytest.raises(InputError, match=told):
            read_json(tmp_path / name, most_bytes=100)
    with pytest.raises(InputError, match="no regular file"):
        read_json(Path("/dev/zero"))


def test_what_is_right_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a": [1, 2.5, null, true, "\\ud83d\\ude00 ä"], "b": {}}', encoding="utf-8")
    assert read_json(path) == {"a": [1, 2.5, None, True, "\U0001f600 ä"], "b": {}}
    assert parse_json("[1]", list) == [1]
    assert parse_json('{"a":' * 64 + "1" + "}" * 64)


def test_where_a_result_may_be_no_number_the_rest_is_looked_at_all_the_same() -> None:
    found = parse_json('{"a": NaN, "b": -Infinity}', finite=False)
    assert math.isnan(found["a"]) and found["b"] == -math.inf
    for text, told in (('{"a": NaN, "a": 1}', "stands twice"), ('{"a": "\\ud83d"}', "half of a character")):
        with pytest.raises(ValueError, match=told):
            parse_json(text, finite=False)


def test_a_file_as_large_as_may_be_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'{"a": 1}')
    assert read_json(tmp_path / "a", most_bytes=8) == {"a": 1}


@dataclass
class Told:
    share: float
    count: int
    name: str
    pair: tuple[float, float] | None
    many: tuple[int, ...]
    outcome: Literal["passed", "failed"]
    table: Mapping[str, float]


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("share", (0.5, 1, math.nan), ("0.5", True, None)),
        ("count", (1, -2), (1.0, True, "1")),
        ("name", ("a", ""), (None, 1)),
        ("pair", ((0.5, 1), [0.5, 1], None), ([0.5], [0.5, 1, 2], [0.5, "1"], "ab", 0.5)),
        ("many", ([], [1, 2, 3], (1,)), ([1, "2"], [1.5], 1, None)),
        ("outcome", ("passed", "failed"), ("inconclusive", None)),
        ("table", ({}, {"a": 1}), ([], None)),
    ],
)
def test_a_value_is_of_the_type_of_its_field(name: str, right: tuple[Any, ...], wrong: tuple[Any, ...]) -> None:
    for value in right:
        require_types(Told, {name: value})
    for value in wrong:
        with pytest.raises(ValueError, match=f"^{name} is .*, no "):
            require_types(Told, {name: value})


def test_fields_that_are_not_there_and_names_of_none_are_somebody_elses_matter() -> None:
    require_types(Told, {})
    require_types(Told, {"gone": object()})
