"""What jobs of one process share: data and teacher are read once, and again only where their files have changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compress.core.recipe import Recipe
from compress.pipeline.loaded_recipe import Material

# What recipes must have in common.
OF_MATERIAL = ("model", "data", "task", "seed")

Stamps = tuple[tuple[Any, ...], ...]


class Materials:
    """The materials of the latest recipes, `most` of them, or of all where None.

    A material is used again for a recipe that reads the same, as long as every file that it was read from has the size,
    the times of change and the place on the disk that it had. Sources of data and teachers name those files in
    `files()`; what one of them reads that does not is read anew each time.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._kept: dict[str, tuple[Stamps, Material]] = {}

    def of(self, recipe: Recipe) -> Material:
        """Read for this recipe, now or before. Raises InputError as `Material.of` does."""
        key = json.dumps([recipe.settings[part] for part in OF_MATERIAL], sort_keys=True, default=str)
        # Taken before anything is read: what changes meanwhile is read again for the next recipe.
        stamps = _stamps(recipe)
        before, material = self._kept.pop(key, (None, None))
        if material is None or stamps is None or stamps != before:
            material = Material.of(recipe)
        if stamps is not None:
            self._kept[key] = stamps, material
            for oldest in list(self._kept)[: 0 if self._most is None else -self._most]:
                del self._kept[oldest]
        return material


def _stamps(recipe: Recipe) -> Stamps | None:
    """What tells whether a file has changed, of each that the recipe's data and teacher are read from; None where one
    of the two does not name them, or one of them cannot be looked at: reading it says why."""
    stamps: list[tuple[Any, ...]] = []
    for part in (recipe.data, recipe.teacher):
        files = part.files()
        if files is None:
            return None
        try:
            stamps += [_stamp(path) for path in sorted(files)]
        except OSError:
            return None
    return tuple(stamps)


def _stamp(path: Path) -> tuple[Any, ...]:
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
