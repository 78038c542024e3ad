"""The share of tokens that are tagged right, over all examples."""

from __future__ import annotations

from typing import ClassVar

from compress.core.metric import SHARE, Unit
from compress.tasks.metrics.ratio import Ratio


class TokenAccuracy(Ratio):
    """right: how many of the example's tokens are. count: how many it has."""

    name: ClassVar[str] = "token_accuracy"
    title: ClassVar[str] = "token accuracy"
    unit: ClassVar[Unit] = SHARE
    columns: ClassVar[tuple[str, ...]] = ("right", "count")
    proportion: ClassVar[bool] = False
    thing: ClassVar[str] = "tag"
