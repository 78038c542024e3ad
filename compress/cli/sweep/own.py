"""The command that makes one job's run again, without the sweep."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

HYDRAS = ("hydra.", "hydra/")


def own_folders(hydra_settings: Any) -> list[str]:
    """The part of a command that names the user's own recipe folder, where there is one: `-cd FOLDER`."""
    sources = hydra_settings.runtime.config_sources
    return [part for source in sources if source.provider == "command-line" for part in ("-cd", source.path)]


def command_of(hydra_settings: Any, overrides: Sequence[str] | None = None) -> str:
    """A line for the shell. hydra_settings: the node `hydra`. overrides: of the job; those in the settings if None."""
    given = hydra_settings.overrides.task if overrides is None else overrides
    kept = [str(override) for override in given if not str(override).lstrip("+~").startswith(HYDRAS)]
    name = str(hydra_settings.job.config_name)
    return shlex.join(["compress", *own_folders(hydra_settings), "-cn", name, *kept])
