"""The run as one HTML file that needs nothing else: no network, no script, no second file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from compress.core.ledger import Row
from compress.report import wording
from compress.report.decision import DECIMALS, decide
from compress.report.frontier import accuracy_against_latency
from compress.report.plots import bytes_by_part, gain_and_cost


def write_page(rows: Sequence[Row], summary: Mapping[str, Any], path: Path) -> None:
    """Write `report.html`: the decision, every stage with its reasons, the plots, and what the run depended on.

    rows: the ledger's, the teacher's first. summary: what the run writes to `summary.json`. Every text of theirs is
    escaped; the file may be opened from a disk.
    """
    limited = _limited_stage(rows, summary)
    confidences = sorted({limits["confidence"] for limits in summary["gates"].values()})
    text = _environment().get_template("page.html.jinja").render(
        rows=rows,
        summary=summary,
        decision=decide(rows, summary),
        plots=_plots(rows, limited, summary),
        confidence=" or ".join(f"{confidence:.4g}" for confidence in confidences),
        settings=json.dumps(summary["settings"], indent=2, ensure_ascii=False, default=str),
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")


def typographic(text: str) -> str:
    """Hyphens that mean minus as minus signs, and a missing value as a dash; hyphens inside words stay."""
    return "\N{EN DASH}" if text == wording.MISSING else re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        typographic=typographic,
        accuracy=_shown(lambda fraction: wording.percent(fraction, DECIMALS)),
        points=_shown(lambda fraction: wording.points(fraction, DECIMALS)),
        difference=_shown(lambda pair: wording.points_with_interval(pair[0], pair[1], DECIMALS)),
        speedup=_shown(lambda pair: wording.factor_with_interval(pair[0], pair[1])),
        latency=_shown(lambda pair: wording.latency(pair[0], pair[1])),
        digits=_shown(wording.three_digits),
        megabytes=_shown(wording.megabytes),
        count=_shown(lambda number: wording.MISSING if number is None else f"{number:,}"),
        duration=_shown(wording.duration),
        verdict_words=wording.verdict_words,
        verdict_tone=wording.verdict_tone,
        share_of_zeros=_share_of_zeros,
    )
    return environment


def _shown(function: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: typographic(function(value))


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
