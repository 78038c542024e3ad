"""The command `compress-report`: one page over the finished runs of any folders. See `compress-report --help`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from compress.cli.commands.paths import path
from compress.cli.commands.reasons import refusing
from compress.cli.version import FLAG, version
from compress.core.checks import require_fraction
from compress.core.errors import InputError
from compress.core.run_files import LEDGER, REPORT


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 where the page was written, 2 for input that cannot be used."""
    given = _parser().parse_args(arguments)
    with refusing("compress-report"):
        _report(given.folders, given.out, given.margin)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compress-report",
        description="One page over many runs: the front of accuracy against speed and bytes, what each stage and "
        "setting did, the runs that failed, and the one to take. The same is written at the end of a sweep.",
    )
    parser.add_argument(FLAG, action="version", version=version())
    parser.add_argument(
        "folders", nargs="+", type=path, metavar="FOLDER", help="a sweep's or a run's folder; searched with all below"
    )
    parser.add_argument("--out", type=path, default=Path(REPORT), help="the page to write (%(default)s)")
    parser.add_argument(
        "--margin",
        type=float,
        help="what the model to take may lose against its teacher, a fraction: 0.01 is one point (default: the "
        "strictest objective.max_accuracy_drop of the runs)",
    )
    return parser


def _report(folders: Sequence[Path], out: Path, margin: float | None) -> None:
    if margin is not None:
        require_fraction("--margin", margin, "Use 0.01 for one point.")
    _require_writable(out)
    from compress.report.sweep.page import write_page
    from compress.report.sweep.telling import tell
    from compress.report.sweep.terminal import print_report
    from compress.report.terminal import terminal

    if (out.parent / LEDGER).exists():
        raise InputError(f"--out is {out}, in a run's own folder, whose page it would replace. Name another place.")
    try:
        evidence = tell(folders, margin, lambda evidence: write_page(evidence, out))
    except OSError as error:
        raise InputError(f"--out is {out}, which cannot be written ({error.strerror}). Name another place.") from error
    console = terminal()
    print_report(evidence, console)
    console.print(f"\nreport: {out}", soft_wrap=True)


def _require_writable(out: Path) -> None:
    if out.is_dir():
        raise InputError(f"--out is {out}, which is a folder. Name a file: --out {out / 'report.html'}")
    if not out.parent.is_dir():
        raise InputError(f"--out is {out}, in a folder that is not there. Make {out.parent} first, or name another.")


if __name__ == "__main__":
    main()
