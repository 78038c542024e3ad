"""Where the figures of a long run are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from compress.measure.environment import versions

from .harness import COUNTED, LONGEST_S


@pytest.fixture(scope="session", autouse=True)
def results() -> Iterator[None]:
    """Counts, written once all is done."""
    yield
    if "FUZZ_RESULTS" in os.environ:
        told = {
            "date": f"{date.today():%Y-%m-%d}",
            "longest_s": LONGEST_S,
            "release": versions(("torch", "transformers", "tokenizers", "datasets")),
        }
        text = json.dumps({**told, "kinds": {kind: dict(counts) for kind, counts in COUNTED.items()}}, indent=1)
        Path(os.environ["FUZZ_RESULTS"]).write_text(text + "\n", encoding="utf-8")
