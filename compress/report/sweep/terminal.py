"""A sweep's report in the terminal: the front as a table, the recommendation, what went wrong."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from compress.report import wording
from compress.report.sweep.evidence import Evidence
from compress.report.sweep.scatter import bytes_front, speed_front
from compress.report.sweep.standing import TONES
from compress.report.table import STYLES
from compress.report.wording import DECIMALS

_COLUMNS = 3
_REASONS = 8
# Less shows no interval of the speed-up.
_WIDE = 100


def print_report(evidence: Evidence, console: Console) -> None:
    """Print the front, fastest first, then what to take and the command that makes it again."""
    standings = evidence.standings
    counts = Counter(standing.status for standing in standings)
    told = ", ".join(f"{counts[status]} {status}" for status in TONES if counts[status])
    console.print(
        Text(f"{evidence.title}: {len(standings)} run{'' if len(standings) == 1 else 's'}: {told}", style="bold")
    )
    for sentence in (*evidence.damage, *evidence.notes):
        console.print(Text(f"note: {sentence}", style="yellow"), soft_wrap=True)
    if any(standing.exported and standing.drawn for standing in standings):
        console.print()
        console.print(_front(evidence, console.width >= _WIDE))
    console.print()
    advice = evidence.recommendation
    console.print(Text(advice.headline, style=f"bold {STYLES[advice.tone]}"), soft_wrap=True)
    for sentence in (*advice.details, *filter(None, [advice.test])):
        console.print(Text(sentence), soft_wrap=True)
    if evidence.choice.best is not None and evidence.choice.best.run.command is not None:
        console.print(Text(f"\n  {evidence.choice.best.run.command}\n"), soft_wrap=True)
    _print_reasons(evidence, console)


def _front(evidence: Evidence, wide: bool) -> Table:
    standings = evidence.standings
    fast, small = speed_front(standings), bytes_front(standings)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("front of")
    table.add_column("run", overflow="fold", min_width=4)
    for factor in evidence.factors[:_COLUMNS]:
        table.add_column(factor.short, overflow="fold")
    table.add_column(
        wording.heading("against the teacher", evidence.metric.unit), justify="right", max_width=22, min_width=17
    )
    table.add_column("speed-up", justify="right")
    table.add_column("MB", justify="right")
    table.add_column("ended")
    for place in sorted({*fast, *small}, key=lambda place: -(standings[place].speedup or 0.0)):
        standing = standings[place]
        lies_on = ", ".join(word for word, front in (("speed", fast), ("bytes", small)) if place in front)
        table.add_row(
            lies_on,
            Text(standing.run.name),
            *(Text(factor.values[place]) for factor in evidence.factors[:_COLUMNS]),
            wording.difference_with_interval(
                standing.difference, standing.interval, evidence.metric.unit, DECIMALS if wide else 1
            ),
            wording.speedup_or_busy(standing.speedup, standing.speedup_interval if wide else None, busy=standing.busy),
            wording.megabytes(standing.size_bytes),
            Text(standing.status, style=STYLES[TONES[standing.status]]),
        )
    return table


def _print_reasons(evidence: Evidence, console: Console) -> None:
    without = [standing for standing in evidence.standings if not standing.exported]
    for standing in without[:_REASONS]:
        console.print(
            Text(f"{standing.run.name}: {standing.status}: {'; '.join(standing.reasons)}", style="dim"), soft_wrap=True
        )
    if len(without) > _REASONS:
        console.print(Text(f"and {len(without) - _REASONS} more without a model; the page has them all", style="dim"))
