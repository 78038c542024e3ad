"""How long the work took that a store holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from compress.measure.effort import Effort
from compress.pipeline.store import MANIFEST


def efforts(store: Path) -> Iterator[tuple[Effort, float]]:
    """All finished work whose time is known, with its seconds, the newest first."""
    manifests = [*store.glob(f"artifacts/*/{MANIFEST}"), *store.glob(f"evaluations/*/{MANIFEST}")]
    for path in sorted(manifests, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))["facts"]
            known = Effort(**facts["effort"]), float(facts["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            # Of an earlier release, resumed in the middle, or damaged: no time to go by.
            continue
        yield known
