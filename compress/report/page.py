"""The run as one HTML file that needs nothing else: no network, no script, no second file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from compress.core.ledger import Row
from compress.report import wording
from compress.report.decision import decide
from compress.report.frontier import accuracy_against_latency
from compress.report.plots import bytes_by_part, gain_and_cost
from compress.report.templates import environment


def write_page(rows: Sequence[Row], summary: Mapping[str, Any], path: Path) -> None:
    """Write `report.html`: the decision, every stage with its reasons, the plots, and what the run depended on.

    rows: the ledger's, the teacher's first. summary: what the run writes to `summary.json`. Every text of theirs is
    escaped; the file may be opened from a disk.
    """
    limited = _limited_stage(rows, summary)
    confidences = sorted({limits["confidence"] for limits in summary["gates"].values()})
    templates = environment()
    templates.filters.update(
        share_of_zeros=_share_of_zeros,
        blame_sentences=wording.blame_sentences,
        advice_sentence=wording.advice_sentence,
        capitalize_first=lambda text: f"{text[0].upper()}{text[1:]}",
    )
    text = templates.get_template("page.html.jinja").render(
        rows=rows,
        summary=summary,
        decision=decide(rows, summary),
        plots=_plots(rows, limited, summary),
        confidence=" or ".join(f"{confidence:.4g}" for confidence in confidences),
        settings=json.dumps(summary["settings"], indent=2, ensure_ascii=False, default=str),
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")


def _share_of_zeros(row: Row) -> str:
    """A sentence where stored parameters are zero, otherwise nothing."""
    if not row.parameters or row.nonzero_parameters is None or row.nonzero_parameters == row.parameters:
        return ""
    return f"{1 - row.nonzero_parameters / row.parameters:.1%} of the stored parameters are zero."


def _limited_stage(rows: Sequence[Row], summary: Mapping[str, Any]) -> str:
    """The stage whose limit the plot shows: the exported one, otherwise the last."""
    return summary["exported"]["stage"] if summary["exported"] is not None else rows[-1].stage


def _plots(rows: Sequence[Row], limited: str, summary: Mapping[str, Any]) -> list[dict[str, str | Markup]]:
    gate = summary["gates"].get(limited)
    drawn = [
        (
            "Accuracy against latency",
            accuracy_against_latency(rows, None if gate is None else gate["max_accuracy_drop"], summary["metric"]),
            "Up and to the left is better. The line through a point is the interval of its difference from the "
            "teacher, drawn around the teacher's value; accuracy is proven where the whole line lies above the limit."
            + ("" if gate is None else f" The limit drawn is that of {limited}."),
        ),
        (
            "What each stage gained and cost",
            gain_and_cost(rows),
            "Each stage against the last kept one before it. Outlined bars were not kept, and the stage after them "
            "started from the same model. These differences carry no interval of their own.",
        ),
        (
            "Where the bytes are",
            bytes_by_part(rows),
            "The checkpoint's tensors by part of the model. The table gives the size of the file that the runtime "
            "loads, which also holds the graph.",
        ),
    ]
    # The SVG comes from matplotlib, which escapes every text in it.
    return [
        {"title": title, "svg": Markup(svg), "caption": caption} for title, svg, caption in drawn if svg is not None
    ]
