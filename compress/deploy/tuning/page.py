"""The page of a tuning: the decision, each measured setting's latency against its throughput, what was tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from jinja2 import ChoiceLoader, FileSystemLoader
from markupsafe import Markup

from compress.core.whole import write_whole
from compress.deploy.tuning import telling
from compress.deploy.tuning.aim import Measured
from compress.deploy.tuning.tune import Outcome, record_of
from compress.report.svg import PALETTE, STYLE, inline_svg, new_figure, plain
from compress.report.templates import environment
from compress.report.wording import three_digits


def write_page(outcome: Outcome, path: Path) -> None:
    """One HTML file that needs nothing else."""
    shared = environment()
    templates = shared.overlay(loader=ChoiceLoader([FileSystemLoader(Path(__file__).parent), shared.loader]))  # type: ignore[list-item]
    text = templates.get_template("tuning.html.jinja").render(
        headline=telling.headline(outcome),
        details=telling.details(outcome),
        changed=outcome.chosen.settings != outcome.start,
        # The SVG comes from matplotlib, which escapes every text in it.
        picture=Markup(latency_against_throughput(outcome)),
        rows=telling.rows(outcome),
        quantile=f"{outcome.aim.quantile:.0%}",
        forecasts=outcome.forecasts,
        costs=outcome.costs,
        cache=telling.cache_sentence(outcome.forecasts, outcome.costs),
        record=record_of(outcome),
        settings=outcome.settings.to_json(),
        folder=outcome.export.folder,
    )
    write_whole(path, text)


def front_of(points: Sequence[Measured], quantile: float) -> list[Measured]:
    """Those of which no other has both a smaller latency and more examples per second, by their latency."""
    front: list[Measured] = []
    for one in sorted(points, key=lambda point: (point.latency_ms(quantile), -point.throughput)):
        if not front or one.throughput > front[-1].throughput:
            front.append(one)
    return front


@matplotlib.rc_context(STYLE)
def latency_against_throughput(outcome: Outcome) -> str:
    """Every setting that was measured, the front, the default, the choice, and the latency that was asked for."""
    quantile, aim = outcome.aim.quantile, outcome.aim
    tried = [one.measured for step in outcome.steps for one in step.compared]
    points = [outcome.default, outcome.chosen, *tried]
    figure = new_figure(9.5, 4.8)
    axes = figure.add_subplot()
    plain(axes, "both")
    front = front_of(points, quantile)
    axes.plot(
        [one.latency_ms(quantile) for one in front], [one.throughput for one in front],
        color=PALETTE["muted"], linewidth=1.2, linestyle=(0, (4, 3)), zorder=1,
    )  # fmt: skip
    axes.scatter(
        [one.latency_ms(quantile) for one in tried], [one.throughput for one in tried],
        s=42, color=PALETTE["other"], zorder=2,
    )  # fmt: skip
    same = outcome.chosen is outcome.default
    marks = [(outcome.chosen, "the default, served" if same else "served", "good", "o")]
    marks += [] if same else [(outcome.default, "the default", "embeddings", "D")]
    for measured, name, colour, shape in marks:
        x, y = measured.latency_ms(quantile), measured.throughput
        axes.scatter([x], [y], s=110, marker=shape, color=PALETTE[colour], zorder=3)
        axes.annotate(name, (x, y), xytext=(9, 9), textcoords="offset points", color=PALETTE[colour], weight="bold")
    if aim.slo_ms is not None:
        axes.axvline(aim.slo_ms, color=PALETTE["bad"], linewidth=1.4)
        axes.annotate(
            f" {aim.slo_ms:g} ms asked for", (aim.slo_ms, 0.02), xycoords=("data", "axes fraction"),
            color=PALETTE["bad"], ha="left",
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.margins(x=0.15, y=0.15)
    axes.set_xlabel(f"latency of a call, {quantile:.0%}, ms (left is better)", color=PALETTE["muted"])
    axes.set_ylabel("examples per second (up is better)", color=PALETTE["muted"])
    told = "; ".join(
        f"{name}: {three_digits(m.latency_ms(quantile))} ms, {three_digits(m.throughput)} per second"
        for m, name, _, _ in marks
    )
    return inline_svg(figure, "tuning", f"Latency against throughput of {len(points)} settings. {told}.")
