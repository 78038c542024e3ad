"""Errors that end a run, each with the exit status that the command line returns."""

from __future__ import annotations


class CompressError(Exception):
    """A run cannot go on. `exit_status` is what the command returns."""

    exit_status = 1


class InputError(CompressError):
    """What the user gave cannot be used. The message names the setting, the value, the rule and the way out."""

    exit_status = 2


class NothingPassedError(CompressError):
    """No stage passed its gate, so nothing was exported."""

    exit_status = 3


class StageError(CompressError):
    """A stage broke while it worked: a loss that is not finite, a model that changed on reload."""
