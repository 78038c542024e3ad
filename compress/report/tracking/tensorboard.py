"""TensorBoard: event files in the run's folder, or in one of your own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from compress.core.errors import InputError
from compress.core.ledger import Row
from compress.core.tracking import Ending, TrackedRun
from compress.report.tracking.follow import figures_of, words_of

OWN_FOLDER = "tensorboard"


@dataclass(frozen=True, kw_only=True)
class TensorboardTracker:
    """folder: where event files go, a folder for each run in it, under their sweep's; None for the run's own folder."""

    folder: str | None

    name: ClassVar[str] = "tensorboard"

    def __post_init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise InputError(
                "tracking is tensorboard, whose package is not installed. Install it (pip install "
                "'compress[tensorboard]'), or use tracking=none."
            )

    def start(self, run: TrackedRun) -> TensorboardRun:
        """See Tracker."""
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / OWN_FOLDER if self.folder is None else Path(self.folder) / run.group / run.name
        # Events of an earlier run in the same place would be drawn as one line with these.
        shutil.rmtree(folder, ignore_errors=True)
        writer = SummaryWriter(log_dir=str(folder))
        writer.add_text("command", run.command)
        writer.flush()
        return TensorboardRun(writer, run)


class TensorboardRun:
    """Event files of one run."""

    def __init__(self, writer: Any, run: TrackedRun) -> None:
        self._writer, self._run = writer, run

    def row(self, number: int, row: Row) -> None:
        """Each figure under its own name with the stage's number as its step, and under the stage's name."""
        for name, value in figures_of(row).items():
            self._writer.add_scalar(name, value, number)
            self._writer.add_scalar(f"{row.stage}/{name}", value, number)
        # Markdown: a line of its own for each.
        self._writer.add_text(f"{row.stage}/words", words_of(row).replace("\n", "  \n"), number)
        self._writer.flush()

    def finish(self, ending: Ending, reason: str, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        """The settings beside the student's figures (the page HPARAMS), and the summary as text. It keeps no files."""
        self._writer.add_text("ending", f"{ending} {reason}".strip())
        for path in files:
            if path.suffix == ".json":
                self._writer.add_text(path.name, f"```\n{path.read_text(encoding='utf-8')}\n```")
        settings = {
            name: value if isinstance(value, bool | int | float) else str(value)
            for name, value in self._run.settings.items()
        }
        named = {f"student/{name}": value for name, value in figures.items()}
        self._writer.add_hparams(settings, named, run_name=".")
        self._writer.close()
