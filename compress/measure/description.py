"""A part of a recipe in plain values, so that another process builds the same one."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def describe(thing: Any) -> dict[str, Any]:
    """The class of a dataclass instance by its dotted path, its settings, and the folder that it was imported from."""
    kind = type(thing)
    return {
        "target": f"{kind.__module__}.{kind.__qualname__}",
        "settings": dataclasses.asdict(thing),
        "folder": _imported_from(kind.__module__),
    }


def build(description: Mapping[str, Any]) -> Any:
    """What `describe` was given. Only ever called on what this program wrote to its own child process."""
    module, _, name = description["target"].rpartition(".")
    folder = description["folder"]
    if folder is not None and folder not in sys.path:
        # At the end: a class of the user's own is found there, and nothing there stands in a library's place.
        sys.path.append(folder)
    return getattr(importlib.import_module(module), name)(**description["settings"])


def _imported_from(module: str) -> str | None:
    """The folder that holds the outermost package, or the module, of this name; None where no file is known."""
    outermost = sys.modules.get(module.partition(".")[0])
    inside = list(getattr(outermost, "__path__", ()))
    file = inside[0] if inside else getattr(outermost, "__file__", None)
    return None if file is None else str(Path(file).resolve().parent)
