"""Files of queries and passages: whole queries are split, and those that cannot judge are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compress.data.pairs import Pairs

COLUMNS = ["query", "passage"]


def source(folder: Path, parts: dict[str, list[dict[str, Any]]], **changes: Any) -> Pairs:
    paths: dict[str, Any] = {
        "train": None,
        "validation": None,
        "test": None,
        "unlabelled": None,
        "unlabelled_validation": None,
    }
    for name, rows in parts.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        paths[name] = str(path)
    given = {"columns": COLUMNS, "relevance": "label", "reads": COLUMNS, "label": None, "group": "query"}
    return Pairs(**{**paths, **given, "repeated": "keep", "validation_share": 0.25, "seed": 0, **changes})


def pairs(queries: int, labels: list[float]) -> list[dict[str, Any]]:
    return [
        {"query": f"q{number}", "passage": f"p{number}.{place}", "label": label}
        for number in range(queries)
        for place, label in enumerate(labels)
    ]


def test_whole_queries_are_split_off(tmp_path: Path) -> None:
    splits = source(tmp_path, {"train": pairs(8, [1, 0, 0])}).load()
    assert (len(splits.train), len(splits.validation)) == (18, 6)
    assert not set(splits.train["query"]) & set(splits.validation["query"])
    assert len(set(splits.validation["group"])) == 2


def test_queries_that_cannot_judge_are_counted_and_said(tmp_path: Path) -> None:
    none, alone = {"query": "n", "passage": ["a", "b"], "label": [0, 0]}, {"query": "s", "passage": ["a"], "label": [1]}
    fine = {"query": "f", "passage": ["a", "b"], "label": [0, 1]}
    splits = source(tmp_path, {"train": [fine], "validation": [none, alone, fine], "test": [fine]}).load()
    (told,) = [note for note in splits.notes if "left out" in note]
    assert told.startswith("2 of 3 queries of validation have no relevant passage, or no other: nothing can be ordered")


def test_without_labels_a_single_passage_cannot_be_ordered(tmp_path: Path) -> None:
    alone, two = {"query": "s", "passage": ["a"]}, {"query": "f", "passage": ["a", "b"]}
    splits = source(tmp_path, {"train": [two], "validation": [alone, two]}, relevance=None).load()
    assert [note for note in splits.notes if "left out" in note] == [
        "1 of 2 queries of validation have a single passage: nothing can be ordered, so they are left out"
    ]
