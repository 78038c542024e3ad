"""Which files of a folder say what a checkpoint is, and that none of them lies elsewhere."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from compress.core.content import INDEX, hashes_of, indexed_files, require_all_inside, require_inside
from compress.core.errors import InputError

# SHA-256 of nothing, and of `abc`: FIPS 180-2, appendix B.1.
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def index(folder: Path, weight_map: object) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")


def test_files_that_decide_are_hashed_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("vocab.txt", "spiece.model", "config.json"):
        (tmp_path / name).write_bytes(b"abc")
    (tmp_path / "model.safetensors").touch()
    # Neither of them says what the checkpoint is, nor does what lies in a folder of its own.
    (tmp_path / "training_args.bin").touch()
    (tmp_path / "more.json").mkdir()
    (tmp_path / "more.json" / "a.safetensors").write_bytes(b"abc")
    expected = [("config.json", ABC), ("model.safetensors", EMPTY), ("spiece.model", ABC), ("vocab.txt", ABC)]
    assert list(hashes_of(tmp_path).items()) == expected


def test_what_an_index_names_is_a_part_wherever_it_lies_below(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "1.bin").write_bytes(b"abc")
    index(tmp_path, {"a.weight": "parts/1.bin", "b.weight": "parts/1.bin"})
    assert indexed_files(tmp_path) == [tmp_path / "parts" / "1.bin"]
    assert hashes_of(tmp_path).keys() == {INDEX, "parts/1.bin"} and hashes_of(tmp_path)["parts/1.bin"] == ABC


@pytest.mark.parametrize("weight_map", [None, {}, ["1.bin"], "1.bin"])
def test_an_index_without_weights_is_malformed(weight_map: object, tmp_path: Path) -> None:
    index(tmp_path, weight_map)
    with pytest.raises(InputError, match=r"is malformed: it has no weight_map\. Save the model again\."):
        indexed_files(tmp_path)


@pytest.mark.parametrize("name", ["/etc/hostname", "../1.bin", "a/../../1.bin", 7, None])
def test_an_index_names_nothing_outside_its_folder(name: object, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "1.bin").touch()
    index(folder, {"a.weight": name})
    with pytest.raises(InputError, match=f"it names {re.escape(repr(name))}, which leaves its folder"):
        indexed_files(folder)


def test_a_file_that_an_index_names_is_there_and_no_link_to_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    index(folder, {"a.weight": "1.bin"})
    with pytest.raises(InputError, match=r"names '1\.bin', which does not exist"):
        indexed_files(folder)
    (tmp_path / "1.bin").touch()
    (folder / "1.bin").symlink_to(tmp_path / "1.bin")
    with pytest.raises(InputError, match=r"is a link to .*, outside its folder"):
        indexed_files(folder)


@pytest.mark.parametrize(
    ("place", "target", "allowed"),
    [
        ("hub/snapshots/revision", "hub/blobs/1", True),
        ("hub/snapshots/revision", "hub/snapshots/other/1", False),
        ("hub/snapshots/revision", "hub/snapshots/blobs/1", False),
        ("hub/snapshots/revision", "hub/1", False),
        # Only where the hub's cache would have it.
        ("hub/models/revision", "hub/blobs/1", False),
    ],
)
def test_links_lead_into_the_hubs_own_cache_and_nowhere_else(
    place: str, target: str, allowed: bool, tmp_path: Path
) -> None:
    folder, found = tmp_path / place, tmp_path / target
    folder.mkdir(parents=True)
    found.parent.mkdir(parents=True, exist_ok=True)
    found.touch()
    (folder / "a.json").symlink_to(found)
    if allowed:
        require_inside(folder, folder / "a.json")
    else:
        with pytest.raises(InputError, match="outside its folder"):
            require_inside(folder, folder / "a.json")


def test_a_pipe_is_no_file_of_a_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(InputError, match="is no regular file"):
        require_all_inside(tmp_path)


@pytest.mark.parametrize(("name", "refused"), [("chat.jinja", True), ("model.onnx.data", True), ("notes.md", False)])
def test_every_file_that_loading_would_open_lies_inside(name: str, refused: bool, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "parts.json").mkdir(parents=True)
    (tmp_path / "elsewhere").touch()
    require_all_inside(folder)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    if refused:
        with pytest.raises(InputError, match="outside its folder"):
            require_all_inside(folder)
    else:
        require_all_inside(folder)
