"""Folders that a run is going to write in, looked at without leaving anything there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from compress.core.errors import InputError


def require_writable(setting: str, folder: Path) -> None:
    """Raise InputError where nothing could be made in a folder, which need not exist. Nothing is left there."""
    folder = folder.resolve()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        # A file without a name: nobody sees it.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise InputError(
            f"{setting} is {folder}, which cannot be written ({error.strerror}). Name another folder."
        ) from error


def require_unused(folder: Path) -> None:
    """Raise InputError where a run is alive in a folder."""
    if not (folder / ".lock").exists():
        return
    try:
        FileLock(folder / ".lock").acquire(timeout=0).lock.release()
    except Timeout:
        raise InputError(
            f"hydra.run.dir is {folder}, in use by a run that is still alive. Wait for it, or name another folder."
        ) from None


def free_bytes(folder: Path) -> int:
    """Of the disk that a folder is on, which need not exist."""
    return shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free
