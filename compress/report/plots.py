"""Bars per stage: what each gained and cost, and where the bytes are. Inline SVG, or None for nothing measured."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes

from compress.core.ledger import Row
from compress.core.metric import Label
from compress.report import wording
from compress.report.gains import Gain, gains_by_stage
from compress.report.svg import PALETTE, STYLE, WIDTH_INCHES, inline_svg, new_figure, plain, short_name
from compress.report.wording import three_digits

PARTS = ("embeddings", "attention", "ffn", "other")


@matplotlib.rc_context(STYLE)
def gain_and_cost(rows: Sequence[Row], metric: Label) -> str | None:
    """A bar per stage for how much faster it made the model it started from, and one for what that cost."""
    gains = gains_by_stage(rows)
    factors = [gain.latency_factor for gain in gains]
    changes = [None if gain.change is None else wording.on_axis(gain.change, metric.unit) for gain in gains]
    if all(value is None for value in (*factors, *changes)):
        return None
    figure = new_figure(WIDTH_INCHES, 1.3 + 0.5 * len(gains))
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_bars(left, gains, factors, [f"{three_digits(factor)}x" for factor in factors], base=1.0)
    _draw_bars(right, gains, changes, [wording.difference(gain.change, metric.unit, 2) for gain in gains], base=0.0)
    left.set_xlabel("times faster than the stage it started from", color=PALETTE["muted"])
    right.set_xlabel(wording.heading(f"change of {metric.title}", metric.unit), color=PALETTE["muted"])
    _name_rows(left, [gain.stage for gain in gains])
    told = "; ".join(
        f"{gain.stage} against {gain.against}: {three_digits(gain.latency_factor)} times as fast, "
        f"{wording.counted(wording.difference(gain.change, metric.unit, 2), metric.unit)}"
        f"{'' if gain.kept else ', not kept'}"
        for gain in gains
    )
    return inline_svg(figure, "gain", f"Gain and cost of each stage. {told}.")


@matplotlib.rc_context(STYLE)
def bytes_by_part(rows: Sequence[Row]) -> str | None:
    """A stacked bar per stage: megabytes (1,000,000 bytes) of each part of the checkpoint."""
    measured = [row for row in rows if any(megabytes_by_part(row).values())]
    if not measured:
        return None
    figure = new_figure(WIDTH_INCHES, 1.5 + 0.5 * len(measured))
    axes = figure.add_subplot()
    plain(axes, "x")
    totals = [0.0] * len(measured)
    for part in PARTS:
        sizes = [megabytes_by_part(row)[part] for row in measured]
        axes.barh(range(len(measured)), sizes, left=totals, height=0.62, color=PALETTE[part], label=part)
        totals = [total + size for total, size in zip(totals, sizes, strict=True)]
    for position, total in enumerate(totals):
        _write_beside(axes, total, position, f"{three_digits(total)} MB", right=True, colour="ink")
    axes.set_xlim(0, 1.12 * max(totals))
    axes.set_xlabel("megabytes in the checkpoint", color=PALETTE["muted"])
    _name_rows(axes, [row.stage for row in measured])
    figure.legend(loc="outside upper left", ncols=len(PARTS), frameon=False, labelcolor=PALETTE["ink"])
    told = "; ".join(
        f"{row.stage}: " + ", ".join(f"{part} {three_digits(size)} MB" for part, size in megabytes_by_part(row).items())
        for row in measured
    )
    return inline_svg(figure, "bytes", f"Where the bytes are. {told}.")


def megabytes_by_part(row: Row) -> dict[str, float]:
    """Megabytes of the four parts in a fixed order; a part with another name counts as `other`."""
    sizes = dict.fromkeys(PARTS, 0.0)
    for part, size in (row.bytes_by_part or {}).items():
        sizes[part if part in sizes else "other"] += size / 1e6
    return sizes


def _draw_bars(
    axes: Axes, gains: Sequence[Gain], values: Sequence[float | None], words: Sequence[str], base: float
) -> None:
    """Bars from `base`, to the right where that is better; stages that were not kept are outlined only."""
    plain(axes, "x")
    for position, (gain, value, word) in enumerate(zip(gains, values, words, strict=True)):
        if value is None:
            _write_beside(axes, base, position, "not measured", right=True, colour="muted")
            continue
        better = value >= base
        colour = PALETTE["good" if better else "bad"]
        axes.barh(
            position, value - base, left=base, height=0.56, edgecolor=colour, linewidth=1.4,
            color=colour if gain.kept else PALETTE["paper"], linestyle="-" if gain.kept else (0, (4, 3)),
        )  # fmt: skip
        _write_beside(axes, value, position, word if gain.kept else f"{word} (not kept)", right=better, colour="ink")
    axes.axvline(base, color=PALETTE["muted"], linewidth=1.2)
    numbers = [base, *(value for value in values if value is not None)]
    low, high = min(numbers), max(numbers)
    # Room for the words at the end of the longest bar on either side.
    room = 0.5 * max(high - low, 0.1)
    axes.set_xlim(low - (room if low < base else 0.1 * room), high + room)


def _write_beside(axes: Axes, x: float, y: float, words: str, right: bool, colour: str) -> None:
    axes.annotate(
        words, (x, y), (6 if right else -6, 0), textcoords="offset points", va="center",
        ha="left" if right else "right", color=PALETTE[colour],
    )  # fmt: skip


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [short_name(name) for name in names])
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
        label.set_color(PALETTE["ink"])
    axes.invert_yaxis()
