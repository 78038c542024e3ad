"""A checkpoint's content as hashes: the same model in another folder is the same model."""

from __future__ import annotations

import hashlib
from pathlib import Path

SUFFIXES = {".json", ".safetensors", ".txt", ".model"}


def hashes_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that decides what a checkpoint is, by name. Links are followed."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix in SUFFIXES)
    return {name: sha256_of(folder / name) for name in names}


def files_below(folder: Path) -> list[Path]:
    """Every file of a folder that may be one of a checkpoint's."""
    return [path for path in folder.rglob("*") if path.is_file()]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
