"""What every page shares: where its template lies, that every text is escaped, and how numbers are written."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from compress.report import wording
from compress.report.wording import DECIMALS


def typographic(text: str) -> str:
    """Hyphens that mean minus as minus signs, and a missing value as a dash; hyphens inside words stay."""
    return "\N{EN DASH}" if text == wording.MISSING else re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)


@cache
def environment() -> Environment:
    """Templates of this folder and those below it, each compiled once, with a filter for each kind of number."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        typographic=typographic,
        percent=_shown(lambda fraction: wording.percent(fraction, DECIMALS)),
        value=lambda number, unit: typographic(wording.value(number, unit, DECIMALS)),
        change=lambda number, unit: typographic(wording.difference(number, unit, DECIMALS)),
        difference=lambda pair, unit: typographic(wording.difference_with_interval(pair[0], pair[1], unit, DECIMALS)),
        amount=lambda number, unit: typographic(wording.amount(number, unit, DECIMALS)),
        at_once=wording.at_once_words,
        counted=wording.counted,
        heading=wording.heading,
        form_words=wording.form_words,
        capitalized=wording.capitalized,
        speedup=_shown(lambda pair: wording.factor_with_interval(pair[0], pair[1])),
        speedup_of=_shown(wording.speedup_of),
        latency=_shown(lambda pair: wording.latency(pair[0], pair[1])),
        digits=_shown(wording.three_digits),
        megabytes=_shown(wording.megabytes),
        count=_shown(lambda number: wording.MISSING if number is None else f"{number:,}"),
        duration=_shown(wording.duration),
        fact=wording.fact,
        verdict_words=wording.verdict_words,
        verdict_tone=wording.verdict_tone,
    )
    return made


def _shown(function: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: typographic(function(value))
