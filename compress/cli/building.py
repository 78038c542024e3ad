"""From settings that name a class to the object that they describe, from the inside out."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from compress.cli.positions import lacks, parts_of, require_like, require_offers, require_values
from compress.core.checks import nearest
from compress.core.defaults import with_defaults
from compress.core.errors import CompressError, InputError

# Where packages lay whose classes a recipe's own file may name, and where they lie now.
MOVED = {
    "compress.stages": "compress.methods",
    "compress.importance": "compress.methods.importance",
    "compress.training": "compress.methods.training",
    "compress.teachers": "compress.methods.teachers",
    "compress.tracking": "compress.report.tracking",
}
# Modules that have become packages of the same name.
RUNTIMES = ("compress.runtimes.onnxruntime", "compress.runtimes.openvino", "compress.runtimes.torch")


def build_part(
    where: str, settings: Any, defaults: type = object, *, like: Any = None, offers: Sequence[str] = (), **more: Any
) -> Any:
    """The object that `settings` describe, from the inside out. `offers`: the names it must have. defaults: a mixin
    with what it may lack besides. like: the class or protocol that it must be of, if any."""
    if not isinstance(settings, dict) or "_target_" not in settings:
        raise InputError(f"{where} is {settings!r}; it must name a class: _target_: package.module.Class")
    kind = _class_at(f"{where}._target_", settings["_target_"])
    if like is not None:
        require_like(where, kind, like)
    require_offers(where, kind, settings["_target_"], offers)
    values = _values(where, kind, {str(name): value for name, value in settings.items() if name != "_target_"})
    _require_fitting(where, kind, {**values, **more})
    _require_kinds(where, kind, values)
    try:
        built = kind(**values, **more)
    except CompressError as error:
        raise type(error)(_placed(str(error), where, values)) from None
    except Exception as error:
        # A class of the user's own may raise anything.
        raise InputError(f"{where} cannot be built: {kind.__name__} says {type(error).__name__}: {error}") from error
    lacking = [name for name in offers if not hasattr(built, name)]
    if lacking:
        raise lacks(where, settings["_target_"], lacking)
    return with_defaults(f"{where}._target_", built, defaults)


def _values(where: str, kind: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a class, each part of a recipe among them built. A class is called where one is expected, and
    nowhere else: whoever may give a value must not thereby run a program."""
    parts = parts_of(kind)
    for name, value in settings.items():
        if name not in parts:
            require_values(_setting(where, kind, name), value, kind.__name__)
    return {name: _value(f"{where}.{name}", value, parts.get(name)) for name, value in settings.items()}


def _value(where: str, value: Any, part: Any) -> Any:
    if isinstance(value, dict):
        if "_target_" in value:
            return build_part(where, value, like=part)
        return {name: _value(f"{where}.{name}", inner, part) for name, inner in value.items()}
    return [_value(where, inner, part) for inner in value] if isinstance(value, list) else value


def _class_at(setting: str, path: Any) -> Any:
    rule = "it must be the dotted path of a class that Python can import"
    module, _, name = str(path).rpartition(".")
    if not module:
        raise InputError(f"{setting} is {path!r}; {rule}, such as package.module.Class.")
    now = _moved(module)
    if now != module:
        raise InputError(f"{setting} is {path!r}, but {module} has moved to {now}. Use {now}.{name}.")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{setting} is {path!r}; {rule} ({error}). Install its package, or set PYTHONPATH.") from error
    if not isinstance(getattr(found, name, None), type):
        if hasattr(found, name):
            raise InputError(f"{setting} is {path!r}; {rule}, and this is a {type(getattr(found, name)).__name__}.")
        classes = [other for other in vars(found) if not other.startswith("_")]
        hint = nearest(name, classes) or "Check the name."
        raise InputError(f"{setting} is {path!r}; {rule}, and {module} has no {name}. {hint}")
    return getattr(found, name)


def _moved(module: str) -> str:
    """Where a module of ours lies that lay there before."""
    if module in RUNTIMES:
        return f"{module}.runtime"
    for before, now in MOVED.items():
        if f"{module}.".startswith(f"{before}."):
            return f"{now}{module.removeprefix(before)}"
    return module


def _require_fitting(where: str, kind: Any, given: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(kind).parameters.values()
    except ValueError:
        return
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for name in given:
            if name not in known:
                hint = nearest(name, known) or f"It has {', '.join(known) or 'none'}."
                raise InputError(f"{where}.{name} is no setting of {kind.__name__}. {hint}")
    for parameter in parameters:
        if parameter.name in known and parameter.default is parameter.empty and parameter.name not in given:
            raise InputError(f"{where}.{parameter.name} is not set; {kind.__name__} needs it. Add it to the recipe.")


def _require_kinds(where: str, kind: Any, values: Mapping[str, Any]) -> None:
    """Raise InputError where text or a group of settings is wanted and something else given. Numbers are checked by
    the classes themselves, with their limits."""
    try:
        hints = get_type_hints(kind)
    except (NameError, TypeError):
        # A class of the user's own may name types that exist for the type checker only.
        return
    for name, value in values.items():
        wanted, setting = hints.get(name), _setting(where, kind, name)
        if wanted is str and not isinstance(value, str):
            shown = "null" if value is None else value
            raise InputError(f'{setting} is {shown}; it must be text. Use {setting}=TEXT, or "3" for digits.')
        if isinstance(wanted, type) and is_dataclass(wanted) and not isinstance(value, wanted):
            shown = "null" if value is None else value
            raise InputError(f"{setting} is {shown}; it must be a group of settings ({wanted.__name__}).")


def _setting(where: str, kind: Any, name: str) -> str:
    """The setting that a user types for `name` of the class that stands at `where`."""
    place = "data" if where in ("task", "data.source") else where
    # A field may say which setting it is, where that has another name.
    typed = {part.name: part.metadata.get("setting") for part in fields(kind)} if is_dataclass(kind) else {}
    return typed.get(name) or f"{place}.{name}"


def _placed(message: str, where: str, values: Mapping[str, Any]) -> str:
    """`message` with the full name of the setting that it begins with: a class does not know where it stands."""
    first, _, rest = message.partition(" ")
    last = first.rpartition(".")[2]
    if not where.startswith(("stages.", "model", "measurement")):
        return message
    if last in values:
        return f"{where}.{last} {rest}"
    return message if where in message else f"{where}: {message}"
