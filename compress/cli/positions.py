"""Where a recipe may name a class: only where a part of it is expected. Everywhere else stand values."""

from __future__ import annotations

import builtins
import collections.abc
import inspect
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from compress.core.errors import InputError

# The names that annotations give to what settings hold as values.
VALUES = frozenset(
    (*dir(builtins), *dir(typing), *dir(collections.abc), "Path", "annotations", "collections", "typing")
)


def parts_of(kind: Any) -> dict[str, Any]:
    """For each setting of a class that takes a part of a recipe what that part must be: a class, or the text of an
    annotation that names one which only a type checker sees."""
    annotations = {name: p.annotation for name, p in _parameters(kind).items()}
    known = {**_hints(kind), **_hints(getattr(kind, "__init__", None))}
    found = {name: _part_in(known.get(name, annotation)) for name, annotation in annotations.items()}
    return {name: part for name, part in found.items() if part is not None}


def require_values(setting: str, value: Any, owner: str) -> None:
    """Raise InputError where a class is named inside `value`, that of a setting of `owner` which takes none."""
    for place, inner in _nested(setting, value):
        if "_target_" in inner:
            raise InputError(
                f"{place}._target_ is {inner['_target_']!r}, but {owner} takes a value there, and no class: nothing is "
                "called to make one. Write the value itself. (A class of your own that takes a part of a recipe says "
                "so by its annotation.)"
            )


def require_like(setting: str, kind: type, part: Any) -> None:
    """Raise InputError unless `kind`, a class that nobody has called yet, can be what `part` says."""
    if not isinstance(part, type):
        return
    if getattr(part, "_is_protocol", False):
        names = _members(part)
        if any(hasattr(kind, name) for name in names):
            return
        rule = f"it must offer what {part.__name__} does ({', '.join(names)})"
    elif issubclass(kind, part):
        return
    else:
        rule = f"it must be a group of settings ({part.__name__})"
    raise InputError(f"{setting}._target_ is {kind.__module__}.{kind.__qualname__}; {rule}. Name such a class.")


def require_offers(where: str, kind: type, target: str, offers: Sequence[str]) -> None:
    """Raise InputError for a class that has nothing of what is wanted, before it is called. An object may have more
    than its class shows: it is looked at again."""
    if offers and not {*dir(kind), *_parameters(kind)}.intersection(offers):
        raise lacks(where, target, offers)


def lacks(where: str, target: str, names: Sequence[str]) -> InputError:
    """What to say where something at `where` has not all that is wanted of it."""
    return InputError(
        f"{where}._target_ is {target!r}, which has no {', '.join(names)}; it cannot stand there. What each part must "
        "offer is written in compress/core/."
    )


def _members(protocol: type) -> list[str]:
    """What a protocol asks for."""
    bases = [base for base in protocol.__mro__ if getattr(base, "_is_protocol", False)]
    names = {name for base in bases for name in (*vars(base), *vars(base).get("__annotations__", ()))}
    return sorted(name for name in names if not name.startswith("_"))


def _parameters(kind: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(kind).parameters
    except (TypeError, ValueError):
        return {}


def _hints(thing: Any) -> dict[str, Any]:
    try:
        return get_type_hints(thing)
    except (AttributeError, NameError, TypeError):
        # Types that exist for a type checker only.
        return {}


def _part_in(hint: Any) -> Any:
    """The first class in a type hint that is none of plain values; None where there is none."""
    if isinstance(hint, str):
        names = re.findall(r"[A-Za-z_][\w.]*", re.sub(r"'[^']*'|\"[^\"]*\"", "", hint))
        return hint if any(name.rpartition(".")[2] not in VALUES for name in names) else None
    if isinstance(hint, type) and not get_args(hint):
        plain = (
            hint in (Any, object, inspect.Parameter.empty) or issubclass(hint, Path) or hint.__module__ == "builtins"
        )
        return None if plain else hint
    if get_origin(hint) is Literal:
        return None
    return next((part for part in map(_part_in, get_args(hint)) if part is not None), None)


def _nested(place: str, value: Any) -> Sequence[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        inner = [found for name, part in value.items() for found in _nested(f"{place}.{name}", part)]
        return [(place, value), *inner]
    return [found for part in value for found in _nested(place, part)] if isinstance(value, list) else []
