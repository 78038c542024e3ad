"""What many runs say together: the front, what mattered, and which one to take."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from compress.core.run_files import REPORT


def publish(folder: Path, console: Console) -> Path:
    """Write `report.html` into a sweep's folder, print its summary, and return the page's path.

    The margin is the strictest `objective.max_accuracy_drop` among the runs. Raises InputError where the folder holds
    no run, and where its runs cannot stand in one front.
    """
    # What a single run needs of this package must not wait for numpy.
    from compress.report.sweep.page import write_page
    from compress.report.sweep.telling import tell
    from compress.report.sweep.terminal import print_report

    evidence = tell([folder], None, lambda evidence: write_page(evidence, folder / REPORT))
    print_report(evidence, console)
    return folder / REPORT
