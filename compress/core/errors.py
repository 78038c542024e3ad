"""Errors that end a run, each with the exit status that the command line returns."""

from __future__ import annotations

from pathlib import Path


class CompressError(Exception):
    """A run cannot go on. `exit_status` is what the command returns."""

    exit_status = 1


class InputError(CompressError):
    """What the user gave cannot be used. The message names the setting, the value, the rule and the way out."""

    exit_status = 2


class DiskFullError(InputError):
    """A disk cannot hold what is to be written. What was finished before is whole."""

    @classmethod
    def of(cls, setting: str, place: Path, *, what: str, needed_bytes: int, free_bytes: int) -> DiskFullError:
        """The error for the disk on which `place` lies, the value of `setting`. what: was to be written there."""
        return cls(
            f"the disk of {place} ({setting}) is full: {what} needs about {needed_bytes / 1e6:.1f} MB, and "
            f"{free_bytes / 1e6:.1f} MB are free, {(needed_bytes - free_bytes) / 1e6:.1f} MB too few. What was "
            f"finished is kept. Free some space, or name another folder for {setting}."
        )


class NothingPassedError(CompressError):
    """No stage passed its gate, so nothing was exported."""

    exit_status = 3


class StageError(CompressError):
    """A stage broke while it worked, such as by a loss that is not finite."""


class ReloadError(StageError):
    """A finished model is not what it was when it is loaded again."""
