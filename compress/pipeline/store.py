"""Finished work by content key, shared by all runs. An entry appears whole or not at all, and is never changed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from compress.core.errors import DiskFullError, InputError
from compress.core.json_file import read_json
from compress.core.manifest import MANIFEST, find_damage, flush, plain, write_manifest

FEW_BYTES = 1_000_000
# torch's writer of zip files does not say that the disk is full, only that it could not go on.
FULL_DISK_TEXTS = ("No space left on device", "inline_container.cc")
# Where there is room, and none for this user or this file: libraries in Rust and C++ say it in words only.
LIMITS = {
    errno.EDQUOT: ("Disk quota exceeded", "your quota there is used up"),
    errno.EFBIG: ("File too large", "a file may not become so large there (ulimit -f, or the file system's own limit)"),
}
UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


class _LockedOutError(Exception):
    """A store, or an entry of it, that this user may only read; the message is the system's reason."""


@dataclass(frozen=True)
class Entry:
    """A finished folder. `facts`: what its maker recorded beside the files. `reused`: it was there before."""

    key: str
    folder: Path
    facts: Mapping[str, Any]
    reused: bool


def content_key(**parts: Any) -> str:
    """A key of 32 hexadecimal digits from plain values. The order of mappings does not matter."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Store:
    """Folders under `root`, one per kind and key.

    `warn` is told about entries that were set aside because they are damaged, and about waiting for another process.
    One that cannot be written, such as a colleague's, is read: what is in it is used, and what is not is refused.
    """

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        self.root, self._warn = root.resolve(), warn
        self._unwritable: str | None = None
        self._new = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # Without a name where the system can do that: a kill leaves nothing.
            tempfile.TemporaryFile(dir=self.root).close()
        except OSError as error:
            if error.errno not in UNWRITABLE or not (self.root / "artifacts").is_dir():
                raise InputError(
                    f"store is {root}, which cannot be written ({error.strerror}). Name another folder: store=DIR."
                ) from error
            self._unwritable = str(error.strerror)
            warn(f"store is {root}, which cannot be written ({error.strerror}): what is in it is used, and no more")

    def entry(
        self,
        kind: str,
        key: str,
        make: Callable[[Path], Mapping[str, Any]],
        *,
        what: str = "",
        needed_bytes: int = FEW_BYTES,
    ) -> Entry:
        """The entry, made by `make(folder)` where it is not there yet. `make` fills the folder and returns facts.

        what: the entry in the user's words. needed_bytes: about how much disk making it takes, at most.
        Two processes that want the same entry: one makes it, the other says that it waits, and uses it. Raises
        DiskFullError where the disk cannot hold it.
        """
        folder = self.root / kind / key
        try:
            with self._lock(kind, key, what):
                found = self._read(folder)
                if found is not None:
                    return Entry(key, folder, found, reused=True)
                with full_disk_explained("store", self.root, what or f"{kind}/{key}", needed_bytes):
                    return Entry(key, folder, self._make(folder, key, make), reused=False)
        except _LockedOutError as error:
            return self._as_it_is(folder, what or f"{kind}/{key}", str(error))

    def replace(self, kind: str, entry: Entry, make: Callable[[Path], Mapping[str, Any]], *, what: str = "") -> Entry:
        """A better entry in the place of `entry`, made as in `Store.entry`; where another process has put one there
        since `entry` was read, that one. Killed in between, the next to ask makes it as if there had been none."""
        try:
            with self._lock(kind, entry.key, what):
                found = self._read(entry.folder)
                if found is not None and found != entry.facts:
                    return Entry(entry.key, entry.folder, found, reused=True)
                with full_disk_explained("store", self.root, what or f"{kind}/{entry.key}", FEW_BYTES):
                    return Entry(entry.key, entry.folder, self._make(entry.folder, entry.key, make), reused=False)
        except _LockedOutError:
            return entry

    def work_folder(self, key: str) -> Path:
        """A folder for unfinished work under `key`. It stays until `forget_work`, so that a killed stage resumes."""
        return self._folder("work", key)

    def forget_work(self, key: str) -> None:
        """Remove unfinished work that has been finished."""
        shutil.rmtree(self.root / "work" / key, ignore_errors=True)

    def leave_no_empty_work(self, key: str, *, besides: str) -> None:
        """Remove the folder for unfinished work where nothing lies in it besides a file of that name."""
        folder = self.root / "work" / key
        with contextlib.suppress(OSError):
            if all(path.name == besides for path in folder.iterdir()):
                shutil.rmtree(folder)

    def leave_none_empty(self) -> None:
        """Remove the root, and the folders above it that were not there before, as far as nothing lies in them."""
        for folder in self._new:
            # With something in it: so are those above it.
            with contextlib.suppress(OSError):
                folder.rmdir()

    def cache_folder(self, name: str) -> Path:
        """A folder for what can be computed again at any time."""
        return self._folder(name)

    def _folder(self, *names: str) -> Path:
        # Of a store that is only read nothing is made: what looks for such a folder finds an empty one elsewhere.
        root = self.root if self._unwritable is None else Path(self._elsewhere.name)
        folder = root.joinpath(*names)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def _elsewhere(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory()

    def _as_it_is(self, folder: Path, what: str, reason: str) -> Entry:
        """An entry of a store that this user may only read. Raises InputError where it is not there, or damaged."""
        problem = find_damage(folder, key=folder.name) if folder.exists() else f"{what} is not in it"
        if problem is not None:
            raise InputError(
                f"store is {self.root}, which cannot be written ({reason}), and {problem} ({folder}). Ask its owner "
                "for the right to write, or name another folder: store=DIR."
            )
        return Entry(folder.name, folder, self._facts(folder), reused=True)

    def set_aside(self, entry: Entry, reason: str) -> None:
        """Move an entry that turned out to be wrong out of the way, where no other process has done so."""
        try:
            with self._lock(entry.folder.parent.name, entry.key, ""):
                if entry.folder.exists():
                    self._set_aside(entry.folder, reason)
        except _LockedOutError as error:
            raise InputError(
                f"store is {self.root}, which cannot be written ({error}), and {entry.folder} is wrong: {reason}. Name "
                "another folder: store=DIR."
            ) from None

    def _make(self, folder: Path, key: str, make: Callable[[Path], Mapping[str, Any]]) -> Mapping[str, Any]:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(f".{folder.name}.*.unfinished"):
            shutil.rmtree(left, ignore_errors=True)
        # A name of its own: what a killed process had started may still be writing into the one before.
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".unfinished", dir=folder.parent))
        # As any other folder is made, not for its owner alone.
        temporary.chmod(folder.parent.stat().st_mode)
        try:
            facts = dict(make(temporary))
            write_manifest(temporary, facts, key=key)
            if folder.exists():
                shutil.rmtree(folder)
            temporary.rename(folder)
            flush(folder.parent)
        except BaseException:
            _remove(temporary)
            raise
        return facts

    def _read(self, folder: Path) -> Mapping[str, Any] | None:
        if not folder.exists():
            return None
        problem = find_damage(folder, key=folder.name)
        if problem is not None:
            self._set_aside(folder, problem)
            return None
        return self._facts(folder)

    def _facts(self, folder: Path) -> Mapping[str, Any]:
        return read_json(folder / MANIFEST)["facts"]

    def _set_aside(self, folder: Path, reason: str) -> None:
        place = self.root / "damaged" / f"{folder.parent.name}-{folder.name}-{time.time_ns()}"
        place.parent.mkdir(exist_ok=True)
        folder.rename(place)
        self._warn(f"{folder} is set aside in {place}: {reason}. It is made again.")

    @contextlib.contextmanager
    def _lock(self, kind: str, key: str, what: str) -> Iterator[None]:
        if self._unwritable is not None:
            raise _LockedOutError(self._unwritable)
        path = self.root / "locks" / f"{kind}-{key}.lock"
        # The operating system releases the lock of a process that died.
        lock = FileLock(path)
        try:
            path.parent.mkdir(exist_ok=True)
            lock.acquire(timeout=0)
        except PermissionError as error:
            # Another user's, in a store that several write.
            raise _LockedOutError(str(error.strerror)) from error
        except Timeout:
            self._warn(f"another run is making {what or 'an entry'} ({kind}/{key}); this one waits for it and uses it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


@contextlib.contextmanager
def full_disk_explained(setting: str, place: Path, what: str, needed_bytes: int) -> Iterator[None]:
    """Inside, an error of any type that comes of a full disk at `place` (the value of `setting`) becomes a
    DiskFullError that says how much is missing for `what`."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        limit = _limit_behind(error, place)
        if limit is not None:
            raise DiskFullError.by_limit(setting, place, what=what, needed_bytes=needed_bytes, limit=limit) from error
        free = shutil.disk_usage(place).free
        # Else it is another disk that is full, such as the one for temporary files.
        if not (_comes_of_full_disk(error) and free < needed_bytes):
            raise
        raise DiskFullError.of(setting, place, what=what, needed_bytes=needed_bytes, free_bytes=free) from error


def _remove(folder: Path) -> None:
    for path in folder.rglob("*"):
        # A library that failed may still hold a file open, whose space a removal alone would not give back.
        with contextlib.suppress(OSError):
            os.truncate(path, 0)
    shutil.rmtree(folder, ignore_errors=True)


def _comes_of_full_disk(error: BaseException) -> bool:
    return any(
        (isinstance(cause, OSError) and cause.errno == errno.ENOSPC)
        or any(text in str(cause) for text in FULL_DISK_TEXTS)
        for cause in _causes(error)
    )


def _limit_behind(error: BaseException, place: Path) -> str | None:
    """The limit that an error comes of, in words, where there is room on the disk all the same, and the file that hit
    it does not lie elsewhere."""
    for cause in _causes(error):
        name = cause.filename if isinstance(cause, OSError) else None
        elsewhere = isinstance(name, str) and not Path(name).resolve().is_relative_to(place.resolve())
        for number, (text, words) in LIMITS.items():
            hit = cause.errno == number if isinstance(cause, OSError) else text in str(cause)
            if hit and not elsewhere:
                return words
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def bytes_in(folder: Path) -> int:
    """The sizes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
