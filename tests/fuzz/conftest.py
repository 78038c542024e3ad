"""Where the figures of a long run are kept."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from datasets import arrow_dataset

from benchmarks.record import digest
from compress.measure.environment import versions

from .harness import COUNTED, EXAMPLES, LONGEST_S, SECONDS


@pytest.fixture(scope="module", autouse=True)
def nothing_that_only_takes_time() -> Iterator[None]:
    """Nobody pulls the plug here, and thousands of copies would wait for the disk. Nothing is cached either, so the
    name that a dataset is cached by, which the library makes by pickling all that it holds, may be any."""
    names = count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(arrow_dataset, "generate_fingerprint", lambda dataset: f"{next(names):016x}")
        yield


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
        kinds = {kind: {**counts, "processor_s": round(SECONDS.get(kind, 0.0), 1)} for kind, counts in COUNTED.items()}
        text = json.dumps({**told, "kinds": kinds}, indent=1)
        Path(os.environ["FUZZ_RESULTS"]).write_text(text + "\n", encoding="utf-8")


def read_by() -> dict[str, Any]:
    """The modules of this package that were loaded to read what was damaged, and a digest of them."""
    modules = sorted(name for name in sys.modules if name.startswith("compress."))
    return {"modules": modules, "sources": digest(modules)}
