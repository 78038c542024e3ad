"""The picture of the contributions: for each stage, every piece of work as a dot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.core.metric import Label
from compress.report import wording
from compress.report.sweep.contributions import Contribution, Piece, Spread
from compress.report.sweep.scales import Tick, scale_of
from compress.report.templates import typographic
from compress.report.wording import DECIMALS, three_digits

WIDTH, ROW = 300.0, 34.0


@dataclass(frozen=True)
class Strip:
    """One number of one stage. dots: place and whether kept. middle: the median's place. text: median and ends."""

    dots: list[tuple[float, bool]]
    middle: float | None
    text: str


@dataclass(frozen=True)
class Column:
    """One number over all stages. base: the place of no change."""

    title: str
    ticks: list[Tick]
    base: float
    strips: list[Strip]


@dataclass(frozen=True)
class _Number:
    title: str
    read: str
    base: float
    logarithmic: bool
    write: Callable[[float], str]
    scale: float = 1.0


_SPEED, _SIZE = (
    _Number("times as fast as before it", "speed", 1.0, True, lambda value: f"{three_digits(value)}x"),
    _Number("times the bytes before it", "size", 1.0, True, lambda value: f"{three_digits(value)}x"),
)


def columns(contributions: Sequence[Contribution], metric: Label) -> list[Column]:
    """Speed, the metric and bytes; numbers that nothing measured have no column."""
    scale = wording.on_axis(1.0, metric.unit)
    judged = _Number(
        wording.heading(metric.title, metric.unit), "metric", 0.0, False,
        lambda value: wording.difference(value / scale, metric.unit, DECIMALS), scale,
    )  # fmt: skip
    return [made for number in (_SPEED, judged, _SIZE) if (made := _column(number, contributions)) is not None]


def _column(number: _Number, contributions: Sequence[Contribution]) -> Column | None:
    found = [value for stage in contributions for piece in stage.pieces if (value := _value(number, piece)) is not None]
    if not found:
        return None
    scale = scale_of([*found, number.base], 8.0, WIDTH - 8.0, logarithmic=number.logarithmic)
    strips = []
    for stage in contributions:
        spread = stage.spread(number.read)
        dots = [(scale.place(v), piece.kept) for piece in stage.pieces if (v := _value(number, piece)) is not None]
        middle = None if spread is None else scale.place(_scaled(number, spread.middle))
        strips.append(Strip(dots, middle, _text(number, spread, len(dots))))
    return Column(number.title, scale.ticks(), scale.place(number.base), strips)


def _value(number: _Number, piece: Piece) -> float | None:
    value = getattr(piece, number.read)
    return None if value is None else _scaled(number, value)


def _scaled(number: _Number, value: float) -> float:
    return number.scale * value


def _text(number: _Number, spread: Spread | None, count: int) -> str:
    if spread is None:
        return "not measured"
    middle, low, high = (number.write(_scaled(number, value)) for value in (spread.middle, spread.low, spread.high))
    return typographic(middle if count == 1 else f"{middle} ({low} to {high})")
