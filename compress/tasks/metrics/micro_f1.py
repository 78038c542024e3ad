"""F1 over all classes and examples together, where an example has any number of classes."""

from __future__ import annotations

from typing import ClassVar

from compress.core.metric import SHARE, Unit
from compress.tasks.metrics.found import FoundF1


class MicroF1(FoundF1):
    """Every class of an example is one thing to find."""

    name: ClassVar[str] = "micro_f1"
    title: ClassVar[str] = "micro F1"
    unit: ClassVar[Unit] = SHARE
    thing: ClassVar[str] = "class"
