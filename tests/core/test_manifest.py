"""Whatever bit of a folder turns over: it is seen, or it said nothing."""

from __future__ import annotations

import json
from pathlib import Path

from compress.core.manifest import MANIFEST, find_damage, write_manifest

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
