"""A verdict told on the page of the run that it is about, and on the card of its export."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.ledger import Row
from compress.core.manifest import replace_text
from compress.core.run_files import EXPORT, LEDGER, REPORT, SUMMARY
from compress.core.whole import write_whole
from compress.pipeline.run_folder import only_run_in
from compress.report.drawing import Drawing
from compress.report.labelled import read_labelled, write_labelled
from compress.report.model_card import CARD, model_card, usage_of
from compress.report.page import write_page
from compress.report.sweep.runs import find_runs


def tell_run(verdict: Mapping[str, Any]) -> str:
    """Write the verdict into the folder of its run, whose summary, page and card tell it from then on. Returns a
    sentence: also where the folder is not there any more, or holds another model.

    verdict: as `verdict.json` has it.
    """
    folder = Path(verdict["run"])
    if not (folder / SUMMARY).is_file() or not (folder / LEDGER).is_file():
        return f"no page tells it: {folder}, the run's folder, is not there any more"
    try:
        with only_run_in(folder):
            return _told(folder, verdict)
    except InputError as error:
        return f"no page tells it: {error}"


def _told(folder: Path, verdict: Mapping[str, Any]) -> str:
    (run,) = find_runs([folder])
    if run.damage or run.summary is None:
        return f"no page tells it: {folder} is damaged ({'; '.join(run.damage)})"
    exported = run.summary["exported"]
    if exported is None or exported["artifact"] != verdict["artifact"]:
        return f"no page tells it: {folder} has exported another model since the texts were drawn"
    gate = run.summary["gates"][exported["stage"]]
    asked = {"limit": -gate["max_accuracy_drop"], "confidence": gate["confidence"]}
    if any(verdict[name] != value for name, value in asked.items()):
        return f"no page tells it: {folder} has had another limit since the texts were drawn"
    write_labelled(folder, verdict)
    summary = {**run.summary, "labelled": read_labelled(folder, exported["artifact"], **asked)}
    write_whole(folder / SUMMARY, json.dumps(summary, indent=2, ensure_ascii=False))
    write_page(run.rows, summary, Drawing.of(run.rows, summary).plots(), folder / REPORT)
    return f"told on {folder / REPORT} and {_told_on_card(folder / EXPORT, run.rows, summary)}"


def _told_on_card(export: Path, rows: Sequence[Row], summary: Mapping[str, Any]) -> str:
    """The end of a sentence. Only the card changes, and what the manifest says of it."""
    card = export / CARD
    usage = usage_of(card.read_text(encoding="utf-8")) if card.is_file() else None
    if usage is None:
        return f"not on a card: {card} is not there any more, or not as the run wrote it"
    try:
        replace_text(export, CARD, model_card(rows, summary, usage))
    except InputError as error:
        return f"not on its card: {error}"
    return str(card)
