"""What the files of a run's folder, and of a sweep's, are called."""

from __future__ import annotations

LEDGER = "ledger.jsonl"
SUMMARY = "summary.json"
REPORT = "report.html"
EXPORT = "export"
# Other forms of what was exported, a folder each, where a run was asked for some.
FORMS = "forms"
# What labels of further texts said of the export, where somebody asked: see `compress-label`.
LABELLED = "labelled.json"
# Held while a run is alive.
LOCK = ".lock"
# How a job of a sweep ended, and how all of them did.
OUTCOME = "outcome.json"
SWEEP = "sweep.json"
