"""What a run exported, looked at before another form is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.export_form import ExportForm
from compress.core.json_file import read_json
from compress.core.manifest import MANIFEST, require_undamaged
from compress.core.run_files import EXPORT
from compress.nn.checkpoint import read_structure

GIVE = "Give the folder of a finished run, or the one that it exported."


@dataclass(frozen=True, kw_only=True)
class JudgedExport:
    """folder: what was exported. run: the run's own folder, None where only the export is there. key: of the artifact
    in it. facts: what its manifest says."""

    folder: Path
    run: Path | None
    key: str
    facts: Mapping[str, Any]


def read_judged(folder: Path) -> JudgedExport:
    """folder: a run's, or the one that it exported. Raises InputError where it is neither, or damaged."""
    inside = (folder / EXPORT).is_dir()
    source = folder / EXPORT if inside else folder
    if not folder.is_dir():
        raise InputError(f"FOLDER is {folder}, which is no folder here. {GIVE}")
    if not (source / MANIFEST).is_file():
        raise InputError(
            f"FOLDER is {folder}, which is no run with an export, and no exported folder: it has no {MANIFEST}. {GIVE}"
        )
    require_undamaged(source)
    manifest = read_json(source / MANIFEST, way_out="Export the model again.")
    facts = manifest["facts"]
    if "form" in facts:
        raise InputError(f"{folder} is a form already, {facts['form']}. Give the run that it was made of.")
    # A run's own folder may be known by where its export lies.
    run = folder if inside else source.resolve().parent if source.name == EXPORT else None
    return JudgedExport(folder=source, run=run, key=str(manifest["key"]), facts=facts)


def require_carried(judged: JudgedExport, form: ExportForm) -> None:
    """Raise InputError where the model has a kind of layer that the form has none for."""
    structure = read_structure(judged.folder)
    for path, edit in structure.edits.items():
        if edit.kind in form.refuses:
            raise InputError(
                f"--to is {form.name}, and {path} of {judged.folder} is of the kind {edit.kind}: "
                f"{form.refuses[edit.kind]}."
            )
