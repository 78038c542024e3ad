"""The command `compress-export`: what a run exported, in another form. See `compress-export --help`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from compress.cli.commands.paths import path
from compress.cli.commands.reasons import refusing
from compress.cli.version import FLAG, version


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 where the form was written, 2 for input that cannot be used, 1 where the form
    answers otherwise than what was judged."""
    given = _parser().parse_args(arguments)
    from compress.deploy.forms.write import write_form

    with refusing("compress-export"):
        for line in write_form(given.folder, given.to, given.out, given.examples):
            print(line)


def _parser() -> argparse.ArgumentParser:
    from compress.deploy.forms.known import known_forms

    forms = "; ".join(f"{name}: {form.label}" for name, form in known_forms().items())
    parser = argparse.ArgumentParser(
        prog="compress-export",
        description="Write what a run exported in another form, and compare what was written with what was judged: by "
        "its outputs on real examples, each in a process of its own, or byte by byte.",
    )
    parser.add_argument(FLAG, action="version", version=version())
    parser.add_argument("folder", type=path, metavar="FOLDER", help="a run's folder, or the one that it exported")
    parser.add_argument("--to", required=True, metavar="FORM", help=forms)
    parser.add_argument("--out", required=True, type=path, help="a folder that is not there yet")
    parser.add_argument(
        "--examples",
        type=path,
        metavar="DATA",
        help="examples to compare outputs on, as the run read them, or a text a line in a .txt; at most 200 are used "
        "(default: those of the run's proof, in its store)",
    )
    return parser


if __name__ == "__main__":
    main()
