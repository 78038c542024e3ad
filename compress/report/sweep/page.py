"""The sweep as one HTML file that needs nothing else: its pictures, its script and its look are inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from compress.core.metric import Label
from compress.report import wording
from compress.report.sweep.effect_words import lines, sentences
from compress.report.sweep.evidence import Evidence
from compress.report.sweep.factors import Factor
from compress.report.sweep.scatter import SHAPES, bytes_front, bytes_picture, speed_front, speed_picture
from compress.report.sweep.standing import TONES, Standing
from compress.report.sweep.strips import columns
from compress.report.templates import environment, typographic
from compress.report.wording import DECIMALS, finite, three_digits

# Settings with a column of their own in the table; the rest is told where a run is chosen.
_COLUMNS = 5
# A setting with more values than this has no buttons: the table sorts by it.
_MOST_BUTTONS = 12
# Longer lists of reasons are folded.
_OPEN_REASONS = 12


def write_page(evidence: Evidence, path: Path) -> None:
    """Write the page: see `page_of`."""
    path.write_text(page_of(evidence), encoding="utf-8")


def page_of(evidence: Evidence) -> str:
    """The page. Every text of the runs is escaped, and the page's own policy lets only its own script run."""
    script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
    standings, factors, metric = evidence.standings, evidence.factors, evidence.metric
    pictures = [picture(standings, evidence.choice.margin, metric) for picture in (speed_picture, bytes_picture)]
    fronts = {"speed": set(speed_front(standings)), "bytes": set(bytes_front(standings))}
    return environment().get_template("sweep/page.html.jinja").render(
        evidence=evidence,
        metric=metric,
        chosen=None if evidence.choice.best is None else standings.index(evidence.choice.best),
        pictures=[picture for picture in pictures if picture is not None],
        shapes=SHAPES,
        tones=TONES,
        statuses=[status for status in TONES if any(standing.status == status for standing in standings)],
        buttons=[factor for factor in factors if len(factor.choices) <= _MOST_BUTTONS],
        shown_factors=factors[:_COLUMNS],
        columns=columns(evidence.contributions, metric),
        lines=lines(evidence.effects, factors, metric),
        sentences=sentences(evidence.effects, metric),
        troubled=_troubled(standings),
        open_reasons=_OPEN_REASONS,
        told=[_told(standing, place, factors, fronts, metric) for place, standing in enumerate(standings)],
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )  # fmt: skip


def _troubled(standings: Sequence[Standing]) -> dict[str, list[Standing]]:
    """Every run that did not plainly pass, by how it ended."""
    groups: dict[str, list[Standing]] = {status: [] for status in TONES}
    for standing in standings:
        if standing.status not in ("passed", "proven by labels") or standing.run.damage:
            groups[standing.status].append(standing)
    return {status: group for status, group in groups.items() if group}


def _told(
    standing: Standing, place: int, factors: Sequence[Factor], fronts: dict[str, set[int]], metric: Label
) -> dict[str, Any]:
    """What the script shows of a run and filters by."""
    lies_on = [name for name, places in fronts.items() if place in places]
    return {
        "name": standing.run.name,
        "status": standing.status,
        "tone": TONES[standing.status],
        "settings": [[factor.short, factor.values[place]] for factor in factors],
        "levels": [factor.levels[place] for factor in factors if len(factor.choices) <= _MOST_BUTTONS],
        "numbers": _numbers(standing, metric),
        "front": " and ".join(lies_on),
        "reasons": [typographic(reason) for reason in (*standing.labels, *standing.reasons, *standing.run.damage)],
        "command": standing.run.command,
    }


def _numbers(standing: Standing, metric: Label) -> list[list[str]]:
    if standing.row is None:
        return []
    pairs = (
        (wording.heading(metric.title, metric.unit),
         wording.difference_with_interval(standing.difference, standing.interval, metric.unit, DECIMALS)),
        ("times as fast", wording.speedup_or_busy(standing.speedup, standing.speedup_interval, busy=standing.busy)),
        ("median, ms", three_digits(finite(standing.row.latency_ms_p50))),
        ("MB", wording.megabytes(standing.size_bytes)),
        ("model after", standing.row.stage),
    )  # fmt: skip
    return [[name, typographic(text)] for name, text in pairs]
