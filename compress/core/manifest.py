"""`manifest.json` beside the files of a folder: whose they are, what is known of them, their sizes and hashes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from compress.core.content import INDEX, sha256_of
from compress.core.errors import InputError
from compress.core.json_file import parse_json, read_regular
from compress.core.whole import write_whole

MANIFEST = "manifest.json"
FORMAT = 3
# Manifests of before they had a checksum of their own, which are still read.
FORMAT_WITHOUT = 2
CHECKSUM = "sha256"
# What loading would open if it were there.
OPENED = frozenset({"config.json", "model.safetensors", INDEX, "structure.json", "model.onnx"})


def write_manifest(folder: Path, facts: Mapping[str, Any], *, key: str) -> None:
    """Flush every file of `folder` to the disk and write `manifest.json`, last, with sizes and hashes.

    sha256 is for whoever wants to compare with another tool, xxh3_128 for `find_damage`.
    """
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[path.relative_to(folder).as_posix()] = _entry(path)
    told = {"format": FORMAT, "key": key, "facts": dict(facts), "files": files}
    # As it will be read: numbers that are names become text, and tuples lists.
    told = json.loads(json.dumps(told, default=plain))
    text = json.dumps({**told, CHECKSUM: checksum_of(told)}, indent=1)
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    for place in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        flush(place)


def replace_text(folder: Path, name: str, text: str) -> None:
    """Give one file of an undamaged folder another text, and let its manifest say so. Nothing else in it changes.

    Raises InputError where the folder is damaged.
    """
    require_undamaged(folder)
    told = parse_json(read_regular(folder / MANIFEST))
    told.pop(CHECKSUM, None)
    write_whole(folder / name, text)
    told["files"][name] = _entry(folder / name)
    checked = {} if told.get("format", FORMAT_WITHOUT) == FORMAT_WITHOUT else {CHECKSUM: checksum_of(told)}
    write_whole(folder / MANIFEST, json.dumps({**told, **checked}, indent=1))


def _entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path), "xxh3_128": xxh3_of(path)}


def find_damage(folder: Path, *, key: str | None = None) -> str | None:
    """What is wrong with a folder that has a manifest, in words, or None. key: whose manifest it must be, if given.

    Every byte is read each time. XXH3 finds accidental damage as surely as SHA-256, at 20 times its speed; neither
    would stop somebody who can also write the manifest, which holds a checksum of what it says itself. Folders of
    before there was an XXH3 are told by their SHA-256.
    """
    try:
        manifest = parse_json(read_regular(folder / MANIFEST))
        entries = {
            str(name): (int(entry["bytes"]), str(entry["sha256"]), entry.get("xxh3_128"))
            for name, entry in manifest["files"].items()
        }
        owner, _ = manifest["key"], manifest["facts"].items()
        written = manifest.get("format", FORMAT_WITHOUT)
        checksum = manifest.pop(CHECKSUM) if written > FORMAT_WITHOUT else manifest.pop(CHECKSUM, None)
        known = written <= FORMAT
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "its manifest is missing or malformed"
    if checksum is not None and checksum != checksum_of(manifest):
        return "its manifest has changed"
    if not known:
        return f"its manifest has format {written}, and this release reads format {FORMAT}"
    if key is not None and owner != key:
        return f"its manifest is that of {owner}"
    beside = sorted(name for name in OPENED - entries.keys() if (folder / name).exists())
    if beside:
        return f"{beside[0]} is there, and its manifest does not know it"
    for name, (size, sha256, xxh3) in entries.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return f"its manifest names {name!r}, which leaves the folder"
        path = folder / name
        if path.exists() and not path.resolve().is_relative_to(folder.resolve()):
            return f"{name} is a link that leaves the folder"
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
        try:
            if (sha256_of(path) != sha256) if xxh3 is None else (xxh3_of(path) != xxh3):
                return f"{name} has changed"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


def require_undamaged(folder: Path) -> None:
    """Raise InputError where a folder with a manifest is not what that says."""
    problem = find_damage(folder)
    if problem is not None:
        raise InputError(f"{folder} is damaged: {problem}. Copy it again, or export the model again.")


def checksum_of(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of what a JSON object says, however it is written."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def xxh3_of(path: Path) -> str:
    """XXH3 of a file with 128 bits, in hexadecimal: finds accidental damage as fast as a disk can read."""
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
