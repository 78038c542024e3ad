"""Errors that end a run, each with the exit status that the command line returns."""

from __future__ import annotations

from pathlib import Path


class CompressError(Exception):
    """A run cannot go on. `exit_status` is what the command returns."""

    exit_status = 1


class InputError(CompressError):
    """What the user gave cannot be used. The message names the setting, the value, the rule and the way out."""

    exit_status = 2


class ExampleError(InputError):
    """An example that cannot be used. split: of which data setting; row: which one there, from 0; before and after: the
    message around where it is."""

    def __init__(self, before: str, split: str, row: int, after: str) -> None:
        super().__init__(f"{before}example {row + 1} of data.{split} {after}")
        self._before, self.row, self._after = before, row, after

    def at(self, split: str, row: int) -> ExampleError:
        """The same of an example that is counted from elsewhere."""
        return ExampleError(self._before, split, row, self._after)


class TooLittleError(InputError):
    """A split holds too little to be of use; where it was cut from another, a larger share may hold enough."""


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

    @classmethod
    def by_limit(cls, setting: str, place: Path, *, what: str, needed_bytes: int, limit: str) -> DiskFullError:
        """The error for a limit on the disk on which `place` lies, the value of `setting`, whatever is free there."""
        return cls(
            f"{what} needs about {needed_bytes / 1e6:.1f} MB at {place} ({setting}), and {limit}. What was finished is "
            f"kept. Raise the limit, free some space, or name another folder for {setting}."
        )


class NothingPassedError(CompressError):
    """No stage passed its gate, so nothing was exported."""

    exit_status = 3


class StageError(CompressError):
    """A stage broke while it worked, such as by a loss that is not finite."""


class ReloadError(StageError):
    """A finished model is not what it was when it is loaded again."""
