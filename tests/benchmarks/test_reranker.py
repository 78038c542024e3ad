"""Headings and passages to rows of candidates, on articles made up here."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compress.data.bbc import Article

PATH = Path(__file__).parents[2] / "benchmarks" / "reranker.py"
FILLING = "and then there were so many other words that nobody could ever count them all again."


@pytest.fixture(scope="module")
def reranker() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("benchmark_reranker", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark_reranker"] = module
    spec.loader.exec_module(module)
    return module


def article(topic: str, heading: str, *openings: str) -> Article:
    return Article(topic, heading, tuple((f"{opening} {FILLING}",) for opening in openings))


def test_rare_words_count_more(reranker: ModuleType) -> None:
    known = {"banks": 1, "the": 9}
    assert reranker.shared("The banks", "the banks rise", known) > reranker.shared("The banks", "the end", known) > 0
    assert reranker.shared("The banks", "nothing", known) == 0


def test_own_passages_are_relevant_and_others_are_not(reranker: ModuleType) -> None:
    articles = [
        article("business", "Banks rise", "Profits were up", "Savings were down"),
        article("business", "Oil falls", "Crude was cheap"),
        article("sport", "Cup final", "Banks rise was what the team sang"),
        article("business", "Jobs go", "Work was scarce"),
    ]
    rows = {row["query"]: row for row in reranker.queries(articles, 2, np.random.default_rng(0))}
    assert set(rows) == {"Banks rise", "Oil falls", "Cup final", "Jobs go"}
    banks = rows["Banks rise"]
    assert banks["label"] == [1, 1, 0, 0]
    assert [text.split()[0] for text in banks["passage"][:3]] == ["Profits", "Savings", "Banks"]
    # Of the same topic, and not of the article itself.
    assert banks["passage"][3].split()[0] in ("Crude", "Work")
