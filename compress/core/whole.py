"""Files and folders that are there whole, or not at all, whatever ends the process that writes them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.core.errors import InputError


def require_new_folder(out: Path) -> None:
    """Raise InputError where the folder that `--out` names cannot be made."""
    if out.exists():
        raise InputError(f"--out is {out}, which is there already. Name a folder that is not.")
    if not out.parent.is_dir():
        raise InputError(f"--out is {out}, in a folder that is not there. Make {out.parent} first, or name another.")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """An empty folder beside `out`, which becomes `out` where the block ends without an error, and is removed where it
    does not. What a killed process left of an earlier one is removed first."""
    unfinished = _unfinished(out)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        unfinished.rename(out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def write_whole(path: Path, text: str, *, flushed: bool = False) -> None:
    """Write a file beside `path` and give it that name; what was there before stays until then. What is no file, such
    as /dev/stdout, is written to where it is. flushed: whether it is on the disk by then, where other machines read
    it."""
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    unfinished = _unfinished(path)
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            if flushed:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.unfinished")
