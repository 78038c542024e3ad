"""Models in forms that Transformers does not read as they are: written once as plain folders, for as long as we run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from compress.core.errors import InputError
from compress.methods.teachers import gguf_file, minimind

# Of each file its name, when it was last changed, and its size.
Stamp = tuple[tuple[str, int, int], ...]
# Kept until the process ends, which removes them.
_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def plain_folder(path: Path) -> Path:
    """The folder of a checkpoint that Transformers reads: `path` itself, or one with the same model.

    Raises InputError for a file of pickled weights, and for a model that cannot be told in another form.
    """
    minimind.require_no_pickle(path)
    if path.is_file() and path.suffix.lower() == gguf_file.SUFFIX:
        return _converted(path.resolve(), _stamp([path]), gguf_file.write_plain)
    if not minimind.is_minimind(path):
        return path
    files = [file for file in sorted(path.iterdir()) if file.is_file()]
    return _converted(path.resolve(), _stamp(files), minimind.write_plain)


@contextmanager
def told_by_its_name(path: Path) -> Iterator[None]:
    """Inside, an InputError about the folder that was written for `path` is about `path`: nobody knows the other."""
    try:
        yield
    except InputError as error:
        written = str(plain_folder(path))
        if written == str(path) or written not in str(error):
            raise
        raise InputError(str(error).replace(written, str(path))) from error


@cache
def _converted(path: Path, stamp: Stamp, write: Callable[[Path, Path], None]) -> Path:
    """stamp: changes where a file does."""
    place = tempfile.TemporaryDirectory(prefix="compress-model-")
    # Not before it is whole: what was refused is refused again.
    write(path, Path(place.name))
    _FOLDERS.append(place)
    return Path(place.name)


def _stamp(files: Sequence[Path]) -> Stamp:
    found = ((file.name, file.stat()) for file in files)
    return tuple((name, status.st_mtime_ns, status.st_size) for name, status in found)
