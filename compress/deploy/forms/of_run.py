"""The forms that a run is asked for beside its export."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from compress.core.errors import CompressError, InputError
from compress.core.run_files import FORMS
from compress.deploy.forms.known import form_named, known_forms
from compress.deploy.forms.write import write_form

SETTING = "export.forms"


def require_forms(names: object, *, decodes: bool) -> tuple[str, ...]:
    """The names as a run takes them. decodes: whether its task goes on with a text. Raises InputError where one is no
    form, is there twice, cannot carry the task, or where its package is not installed: before any work."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{SETTING} is {names!r}; it must be a list of forms. Use [openvino], for example, or [].")
    for name in names:
        form = form_named(name, 1, SETTING)
        if names.count(name) > 1:
            raise InputError(f"{SETTING} is {names}, which has {name} twice. Name it once.")
        if decodes and not form.decodes:
            carry = [other for other, kind in known_forms().items() if kind.decodes]
            raise InputError(
                f"{SETTING} has {name}, which carries models that are called once, and this task goes on with a text. "
                f"Use {' or '.join(carry)}."
            )
    return tuple(names)


def write_forms(run: Path, names: Sequence[str]) -> list[str]:
    """Write each form of what a run exported into `forms/NAME` of its folder. Returns what is to be told.

    One that cannot be written is no reason to leave out the others: the first error is raised after the last form, with
    the reasons of all.
    """
    told, errors = [], []
    for name in names:
        out = run / FORMS / name
        out.parent.mkdir(exist_ok=True)
        shutil.rmtree(out, ignore_errors=True)
        try:
            told += [f"{name}: {line}" for line in write_form(run, name, out, None)]
        except CompressError as error:
            errors.append((name, error))
    if errors:
        reasons = "; ".join(f"{name}: {error}" for name, error in errors)
        raise type(errors[0][1])(f"{SETTING}: {reasons}")
    return told
