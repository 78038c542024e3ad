"""Where Hydra finds compress's sweepers: it takes plugins from the namespace `hydra_plugins` alone.

Hydra imports this file at every start, of other programs too, so it imports nothing of its own until a sweep begins.
"""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class _CompressSweeper(Sweeper):
    """Keeps what Hydra gives until `sweep`. settings: those of `hydra.sweeper`."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `sweep`."""
        self._given = (hydra_context, task_function, config)


class GridSweeper(_CompressSweeper):
    """Every combination of the values on the command line: `hydra/sweeper=grid`, the default of every recipe."""

    def sweep(self, arguments: list[str]) -> None:
        """Run all. arguments: what the user typed, as Hydra's overrides."""
        from compress.cli.sweep.grid import sweep
        from compress.cli.sweep.launch import Command

        sweep(Command(*self._given), arguments)


class OptunaSweeper(_CompressSweeper):
    """Optuna chooses the values within what the command line allows: `hydra/sweeper=optuna`."""

    def sweep(self, arguments: list[str]) -> None:
        """Run trials. arguments: what the user typed, as Hydra's overrides."""
        from compress.cli.sweep.launch import Command
        from compress.cli.sweep.search import search

        search(Command(*self._given), arguments, self._settings)
