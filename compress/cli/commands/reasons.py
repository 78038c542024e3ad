"""Why a run ended, in words, for errors that say less by themselves."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator

from compress.core.errors import CompressError, InputError
from compress.core.secrets import masked
from compress.methods.training.processes import is_main

DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not become so large there (ulimit -f, or the file system's own limit)",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission was denied",
}
# Libraries that are not written in Python say it in words.
TEXTS = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EFBIG: "File too large",
}
ANOTHER_PLACE = "Free some space, or name another place."
WAY_OUT = "What was finished is kept. Free some space, or name other folders: store, hydra.run.dir."


def complain(message: str, status: int) -> int:
    """Print the one message of a refusal, and return the exit status."""
    # Of several processes that train together, each meets what is wrong with the settings.
    if is_main():
        print(f"compress: {masked(message)}", file=sys.stderr, flush=True)
    return status


@contextlib.contextmanager
def refusing(command: str) -> Iterator[None]:
    """Print why `command` cannot do what is inside, and exit with the error's status; of a disk that takes no more,
    too."""
    try:
        yield
    except Exception as error:
        known = as_compress_error(error, ANOTHER_PLACE)
        if known is None:
            raise
        print(f"{command}: {masked(str(known))}", file=sys.stderr)
        sys.exit(known.exit_status)


def refuse(error: CompressError) -> int:
    """Print why a run ended, and return its exit status."""
    known = as_compress_error(error)
    assert known is not None
    return complain(str(known), known.exit_status)


def as_compress_error(error: Exception, way_out: str = WAY_OUT) -> CompressError | None:
    """The same with an exit status, where it is known: the disk is bad input. A full disk comes as many types.
    way_out: what to do about it."""
    reason = None if isinstance(error, InputError) else disk_reason(error, way_out)
    if reason is not None:
        return InputError(reason)
    return error if isinstance(error, CompressError) else None


def folder_reason(error: Exception) -> str | None:
    """What to say of an error that comes from making a run's folder."""
    if not isinstance(error, OSError) or error.filename is None:
        return None
    return f"hydra.run.dir cannot be made at {error.filename} ({error.strerror}). Name another folder."


def disk_reason(error: BaseException | None, way_out: str) -> str | None:
    """What to say where a disk is the cause."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK:
            return f"{DISK[error.errno]}: {error.filename or error}. {way_out}"
        for number, text in TEXTS.items():
            if text in str(error):
                line = next(line for line in str(error).splitlines() if text in line)
                return f"{DISK[number]} ({line.strip()}). {way_out}"
        error = error.__cause__ or error.__context__
    return None
