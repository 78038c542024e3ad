"""What the files of a run's folder, and of a sweep's, are called."""

from __future__ import annotations

LEDGER = "ledger.jsonl"
SUMMARY = "summary.json"
REPORT = "report.html"
EXPORT = "export"
# Held while a run is alive.
LOCK = ".lock"
# How a job of a sweep ended, and how all of them did.
OUTCOME = "outcome.json"
SWEEP = "sweep.json"
