"""The plots of a run's page, drawn from what they show and nothing else: the same drawing is never made twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compress.core.ledger import Row
from compress.core.metric import Label
from compress.report.wording import capitalized


@dataclass(frozen=True)
class Plot:
    """svg: an element for a page. Its texts are escaped; title and caption are plain."""

    title: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Drawing:
    """What a run's plots show.

    rows: the ledger's, the teacher's first, without what no plot shows. limited: the stage whose limit is drawn.
    limit: its own, on the scale of values; None where the stage has none.
    """

    rows: tuple[Row, ...]
    limited: str
    limit: float | None
    metric: Label

    @classmethod
    def of(cls, rows: Sequence[Row], summary: Mapping[str, Any]) -> Drawing:
        """rows, summary: as `write_page` has them. The limit is that of the exported stage, else the last's."""
        limited = summary["exported"]["stage"] if summary["exported"] is not None else rows[-1].stage
        gate = summary["gates"].get(limited)
        # Another run finds the same with other seconds, and with more of it done before.
        shown = tuple(
            replace(row, seconds=0.0, spent={}, reused=False, notes=(), reasons=(), findings=(), blame=None)
            for row in rows
        )
        return cls(shown, limited, None if gate is None else gate["max_accuracy_drop"], Label.from_json(summary))

    def plots(self) -> list[Plot]:
        """Those for which something was measured."""
        # Here, because matplotlib takes a third of a second to import, and what is found drawn needs none of it.
        from compress.report.frontier import metric_against_speed
        from compress.report.plots import bytes_by_part, gain_and_cost

        drawn = [
            (
                f"{capitalized(self.metric.title)} against speed",
                metric_against_speed(self.rows, self.limit, self.metric),
                "Up and to the right is better. The lines through a point are the intervals of its speed-up, measured "
                "in turns with the teacher, and of its difference from the teacher, drawn around the teacher's value; "
                f"{self.metric.title} is proven where the whole upright line lies above the limit. A stage whose speed "
                "a busy machine kept from being measured is not drawn."
                + ("" if self.limit is None else f" The limit drawn is that of {self.limited}."),
            ),
            (
                "What each stage gained and cost",
                gain_and_cost(self.rows, self.metric),
                "Each stage against the last kept one before it. Outlined bars were not kept, and the stage after them "
                "started from the same model. These differences carry no interval of their own.",
            ),
            (
                "Where the bytes are",
                bytes_by_part(self.rows),
                "The checkpoint's tensors by part of the model. The table gives the size of the file that the runtime "
                "loads, which also holds the graph.",
            ),
        ]
        return [Plot(title, svg, caption) for title, svg, caption in drawn if svg is not None]
