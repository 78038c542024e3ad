"""The terminal: what is printed there is text, whoever wrote it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def terminal(*, quiet: bool = False, highlight: bool = True) -> Console:
    """Where lines and tables for people go.

    Names of folders, stages, labels and columns come from outside: brackets and colons in them are no markup, which
    would break a line (`out[/b]x`) or colour it. highlight: whether numbers and paths are coloured.
    """
    from rich.console import Console

    # A log file has no width of its own; the whole table fits in 120 columns.
    width = None if sys.stdout.isatty() else 120
    return Console(width=width, quiet=quiet, highlight=highlight, markup=False, emoji=False)
