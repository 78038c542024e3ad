"""A report's plots, drawn once: they take longer than everything else that a run does which finds its work done."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from compress.pipeline.keys import plots_key
from compress.pipeline.make_or_find import Facts, Work
from compress.pipeline.store import Entry, Store
from compress.report.drawing import Drawing, Plot


def plots_of(drawing: Drawing) -> Work[list[Plot]]:
    """Those of a drawing."""

    def make(store: Store, folder: Path) -> Facts:
        return {"plots": [dataclasses.asdict(plot) for plot in drawing.plots()]}

    def read(entry: Entry) -> list[Plot]:
        return [Plot(**plot) for plot in entry.facts["plots"]]

    return Work(kind="plots", key=plots_key(drawing), make=make, read=read, what="a report's plots")
