"""Finished work by content key, shared by all runs. An entry appears whole or not at all, and is never changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from compress.core.errors import InputError
from compress.teachers.content import sha256_of

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """A finished folder. `facts`: what its maker recorded beside the files. `reused`: it was there before."""

    key: str
    folder: Path
    facts: Mapping[str, Any]
    reused: bool


def content_key(**parts: Any) -> str:
    """A key of 32 hexadecimal digits from plain values. The order of mappings does not matter."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Store:
    """Folders under `root`, one per kind and key.

    `warn` is told about entries that were set aside because they are damaged.
    """

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        self.root, self._warn = root.resolve(), warn
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"store is {root}, which cannot be written ({error.strerror}). Name another folder: store=DIR."
            ) from error

    def entry(self, kind: str, key: str, make: Callable[[Path], Mapping[str, Any]]) -> Entry:
        """The entry, made by `make(folder)` where it is not there yet. `make` fills the folder and returns facts.

        Two processes that want the same entry: one makes it, the other waits and uses it.
        """
        folder = self.root / kind / key
        with self._lock(kind, key):
            found = self._read(folder)
            if found is not None:
                return Entry(key, folder, found, reused=True)
            return Entry(key, folder, self._make(folder, key, make), reused=False)

    def work_folder(self, key: str) -> Path:
        """A folder for unfinished work under `key`. It stays until `forget_work`, so that a killed stage resumes."""
        folder = self.root / "work" / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def forget_work(self, key: str) -> None:
        """Remove unfinished work that has been finished."""
        shutil.rmtree(self.root / "work" / key, ignore_errors=True)

    def leave_no_empty_work(self, key: str) -> None:
        """Remove the folder for unfinished work where nothing was written into it."""
        with contextlib.suppress(OSError):
            (self.root / "work" / key).rmdir()

    def cache_folder(self, name: str) -> Path:
        """A folder for what can be computed again at any time."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def set_aside(self, entry: Entry, reason: str) -> None:
        """Move an entry that turned out to be wrong out of the way."""
        self._set_aside(entry.folder, reason)

    def _make(self, folder: Path, key: str, make: Callable[[Path], Mapping[str, Any]]) -> Mapping[str, Any]:
        temporary = folder.with_name(f".{folder.name}.unfinished")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            facts = dict(make(temporary))
            write_manifest(temporary, facts, key=key)
            temporary.rename(folder)
            _flush(folder.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return facts

    def _read(self, folder: Path) -> Mapping[str, Any] | None:
        if not folder.exists():
            return None
        problem = find_damage(folder)
        if problem is not None:
            self._set_aside(folder, problem)
            return None
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["facts"]

    def _set_aside(self, folder: Path, reason: str) -> None:
        place = self.root / "damaged" / f"{folder.parent.name}-{folder.name}-{time.time_ns()}"
        place.parent.mkdir(exist_ok=True)
        folder.rename(place)
        self._warn(f"{folder} is set aside in {place}: {reason}. It is made again.")

    @contextlib.contextmanager
    def _lock(self, kind: str, key: str) -> Iterator[None]:
        path = self.root / "locks" / f"{kind}-{key}.lock"
        path.parent.mkdir(exist_ok=True)
        # The operating system releases the lock of a process that died.
        with FileLock(path):
            yield


def write_manifest(folder: Path, facts: Mapping[str, Any], *, key: str) -> None:
    """Flush every file of `folder` to the disk and write `manifest.json`, last, with sizes and hashes."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    text = json.dumps({"format": FORMAT, "key": key, "facts": dict(facts), "files": files}, indent=1, default=_plain)
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _flush(folder)


def find_damage(folder: Path) -> str | None:
    """What is wrong with a folder that has a manifest, in words, or None."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        entries = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "its manifest is missing or malformed"
    for name, (size, digest) in entries.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return f"its manifest names {name!r}, which leaves the folder"
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
        if sha256_of(path) != digest:
            return f"{name} has changed"
    return None


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | frozenset | set):
        return sorted(value) if not isinstance(value, tuple) else list(value)
    raise TypeError(f"{value!r} has no place in a key")
