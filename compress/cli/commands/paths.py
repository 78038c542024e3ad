"""Paths as they are typed."""

from __future__ import annotations

from pathlib import Path

from compress.cli.config import at_home


def path(typed: str) -> Path:
    """A path, with `~` as the home folder: a shell leaves that alone in `--out=~/labels`."""
    return Path(at_home(typed))
