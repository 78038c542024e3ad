"""The run as one HTML file that needs nothing else: no network, no script, no second file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from compress.core.evaluation import PredictionPowered
from compress.core.fact_table import FactTable, Kind
from compress.core.ledger import Row
from compress.core.metric import Label, Unit
from compress.core.whole import write_whole
from compress.report import wording
from compress.report.decision import decide
from compress.report.drawing import Plot
from compress.report.templates import environment

# What took less is no part of an answer to where the time went.
LEAST_SECONDS = 1.0


def write_page(rows: Sequence[Row], summary: Mapping[str, Any], plots: Sequence[Plot], path: Path) -> None:
    """Write `report.html`: the decision, every stage with its reasons, the plots, and what the run depended on.

    rows: the ledger's, the teacher's first. summary: what the run writes to `summary.json`. plots: of its `Drawing`.
    Every text of theirs is escaped; the file may be opened from a disk.
    """
    confidences = sorted({limits["confidence"] for limits in summary["gates"].values()})
    templates = environment()
    templates.filters.update(
        share_of_zeros=_share_of_zeros,
        blame_sentences=wording.blame_sentences,
        f1=_f1,
        figure_of=wording.figure_of,
        figure_names=wording.figure_names,
        figure_name=wording.figure_name,
        prediction_powered=_prediction_powered,
        time_table=_time_table,
        advice_sentence=wording.advice_sentence,
    )
    text = templates.get_template("page.html.jinja").render(
        rows=rows,
        summary=summary,
        metric=Label.from_json(summary),
        decision=decide(rows, summary),
        # The SVG comes from matplotlib, which escapes every text in it.
        plots=[{"title": plot.title, "svg": Markup(plot.svg), "caption": plot.caption} for plot in plots],
        confidence=" or ".join(f"{confidence:.4g}" for confidence in confidences),
        settings=json.dumps(summary["settings"], indent=2, ensure_ascii=False, default=str),
    )  # fmt: skip
    write_whole(path, text)


def _prediction_powered(found: PredictionPowered, unit: Unit) -> str:
    return wording.capitalized(wording.prediction_powered_sentence(found, unit, wording.DECIMALS))


def _time_table(rows: Sequence[Row], summary: Mapping[str, Any]) -> FactTable | None:
    """What took the time, the most first, in all and by stage; None of what an earlier release ran, or where nothing
    took a second."""
    total: Mapping[str, float] = summary.get("spent", {})
    stages = [row for row in rows if sum(row.spent.values()) >= LEAST_SECONDS]
    names = sorted((name for name in total if total[name] >= LEAST_SECONDS), key=lambda name: -total[name])
    if not names:
        return None
    columns: list[tuple[str, Kind]] = [("spent on", "text"), ("share", "share"), ("in all, s", "count")]
    return FactTable.of(
        "Where the time went",
        [*columns, *((f"{row.stage}, s", "count") for row in stages)],
        [
            [
                name,
                total[name] / sum(total.values()),
                round(total[name]),
                *(round(row.spent[name]) if name in row.spent else None for row in stages),
            ]
            for name in names
        ],
    )


def _f1(counts: Sequence[float] | None) -> str:
    """Of true positives, predicted and actual, with the two numbers that people ask for: `80.00% (4 of 5)`."""
    if counts is None:
        return wording.MISSING
    right, predicted, actual = counts
    f1 = 2 * right / (predicted + actual) if predicted + actual else 0.0
    return f"{wording.percent(f1, wording.DECIMALS)} ({right:.0f} of {actual:.0f})"


def _share_of_zeros(row: Row) -> str:
    """A sentence where stored parameters are zero, otherwise nothing."""
    if not row.parameters or row.nonzero_parameters is None or row.nonzero_parameters == row.parameters:
        return ""
    return f"{1 - row.nonzero_parameters / row.parameters:.1%} of the stored parameters are zero."
