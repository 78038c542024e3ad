"""The folder that a run writes into: one run's at a time, and only what runs wrote is ever replaced in it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from compress.core.errors import InputError
from compress.core.manifest import MANIFEST
from compress.core.recipe import Recipe
from compress.core.run_files import EXPORT, FORMS, LEDGER, LOCK, REPORT, SUMMARY


def check_folders(recipe: Recipe, folder: Path) -> None:
    """Raise InputError where a run in `folder` would replace what no run wrote, or write beside the teacher's
    files."""
    _require_a_runs(folder)
    files = [path.resolve() for path in recipe.teacher.files() or ()]
    # Its own folder holds the files that lie highest. Runs and store may lie below: a user may work in it.
    teacher = min((path.parent for path in files), key=lambda place: len(place.parts), default=None)
    for setting, place in (("hydra.run.dir", folder), ("store", recipe.store)):
        if place.resolve() == teacher:
            raise InputError(f"{setting} is {place}, the folder that holds the teacher. Name another folder.")
    if teacher is not None and teacher.is_relative_to(folder.resolve() / EXPORT):
        raise InputError(
            f"hydra.run.dir is {folder}; a run there would replace the teacher, {teacher}. Name another folder."
        )


def _require_a_runs(folder: Path) -> None:
    """A run begins by removing what an earlier one left, and knows that by its ledger and the export's manifest."""
    found = [name for name in (EXPORT, FORMS, SUMMARY, REPORT) if (folder / name).exists()]
    if (folder / LEDGER).exists():
        found = [name for name in found if name == EXPORT and not (folder / EXPORT / MANIFEST).exists()]
    if found:
        raise InputError(
            f"hydra.run.dir is {folder}, where a run would replace {' and '.join(found)}, which no run wrote. Name a "
            "new folder, or that of an earlier run."
        )


def require_unused(folder: Path) -> None:
    """Raise InputError where a run is alive in a folder."""
    if (folder / LOCK).exists():
        try:
            FileLock(folder / LOCK).acquire(timeout=0).lock.release()
        except Timeout:
            raise _in_use(folder) from None


@contextlib.contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Inside, the folder is there and this run's alone. Raises InputError where it cannot be; a run that is refused
    leaves no folder behind that holds nothing else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise _in_use(folder) from None
    except OSError as error:
        raise InputError(
            f"hydra.run.dir is {folder}, which cannot be written ({error.strerror}). Name another folder."
        ) from error
    try:
        yield
    finally:
        lock.release()
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink(missing_ok=True)
            folder.rmdir()


def forget_earlier_run(folder: Path) -> None:
    """Remove what would contradict this run's ledger. Once all is checked: a run that is refused changes nothing."""
    for name in (SUMMARY, REPORT):
        (folder / name).unlink(missing_ok=True)
    for name in (EXPORT, FORMS):
        shutil.rmtree(folder / name, ignore_errors=True)


def _in_use(folder: Path) -> InputError:
    return InputError(
        f"hydra.run.dir is {folder}, in use by a run that is still alive. Wait for it, or name another folder."
    )
