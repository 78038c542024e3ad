"""`manifest.json` beside the files of a folder: whose they are, what is known of them, their sizes and hashes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from compress.core.content import sha256_of

MANIFEST = "manifest.json"
FORMAT = 2


def write_manifest(folder: Path, facts: Mapping[str, Any], *, key: str) -> None:
    """Flush every file of `folder` to the disk and write `manifest.json`, last, with sizes and hashes.

    sha256 is for whoever wants to compare with another tool, xxh3_128 for `find_damage`.
    """
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[path.relative_to(folder).as_posix()] = {
            "bytes": path.stat().st_size,
            "sha256": sha256_of(path),
            "xxh3_128": _xxh3_of(path),
        }
    text = json.dumps({"format": FORMAT, "key": key, "facts": dict(facts), "files": files}, indent=1, default=plain)
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    for place in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        flush(place)


def find_damage(folder: Path, *, key: str | None = None) -> str | None:
    """What is wrong with a folder that has a manifest, in words, or None. key: whose manifest it must be, if given.

    Every byte is read each time. XXH3 finds accidental damage as surely as SHA-256, at 20 times its speed; neither
    would stop somebody who can also write the manifest. Folders of before there was an XXH3 are told by their SHA-256.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        entries = {
            str(name): (int(entry["bytes"]), str(entry["sha256"]), entry.get("xxh3_128"))
            for name, entry in manifest["files"].items()
        }
        owner, _ = manifest["key"], manifest["facts"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "its manifest is missing or malformed"
    if key is not None and owner != key:
        return f"its manifest is that of {owner}"
    for name, (size, sha256, xxh3) in entries.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return f"its manifest names {name!r}, which leaves the folder"
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
        try:
            if (sha256_of(path) != sha256) if xxh3 is None else (_xxh3_of(path) != xxh3):
                return f"{name} has changed"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


def _xxh3_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def flush(folder: Path) -> None:
    """Have the disk write the names of what lies in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plain(value: Any) -> Any:
    """What JSON has for a value that it does not know. Raises TypeError where there is nothing."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | frozenset | set):
        return sorted(value) if not isinstance(value, tuple) else list(value)
    raise TypeError(f"{value!r} has no place in a key")
