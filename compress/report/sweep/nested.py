"""Values in nested records that others wrote, where any part may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def value_at(record: Mapping[str, Any] | None, *path: str) -> Any:
    """The value under these names, one inside the other; None where one of them is missing."""
    value: Any = record
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value
