"""The model card: what an exported model is, how it was made, what speaks for it and where that ends."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from compress.core.ledger import Row
from compress.core.metric import Label, Unit
from compress.report import wording
from compress.report.decision import labels_sentence, proven_by_labels
from compress.report.disturbed import disturbance_of, measure_again

CARD = "README.md"


def write_model_card(
    folder: Path, rows: Sequence[Row], summary: Mapping[str, Any], usage: str, kept_usage: str = ""
) -> None:
    """Write `README.md` into the export's folder: see `model_card`."""
    (folder / CARD).write_text(model_card(rows, summary, usage, kept_usage), encoding="utf-8")


def usage_of(card: str) -> str | None:
    """The Python that a card of ours shows, word for word; None where it shows none."""
    found = re.search(r"^## Use\n\n(?P<fence>`{3,})python\n(?P<usage>.*?\n)(?P=fence)$", card, re.DOTALL | re.MULTILINE)
    return None if found is None else found["usage"]


def model_card(rows: Sequence[Row], summary: Mapping[str, Any], usage: str, kept_usage: str = "") -> str:
    """The card's text.

    rows: the ledger's, the teacher's first. summary: what the run writes to `summary.json`; its `exported` and
    `student` must not be null, and `base_model`, where present, is the Hub name of what the teacher was fine-tuned
    from. usage: Python that runs the folder, shown word for word.
    kept_usage: the same of vectors in fewer bytes, where the summary has `vectors`.
    """
    metric = Label.from_json(summary)
    labelled = summary.get("labelled")
    return _environment(metric.unit).get_template("model_card.md.jinja").render(
        rows=rows,
        summary=summary,
        metric=metric,
        student=summary["student"],
        teacher=summary["teacher"],
        gate=summary["gates"].get(summary["exported"]["stage"]),
        labels=None if labelled is None else labels_sentence(labelled),
        settled=proven_by_labels(rows, summary),
        busy=disturbance_of(summary),
        again=measure_again(summary),
        evidence=next((row for row in rows if row.stage == summary["student"]["stage"]), None),
        fence=_fence(usage),
        usage=usage if usage.endswith("\n") else f"{usage}\n",
        kept_fence=_fence(kept_usage),
        kept_usage=kept_usage,
        vectors=summary.get("vectors") or [],
    )  # fmt: skip


def plain_text(text: object) -> str:
    """`text` on one line, with what Markdown or HTML would act on made harmless, also inside a table's cell."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    line = "&gt;" + line[1:] if line.startswith(">") else line
    line = re.sub(r"([\\`*|~])", r"\\\1", line)
    # Brackets hold intervals; only those that would begin a link's address need care.
    return line.replace("](", "]\\(").replace("][", "]\\[")


@cache
def _environment(unit: Unit) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        # Markdown is not HTML: values pass through `plain_text`, those of the front matter through `_yaml`.
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(plain=plain_text, yaml=_yaml, number=_number, interval=_interval)
    environment.filters.update(
        value=lambda number: wording.value(number, unit, wording.DECIMALS),
        change=lambda number: wording.difference(number, unit, wording.DECIMALS),
        difference=lambda pair: wording.difference_with_interval(pair[0], pair[1], unit, wording.DECIMALS),
        at_once=wording.at_once_words,
        counted=wording.counted,
        heading=wording.heading,
        figure_of=wording.figure_of,
        figure_names=wording.figure_names,
        prediction_powered=lambda found: wording.prediction_powered_sentence(found, unit, wording.DECIMALS),
        figure_name=wording.figure_name,
        megabytes=wording.megabytes,
        form_words=wording.form_words,
        fact=wording.fact,
    )
    return environment


def _yaml(text: str) -> str:
    """A YAML scalar: bare where it is a lower-case name, otherwise a JSON string, which is also a YAML string."""
    is_name = re.fullmatch(r"[a-z][a-z0-9_]*(-[a-z0-9_]+)*", text) is not None
    return text if is_name and text not in ("true", "false", "null", "yes", "no", "on", "off") else json.dumps(text)


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    """`value * scale` in printf form; `-` where it is missing, infinite or not a number."""
    return "-" if value is None or not math.isfinite(value) else form % (value * scale)


def _interval(ends: Sequence[float] | None, form: str, scale: float = 1.0) -> str:
    """` [low, high]`, or nothing where an end is missing, infinite or not a number."""
    if ends is None or not all(math.isfinite(end) for end in ends):
        return ""
    return f" [{', '.join(form % (end * scale) for end in ends)}]"


def _fence(code: str) -> str:
    """A fence longer than any run of backticks in `code`."""
    return "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
