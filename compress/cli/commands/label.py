"""The command `compress-label`: proof with fewer labels. See `compress-label --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from compress.cli.commands.paths import path
from compress.cli.commands.reasons import refusing
from compress.cli.version import FLAG, version
from compress.core.errors import InputError
from compress.core.whole import require_new_folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 where texts to label were written, or where the labels prove the limit; 2 for
    input that cannot be used; 3 where the labels do not prove it."""
    given = _parser().parse_args(arguments)
    with refusing("compress-label"):
        status = _draw(given) if given.texts is not None else _judge(given)
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compress-label",
        description="Prove with few labels that an exported model is within its limit. Where teacher and student "
        "answer a text alike, they are right or wrong together: only texts that they answer differently have to be "
        "labelled, or some of these, drawn at random. With --texts: write a table of them. Without: judge the labels.",
    )
    parser.add_argument(FLAG, action="version", version=version())
    parser.add_argument(
        "folder", type=path, metavar="FOLDER", help="a run's folder; then the one of --out, once it is labelled"
    )
    parser.add_argument(
        "--texts",
        type=path,
        metavar="DATA",
        help="texts of the kind that the model is for, at least 100, with the columns that the run read (or one a line "
        "in a .txt), or a folder of images; thousands are no trouble",
    )
    parser.add_argument("--out", type=path, metavar="DIR", help="a new folder for the table to fill in")
    parser.add_argument(
        "--labels",
        type=int,
        metavar="N",
        help="how many to label (default: as many as prove the limit where the student is worth what its teacher is)",
    )
    parser.add_argument(
        "--group",
        metavar="COLUMN",
        help="texts of one value belong together, such as those of a document (default: the run's data.group; texts "
        "of a group that the run's own data holds are left out)",
    )
    return parser


def _draw(given: argparse.Namespace) -> int:
    if given.out is None:
        raise InputError("--out is missing: name a new folder for the table to fill in.")
    require_new_folder(given.out)
    if given.labels is not None and given.labels < 2:
        raise InputError(f"--labels is {given.labels}; it must be at least 2.")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    from compress.cli.recorded import recorded_recipe
    from compress.deploy.labelling.draw import draw

    run: Path = given.folder
    recipe, summary = recorded_recipe(run)
    if summary.get("exported") is None:
        raise InputError(f"{run} exported nothing, so there is nothing to prove.")
    texts: Path = given.texts
    tell = partial(print, flush=True)
    draw(run, recipe, summary, texts, given.out, labels=given.labels, group=given.group, tell=tell)
    return 0


def _judge(given: argparse.Namespace) -> int:
    from compress.deploy.labelling.judge import judge
    from compress.deploy.labelling.sheet import VERDICT, is_sheet
    from compress.deploy.labelling.told import tell_run

    folder: Path = given.folder
    if not is_sheet(folder):
        raise InputError(
            f"{folder} is no folder that compress-label wrote. To have one written from a run: compress-label {folder} "
            "--texts FILE --out DIR"
        )
    for name in ("out", "labels", "group"):
        if getattr(given, name) is not None:
            raise InputError(f"--{name} goes with --texts, and {folder} was written before.")
    verdict, told = judge(folder)
    print(f"{verdict.told()}\nwritten: {folder / VERDICT}")
    print(tell_run(told))
    return 0 if verdict.outcome == "passed" else 3


if __name__ == "__main__":
    main()
