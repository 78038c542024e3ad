"""The command `compress-export`: what a run exported, in another form. See `compress-export --help`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from compress.core.checks import nearest
from compress.core.errors import CompressError, InputError
from compress.core.json_file import read_json
from compress.core.manifest import MANIFEST, write_manifest
from compress.core.run_files import EXPORT


def _gguf(source: Path, folder: Path) -> list[str]:
    from compress.runtimes.gguf.form import export_gguf

    return export_gguf(source, folder)


# By name, what writes a form of `source` into a folder, proves it, and returns sentences about it.
FORMS: Mapping[str, Callable[[Path, Path], list[str]]] = {"gguf": _gguf}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 where the form was written, 2 for input that cannot be used."""
    given = _parser().parse_args(arguments)
    try:
        for line in export(given.folder, given.to, given.out):
            print(line)
    except CompressError as error:
        print(f"compress-export: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compress-export",
        description="Write what a run exported in another form, with the very same integers, and compare what was "
        "written with the model.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a run's folder, or the one that it exported")
    parser.add_argument("--to", required=True, help=f"the form: {', '.join(FORMS)}")
    parser.add_argument("--out", required=True, type=Path, help="a folder that is not there yet")
    return parser


def export(folder: Path, form: str, out: Path) -> list[str]:
    """Write the form of a run's export into the new folder `out`, whole or not at all. Returns what is to be told.

    Raises InputError where the folder holds no export, the form is none, `out` is there already, or the model cannot
    have the form.
    """
    if form not in FORMS:
        raise InputError(f"--to is {form!r}; forms are {', '.join(FORMS)}. {nearest(form, FORMS)}".rstrip())
    source = folder / EXPORT if (folder / EXPORT).is_dir() else folder
    if not (source / MANIFEST).is_file():
        raise InputError(f"{folder} is no run with an export, and no exported folder: it has no {MANIFEST}.")
    if out.exists():
        raise InputError(f"--out is {out}, which is there already. Name a folder that is not.")
    if not out.parent.is_dir():
        raise InputError(f"--out is {out}, in a folder that is not there. Make {out.parent} first, or name another.")
    key = str(read_json(source / MANIFEST, way_out="Export the model again.").get("key", ""))
    unfinished = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        lines = FORMS[form](source, unfinished)
        write_manifest(unfinished, {"form": form, "parent": key}, key=key)
        unfinished.rename(out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return [*lines, f"written: {out}"]


if __name__ == "__main__":
    main()
