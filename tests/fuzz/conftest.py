"""Where the figures of a long run are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date
from itertools import count
from pathlib import Path

import pytest
from datasets import arrow_dataset

from compress.measure.environment import versions

from .harness import COUNTED, LONGEST_S, SECONDS


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
            "date": f"{date.today():%Y-%m-%d}",
            "longest_s": LONGEST_S,
            "release": versions(("torch", "transformers", "tokenizers", "datasets")),
        }
        kinds = {kind: {**counts, "processor_s": round(SECONDS.get(kind, 0.0), 1)} for kind, counts in COUNTED.items()}
        text = json.dumps({**told, "kinds": kinds}, indent=1)
        Path(os.environ["FUZZ_RESULTS"]).write_text(text + "\n", encoding="utf-8")
