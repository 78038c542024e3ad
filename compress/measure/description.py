"""A part of a recipe in plain values, so that another process builds the same one."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any


def describe(thing: Any) -> dict[str, Any]:
    """The class of a dataclass instance by its dotted path, and its settings."""
    kind = type(thing)
    return {"target": f"{kind.__module__}.{kind.__qualname__}", "settings": dataclasses.asdict(thing)}


def build(description: Mapping[str, Any]) -> Any:
    """What `describe` was given. Only ever called on what this program wrote to its own child process."""
    module, _, name = description["target"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**description["settings"])
