"""Rules for single settings. Each raises `InputError` that names the setting, its value, the rule and a way out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import TypeGuard

from compress.core.errors import InputError


def require_fraction(name: str, value: float, way_out: str) -> None:
    """Require 0 < value <= 1."""
    if not _is_number(value) or not 0 < value <= 1:
        raise InputError(f"{name} is {value}; it must lie in (0, 1]. {way_out}")


def require_at_least(name: str, value: object, minimum: float, way_out: str) -> None:
    """Require value >= minimum."""
    if not _is_number(value) or value < minimum:
        raise InputError(f"{name} is {value}; it must be at least {minimum}. {way_out}")


def require_positive(name: str, value: float, way_out: str) -> None:
    """Require a finite value > 0."""
    if not _is_number(value) or value <= 0:
        rule = "finite" if value in (math.inf, -math.inf) or value != value else "greater than 0"
        raise InputError(f"{name} is {value}; it must be {rule}. {way_out}")


def require_integer(name: str, value: object, minimum: int, way_out: str) -> None:
    """Require a whole number of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise InputError(f"{name} is {value}; it must be a whole number of at least {minimum}. {way_out}")


def require_boolean(name: str, value: object) -> None:
    """Require true or false."""
    if not isinstance(value, bool):
        raise InputError(f"{name} is {value!r}; it must be true or false.")


def require_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Require one of `choices`; the message offers the nearest."""
    known = sorted(choices)
    if value not in known:
        raise InputError(f"{name} is {value!r}; it must be one of {', '.join(known)}. {nearest(value, known)}".strip())


def nearest(value: str, known: Iterable[str]) -> str:
    """A sentence that offers the closest known name, or an empty string where none is so close that the other is likely
    a slip of typing."""
    matches = difflib.get_close_matches(str(value), list(known), n=1, cutoff=0.6)
    return f"Did you mean {matches[0]!r}?" if matches else ""


def is_missing(value: object) -> bool:
    """Whether nobody gave a value: None, no text, or the NaN that stands for an empty cell of numbers."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
