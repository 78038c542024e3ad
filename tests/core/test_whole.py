"""What is written is there whole, or not at all."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from compress.core.errors import InputError
from compress.core.whole import require_new_folder, whole_folder, write_whole


def test_a_folder_has_its_name_once_all_is_in_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole_folder(out) as folder:
        (folder / "a").write_text("1")
        assert not out.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert (out / "a").read_text() == "1"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_ends_the_writing_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), whole_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_no_part_of_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".out.unfinished"
    left.mkdir()
    (left / "old").write_text("1")
    with whole_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("2")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"new"}


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_whole(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    write_whole(path, "é")
    assert path.read_bytes() == b"\xc3\xa9"
    assert {found.name for found in tmp_path.iterdir()} == {"facts.json"}


def test_a_flushed_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(os, "fsync", lambda file: seen.append((os.fstat(file).st_size, (tmp_path / "b").exists())))
    write_whole(tmp_path / "a", "four")
    assert seen == []
    write_whole(tmp_path / "b", "two", flushed=True)
    assert seen == [(3, False)] and (tmp_path / "b").read_text() == "two"


def test_what_is_no_file_stays_what_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "text")
    assert os.read(reader, 10) == b"text" and pipe.is_fifo()
    os.close(reader)


@pytest.mark.parametrize(
    ("name", "told"),
    [("", "which is there already"), ("a/b", "a folder that is not there"), ("file/b", "a folder that is not there")],
)
def test_a_folder_that_cannot_be_made_is_refused(name: str, told: str, tmp_path: Path) -> None:
    out = tmp_path / name
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"--out is {re.escape(str(out))}.*{told}"):
        require_new_folder(out)
    require_new_folder(tmp_path / "new")
