"""Which forms there are: a folder of `compress/runtimes` whose `form.py` has a `FORM` is one."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from compress import runtimes
from compress.core.checks import nearest
from compress.core.errors import InputError
from compress.core.export_form import ExportForm


@cache
def known_forms() -> dict[str, Any]:
    """The class of each, by name, as `compress-export --to` takes it."""
    names = [f"{runtimes.__name__}.{found.name}.form" for found in pkgutil.iter_modules(runtimes.__path__)]
    kinds = [getattr(import_module(name), "FORM", None) for name in names if find_spec(name) is not None]
    return {kind.name: kind for kind in kinds if kind is not None}


def form_named(name: str, threads: int, setting: str = "--to") -> ExportForm:
    """The form, for so many threads. setting: that named it. Raises InputError for a name that is none, and where the
    package that writes and opens it is not installed."""
    forms = known_forms()
    if name not in forms:
        raise InputError(f"{setting} is {name!r}; forms are {', '.join(forms)}. {nearest(name, forms)}".rstrip())
    kind = forms[name]
    module, installed = kind.package
    if find_spec(module) is None:
        raise InputError(
            f"{setting} is {name}, which needs the package {module}, and that is not installed. Install it: "
            f"pip install {installed}"
        )
    form: ExportForm = kind(threads=threads)
    return form
