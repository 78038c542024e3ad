"""What a part of the user's own does not offer, it is given: nobody asks later whether it is there."""

from __future__ import annotations

from typing import Any

from compress.core.errors import InputError


def with_defaults(setting: str, part: Any, defaults: type) -> Any:
    """`part`, with what it lacks of the methods and attributes of `defaults`, a mixin such as `StageDefaults`.

    Its class becomes one of the same name that inherits from both, so that what it has itself comes first. setting:
    where it was named, for the InputError that is raised for an object whose class cannot be another.
    """
    kind = type(part)
    if issubclass(kind, defaults):
        return part
    same = {"__slots__": (), "__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    try:
        # As of any object, since that of a frozen dataclass refuses every change.
        object.__setattr__(part, "__class__", type(kind.__name__, (kind, defaults), same))
    except TypeError as error:
        raise InputError(
            f"{setting} is made by {kind.__name__}, which cannot be given what it lacks ({error}). Let it be a class "
            f"that inherits from {defaults.__module__}.{defaults.__qualname__}."
        ) from None
    return part
