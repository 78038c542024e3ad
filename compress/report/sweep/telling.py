"""A sweep's page and terminal, whatever its runs have recorded: a damaged run costs its own row, never the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from compress.core.errors import InputError
from compress.report.sweep.evidence import Evidence, evidence_of
from compress.report.sweep.page import page_of
from compress.report.sweep.runs import Run, find_runs, unreadable
from compress.report.sweep.terminal import print_report
from compress.report.terminal import terminal


def tell(folders: Sequence[Path], margin: float | None, write: Callable[[Evidence], None]) -> Evidence:
    """What the runs in these folders say together, once `write` has written it: see `gather`.

    Records come from disks and from other people, and hold what nobody thought of. Where what they say cannot be told,
    each run is tried alone, and one that cannot be is shown as damaged.
    """
    runs = find_runs(folders)
    try:
        return _written(runs, margin, write)
    except (InputError, OSError):
        raise
    except Exception:
        whole = [_or_unreadable(run) for run in runs]
        if whole == runs:
            raise
        return _written(whole, margin, write)


def _written(runs: Sequence[Run], margin: float | None, write: Callable[[Evidence], None]) -> Evidence:
    evidence = evidence_of(runs, margin)
    write(evidence)
    return evidence


def _or_unreadable(run: Run) -> Run:
    try:
        evidence = evidence_of([run], None)
        page_of(evidence)
        print_report(evidence, terminal(quiet=True))
    except InputError:
        # Of what it asks for, and not of what it is: said again, with all of them.
        return run
    except Exception as error:  # noqa: BLE001 - see `tell`
        return unreadable(run.folder, run.name, error)
    return run
