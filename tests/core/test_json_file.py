"""One file each for everything that a reader of JSON could stumble over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compress.core.errors import InputError
from compress.core.json_file import parse_json, read_json

BAD = [
    (b'{"a": 1, "b": 2, "a": 3}', "'a' stands twice in one object"),
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
