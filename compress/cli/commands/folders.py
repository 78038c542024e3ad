"""Folders that Hydra makes before it is known whether anything will lie in them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class _Made:
    """The run's folder and those above it that were not there, the deepest first."""

    folders: tuple[Path, ...] = ()


class RememberFolders(Callback):
    """Notes, before Hydra makes a run's folder, which folders that will be."""

    def on_run_start(self, config: DictConfig, **more: Any) -> None:
        """Called once the settings are known."""
        place = Path(str(config.hydra.run.dir)).absolute()
        _Made.folders = tuple(folder for folder in (place, *place.parents) if not folder.exists())


def leave_none_empty() -> None:
    """Remove what Hydra made for a run that was refused, as far as nothing lies in it."""
    for folder in _Made.folders:
        # Gone already, or with something in it: so are those above it.
        with contextlib.suppress(OSError):
            folder.rmdir()
