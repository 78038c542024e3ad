"""How examples are judged: statistics of each, a value of them all, and how values and differences are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["share", "plain", "ratio"]


@dataclass(frozen=True)
class Unit:
    """How a metric's values are written for people; `compress.report.wording` writes them.

    kind: `share` (a fraction: a value reads as a percentage, a difference and the margin in points), `plain` (all three
    read as they are) or `ratio` (a value v is the mean of logarithms and reads exp(-v), such as a perplexity; a
    difference and the margin read as the ratio of two such numbers, above 1 where the candidate is worse). margin: the
    setting that limits how much may be lost, such as `max_accuracy_drop`.
    """

    kind: Kind
    margin: str

    @property
    def noun(self) -> str:
        """What a difference is counted in: `points`; "" where the number stands alone."""
        return "points" if self.kind == "share" else ""

    def exactly(self, difference: float) -> str:
        """A difference of values for a reason in a ledger: -0.0042, and as a ratio 1.0042."""
        return f"{math.exp(-difference):.4f}" if self.kind == "ratio" else f"{difference:+.4f}"

    def beyond(self, difference: float, limit: float) -> str:
        """By how much a difference is worse than the limit, and on which side of it it then lies: `0.0042 below`, and
        of a ratio, which grows as things get worse, `0.0200 above`. Both on the scale of values."""
        if self.kind == "ratio":
            return f"{math.exp(-difference) - math.exp(-limit):.4f} above"
        return f"{limit - difference:.4f} below"


SHARE = Unit("share", "max_accuracy_drop")
CORRELATION = Unit("plain", "max_correlation_drop")
PERPLEXITY = Unit("ratio", "max_perplexity_rise")
UNITS: Mapping[str, Unit] = {unit.kind: unit for unit in (SHARE, CORRELATION, PERPLEXITY)}


class Metric(Protocol):
    """What tells a better answer from a worse one, over many examples. Larger is better.

    name: as settings and files call it, such as `accuracy` or `entity_f1`. title: in words. columns: what the
    statistics of one example are, in order. proportion: whether the value is the share of examples whose first column
    is 1, where it is 1 or 0 and the second is 1. thing: what is found or missed, such as `entity`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[Unit]
    columns: ClassVar[tuple[str, ...]]
    proportion: ClassVar[bool]
    thing: ClassVar[str]

    def value(self, statistics: np.ndarray) -> float:
        """statistics: (examples, columns). The value over all of them."""
        ...

    def without(self, statistics: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """The value without each group, (groups,). statistics: (examples, columns). groups: (examples,), from 0."""
        ...

    def one_lost(self, statistics: np.ndarray) -> float:
        """By how much the value falls, about, where the model loses one thing more that it could have got right: an
        example, an entity, one example of each class (the root of the sum of their squares)."""
        ...


@dataclass(frozen=True)
class Label:
    """What a page or table must know of a metric: its name in files, its title in words, its unit."""

    name: str
    title: str
    unit: Unit

    @classmethod
    def of(cls, metric: Metric) -> Label:
        """A metric's."""
        return cls(metric.name, metric.title, metric.unit)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Label:
        """What a ledger's row or a summary says of it; an earlier release's says at most the name, of accuracy."""
        name = data.get("metric", "accuracy")
        return cls(name, data.get("metric_title", name), UNITS[data.get("metric_unit", "share")])

    def name_in_file(self, field: str) -> str:
        """What the fields value, difference and interval are called in files; others keep their names."""
        names = {"value": self.name, "difference": f"{self.name}_difference", "interval": f"{self.name}_interval"}
        return names.get(field, field)

    def to_json(self) -> dict[str, str]:
        """As rows and summaries hold it."""
        return {"metric": self.name, "metric_title": self.title, "metric_unit": self.unit.kind}


ACCURACY = Label("accuracy", "accuracy", SHARE)
