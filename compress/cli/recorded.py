"""The recipe of a run that is over, from what its folder says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.cli.config import built
from compress.core.errors import InputError
from compress.core.json_file import read_json
from compress.core.recipe import Recipe
from compress.core.run_files import SUMMARY


def recorded_recipe(run: Path) -> tuple[Recipe, Mapping[str, Any]]:
    """The recipe, and the run's summary. Raises InputError where the folder is that of no finished run, or of one of
    another release."""
    if not (run / SUMMARY).is_file():
        raise InputError(f"{run} is no finished run: it has no {SUMMARY}. Give the folder that a run wrote.")
    summary: Mapping[str, Any] = read_json(run / SUMMARY, finite=False)
    settings = summary.get("settings")
    if not isinstance(settings, dict):
        raise InputError(f"{run / SUMMARY} does not say the settings: another release wrote it. Run it again.")
    try:
        return built(dict(settings), str(summary.get("recipe", "recipe"))), summary
    except KeyError as error:
        raise InputError(f"{run / SUMMARY} has no setting {error}: another release wrote it. Run it again.") from None
