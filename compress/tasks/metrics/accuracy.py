"""The share of examples that are answered right."""

from __future__ import annotations

from typing import ClassVar

from compress.core.metric import SHARE, Unit
from compress.tasks.metrics.ratio import Ratio


class Accuracy(Ratio):
    """right: 1 or 0. count: 1."""

    name: ClassVar[str] = "accuracy"
    title: ClassVar[str] = "accuracy"
    unit: ClassVar[Unit] = SHARE
    columns: ClassVar[tuple[str, ...]] = ("right", "count")
    proportion: ClassVar[bool] = True
    thing: ClassVar[str] = "class"
