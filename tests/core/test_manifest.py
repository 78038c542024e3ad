"""Whatever bit of a folder turns over: it is seen, or it said nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.core import manifest
from compress.core.errors import InputError
from compress.core.manifest import (
    CHECKSUM,
    MANIFEST,
    checksum_of,
    find_damage,
    plain,
    require_undamaged,
    write_manifest,
)

FACTS = {"parent": None, "seconds": 1.5, "notes": ["\u00e4", "b"], 3: (1, 2), "effort": {"rows": 10}}


def test_every_bit_of_a_manifest_is_known_by_its_checksum(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    write_manifest(tmp_path, FACTS, key="k")
    assert find_damage(tmp_path, key="k") is None
    path = tmp_path / MANIFEST
    whole = path.read_bytes()
    said = json.loads(whole)
    assert said["facts"] == {
        "parent": None,
        "seconds": 1.5,
        "notes": ["\u00e4", "b"],
        "3": [1, 2],
        "effort": {"rows": 10},
    }
    wrong = []
    for place in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            # White space between two values says nothing.
            if find_damage(tmp_path, key="k") is None and json.loads(bytes(changed)) != said:
                wrong.append((place, bit))
    assert wrong == []


def test_a_manifest_of_before_it_had_a_checksum_is_read(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"parent": "p"}, key="k")
    told = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    del told["sha256"]
    (tmp_path / MANIFEST).write_text(json.dumps(told), encoding="utf-8")
    assert find_damage(tmp_path) == "its manifest is missing or malformed"
    (tmp_path / MANIFEST).write_text(json.dumps({**told, "format": 2}), encoding="utf-8")
    assert find_damage(tmp_path) is None
    (tmp_path / MANIFEST).write_text(json.dumps({**told, "format": 4, "sha256": "0"}), encoding="utf-8")
    assert find_damage(tmp_path) == "its manifest has changed"


def test_a_file_that_loading_would_open_and_no_manifest_knows(tmp_path: Path) -> None:
    write_manifest(tmp_path, {}, key="k")
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert find_damage(tmp_path) is None
    (tmp_path / "structure.json").write_text("{}", encoding="utf-8")
    assert find_damage(tmp_path) == "structure.json is there, and its manifest does not know it"


def test_a_link_that_leaves_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(b"abc")
    write_manifest(folder, {}, key="k")
    (folder / "a").rename(tmp_path / "a")
    (folder / "a").symlink_to(tmp_path / "a")
    assert find_damage(folder) == "a is a link that leaves the folder"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file of three bytes, and its manifest."""
    (tmp_path / "a").write_bytes(b"abc")
    write_manifest(tmp_path, {}, key="k")
    return tmp_path


def say(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Another manifest with a checksum that is right."""
    told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    del told[CHECKSUM]
    change(told)
    (folder / MANIFEST).write_text(json.dumps({**told, CHECKSUM: checksum_of(told)}), encoding="utf-8")


def test_the_manifest_of_another_is_only_looked_for_where_a_key_is_given(folder: Path) -> None:
    assert find_damage(folder, key="other") == "its manifest is that of k"
    assert find_damage(folder) is None is find_damage(folder, key="k")


def test_a_manifest_written_again_does_not_name_itself(folder: Path) -> None:
    write_manifest(folder, {}, key="k")
    assert find_damage(folder) is None
    assert list(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]) == ["a"]


def test_each_file_is_there_with_its_size_and_its_content(folder: Path) -> None:
    (folder / "a").write_bytes(b"abd")
    assert find_damage(folder) == "a has changed"
    (folder / "a").write_bytes(b"abcd")
    assert find_damage(folder) == "a has 4 bytes, not 3"
    (folder / "a").unlink()
    assert find_damage(folder) == "a is missing"
    # A link to nothing is no file, nor is one to itself, nor a folder.
    for target in (folder.parent / "gone", folder / "a"):
        (folder / "a").symlink_to(target)
        assert find_damage(folder) == "a is missing"
        (folder / "a").unlink()
    (folder / "a").mkdir()
    assert find_damage(folder) == "a is missing"
    with pytest.raises(InputError, match=r"is damaged: a is missing\. Copy it again"):
        require_undamaged(folder)


def test_a_folder_of_before_there_was_an_xxh3_is_told_by_its_sha256(folder: Path) -> None:
    say(folder, lambda told: told["files"]["a"].pop("xxh3_128"))
    assert find_damage(folder) is None
    (folder / "a").write_bytes(b"abd")
    assert find_damage(folder) == "a has changed"


@pytest.mark.parametrize("name", ["/etc/hostname", "../a", "b/../../a"])
def test_a_manifest_names_nothing_outside_its_folder(name: str, folder: Path) -> None:
    say(folder, lambda told: told["files"].update({name: told["files"]["a"]}))
    assert find_damage(folder) == f"its manifest names {name!r}, which leaves the folder"


def test_a_manifest_of_a_later_release_is_not_read(folder: Path) -> None:
    say(folder, lambda told: told.update(format=4))
    assert find_damage(folder) == "its manifest has format 4, and this release reads format 3"


@pytest.mark.parametrize("files", [[], {"a": 3}, {"a": {"bytes": 3}}, {"a": {"bytes": "x", "sha256": ""}}])
def test_a_manifest_that_is_none_is_told(files: object, folder: Path) -> None:
    say(folder, lambda told: told.update(files=files))
    assert find_damage(folder) == "its manifest is missing or malformed"


def test_a_file_that_cannot_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(manifest, "xxh3_of", fails)
    assert find_damage(folder) == "a cannot be read (Input/output error)"


def test_a_checksum_is_of_what_is_said_in_whatever_order() -> None:
    assert checksum_of({"a": 1, "b": [2]}) == checksum_of({"b": [2], "a": 1}) != checksum_of({"a": 1, "b": [3]})
    letters = list("qwertyuiopasdfghjkl")
    assert plain(frozenset(letters)) == sorted(letters) and plain(tuple(letters)) == letters
    assert plain(Path("a/b")) == "a/b"
    with pytest.raises(TypeError, match="has no place in a key"):
        plain(object())
