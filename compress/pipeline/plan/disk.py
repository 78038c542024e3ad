"""Folders that a run is going to write in, looked at without leaving anything there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

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


def free_bytes(folder: Path) -> int:
    """Of the disk that a folder is on, which need not exist."""
    return shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free
