"""From numbers to places on a picture, and the round numbers to write along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from compress.report.templates import typographic

Tick = tuple[float, str]

_LOGARITHMIC_STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
_LEAST_TICKS = 4
_WIDE_RATIO = 3.0


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` onto places from `start` to `end`. Values outside land on the nearer end."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    def place(self, value: float) -> float:
        """Where a value lies, to a tenth of a unit."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        share = math.log(at / low) / math.log(high / low) if self.logarithmic else (at - low) / (high - low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[Tick]:
        """Round numbers within the scale: their places and texts."""
        wide = self.logarithmic and self.high / self.low >= _WIDE_RATIO
        numbers = _log_steps(self.low, self.high) if wide else _even_steps(self.low, self.high)
        return [(self.place(number), typographic(f"{number:g}")) for number in numbers]


def scale_of(values: Sequence[float], start: float, end: float, *, logarithmic: bool) -> Scale:
    """A scale that holds all values with some room at both ends. Logarithmic: all values are positive."""
    low, high = min(values), max(values)
    if logarithmic:
        room = max((high / low) ** 0.06, 1.05)
        return Scale(low / room, high * room, start, end, True)
    room = max(0.06 * (high - low), 0.1)
    return Scale(low - room, high + room, start, end, False)


def _log_steps(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers: list[float] = []
    for steps in _LOGARITHMIC_STEPS:
        numbers = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(numbers) >= _LEAST_TICKS:
            break
    return numbers


def _even_steps(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten: about five."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [round(number * step, 10) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
