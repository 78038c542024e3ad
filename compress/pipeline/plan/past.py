"""How long the work took that a store holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from compress.core.errors import InputError
from compress.core.json_file import read_json
from compress.measure.effort import Effort
from compress.pipeline.store import MANIFEST


def efforts(store: Path) -> Iterator[tuple[Effort, float]]:
    """All finished work whose time is known, with its seconds, the newest first."""
    manifests = [*store.glob(f"artifacts/*/{MANIFEST}"), *store.glob(f"evaluations/*/{MANIFEST}")]
    for path in sorted(manifests, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            facts = read_json(path)["facts"]
            known = Effort(**facts["effort"]), float(facts["seconds"])
        except (InputError, KeyError, TypeError, ValueError):
            # Of an earlier release, resumed in the middle, or damaged: no time to go by.
            continue
        yield known
