"""Texts, or images, as the user gives them."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset

from compress.core.checks import nearest
from compress.core.errors import InputError
from compress.data.formats import read_file
from compress.data.image_bytes import with_image_bytes
from compress.data.images import read_classes


def read_texts(path: Path, group: str | None) -> Dataset:
    """A file in any form that a run reads, or a folder of images. group: a column that must be there. Raises InputError
    where it cannot be read."""
    read = read_classes("--texts", str(path)) if path.is_dir() else read_file("--texts", str(path), plain_text=True)
    if group is not None and group not in read.column_names:
        known = f"It has {', '.join(read.column_names)}."
        raise InputError(
            f"--group is {group}, which is no column of {path}. {nearest(group, read.column_names) or known}"
        )
    return with_image_bytes(read)
