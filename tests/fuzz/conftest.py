"""Where the figures of a long run are kept."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from benchmarks.record import digest
from compress.measure.environment import versions

from .harness import COUNTED, EXAMPLES, LONGEST_S


@pytest.fixture(scope="session", autouse=True)
def results() -> Iterator[None]:
    """Counts, written once all is done."""
    yield
    if "FUZZ_RESULTS" in os.environ:
        told = {
            "command": f"make fuzz FUZZ_EXAMPLES={EXAMPLES}",
            **read_by(),
            "date": f"{date.today():%Y-%m-%d}",
            "longest_s": LONGEST_S,
            "release": versions(("torch", "transformers", "tokenizers", "datasets")),
        }
        text = json.dumps({**told, "kinds": {kind: dict(counts) for kind, counts in COUNTED.items()}}, indent=1)
        Path(os.environ["FUZZ_RESULTS"]).write_text(text + "\n", encoding="utf-8")


def read_by() -> dict[str, Any]:
    """The modules of this package that were loaded to read what was damaged, and a digest of them."""
    modules = sorted(name for name in sys.modules if name.startswith("compress."))
    return {"modules": modules, "sources": digest(modules)}
