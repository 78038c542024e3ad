"""How examples are judged: statistics of each, a value of them all, and how values and differences are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np


@dataclass(frozen=True)
class Unit:
    """How a metric's values are written for people.

    kind: `share` (a fraction, shown as a percentage, its differences in points), or `plain` (shown as it is). margin:
    the setting that limits how much may be lost, such as `max_accuracy_drop`.
    """

    kind: str
    margin: str


SHARE = Unit("share", "max_accuracy_drop")


class Metric(Protocol):
    """What tells a better answer from a worse one, over many examples. Larger is better.

    name: as settings and files call it, such as `accuracy` or `entity_f1`. title: in words. columns: what the
    statistics of one example are, in order.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[Unit]
    columns: ClassVar[tuple[str, ...]]

    def value(self, statistics: np.ndarray) -> float:
        """statistics: (examples, columns). The value over all of them."""
        ...

    def without(self, statistics: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """The value without each group, (groups,). statistics: (examples, columns). groups: (examples,), from 0."""
        ...
