"""What a dry run plans: one recipe, as the command line or one point of its sweep gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.core.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """One recipe, as the command line or one point of its sweep gives it.

    changed: for each stage the settings that are not its method's defaults: now and by default, by name.
    """

    recipe: Recipe
    folder: Path
    changed: Mapping[str, Mapping[str, tuple[Any, Any]]]
