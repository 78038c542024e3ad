"""A verdict told on the page of the run that it is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.json_file import read_json
from compress.core.run_files import LEDGER, REPORT, SUMMARY
from compress.core.whole import write_whole
from compress.pipeline.run_folder import only_run_in
from compress.report.drawing import Drawing
from compress.report.labelled import read_labelled, write_labelled
from compress.report.page import write_page
from compress.report.sweep.runs import find_runs


def tell_run(verdict: Mapping[str, Any]) -> str:
    """Write the verdict into the folder of its run, whose summary and page tell it from then on. Returns a sentence:
    also where the folder is not there any more, or holds another model.

    verdict: as `verdict.json` has it. Raises InputError where a run is alive in that folder.
    """
    folder = Path(verdict["run"])
    if not (folder / SUMMARY).is_file() or not (folder / LEDGER).is_file():
        return f"no page tells it: {folder}, the run's folder, is not there any more"
    summary = read_json(folder / SUMMARY, finite=False)
    artifact = (summary.get("exported") or {}).get("artifact")
    if artifact != verdict["artifact"]:
        return f"no page tells it: {folder} has exported another model since the texts were drawn"
    with only_run_in(folder):
        write_labelled(folder, verdict)
        told = {**summary, "labelled": read_labelled(folder, artifact)}
        (run,) = find_runs([folder])
        if run.damage:
            raise InputError(f"{folder} is damaged, so its page cannot tell it: {'; '.join(run.damage)}")
        write_whole(folder / SUMMARY, json.dumps(told, indent=2, ensure_ascii=False))
        write_page(run.rows, told, Drawing.of(run.rows, told).plots(), folder / REPORT)
    return f"told on {folder / REPORT}"
