"""Pairs of texts that people rated: rows, and what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.data.rated_pairs import rated_split
from compress.data.texts import Texts

COLUMNS = ["sentence1", "sentence2", "score"]


def _write(path: Path, rows: list[tuple[Any, Any, Any]]) -> Path:
    path.write_text("".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in rows), encoding="utf-8")
    return path


def _texts(train: Path, **settings: Any) -> Texts:
    given = {"validation": None, "test": None, "retrieval": None, "group": None, "repeated": "keep", "pairs": None}
    given |= {"test_pairs": None, "pair_columns": COLUMNS, "text": "text", "validation_share": 0.25, "seed": 0}
    return Texts(train=str(train), **{**given, **settings})


def test_a_pair_is_two_rows_and_the_first_has_the_rating(tmp_path: Path) -> None:
    path = _write(tmp_path / "pairs.jsonl", [("rain", "it rains", 4.5), ("rain", "sun", 1)])
    assert rated_split("data.pairs", str(path), COLUMNS, "body").to_list() == [
        {"body": "rain", "role": "rated", "name": "1a", "relevant": ["1b"], "grades": [4.5]},
        {"body": "it rains", "role": "mate", "name": "1b", "relevant": [], "grades": []},
        {"body": "rain", "role": "rated", "name": "2a", "relevant": ["2b"], "grades": [1.0]},
        {"body": "sun", "role": "mate", "name": "2b", "relevant": [], "grades": []},
    ]


def test_ratings_of_a_csv_file_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,rating\nrain,snow,2.5\nsun,sun,5\n", encoding="utf-8")
    rows = rated_split("data.pairs", str(path), ["a", "b", "rating"], "text")
    assert rows["grades"][:] == [[2.5], [], [5.0], []]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("rain", "snow", "high"), r"data\.pairs, row 2: 'score' is 'high'; it must be a number"),
        (("rain", "snow", None), "'score' is None"),
        (("rain", "snow", True), "'score' is True"),
        (("rain", "snow", "nan"), "'score' is 'nan'"),
        (("rain", " ", 1), "row 2: 'sentence2' is ' '; it must be a text"),
        ((None, "snow", 1), "row 2: 'sentence1' is None"),
        (("rain", "snow", 3), "all 2 ratings in 'score' are equal"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, row: tuple[Any, Any, Any], told: str) -> None:
    # Kinds are mixed, so a CSV file, whose values are all text, and a JSON-lines file for what is no text.
    path = tmp_path / "pairs.csv"
    if isinstance(row[2], str):
        path.write_text(f"sentence1,sentence2,score\nsun,sun,3\n{','.join(row)}\n", encoding="utf-8")
    else:
        path = _write(tmp_path / "pairs.jsonl", [("sun", "sun", True if row[2] is True else 3), row])
        told = told.replace("row 2", "row 1") if row[2] is True else told
    with pytest.raises(InputError, match=told):
        rated_split("data.pairs", str(path), COLUMNS, "text")


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "pairs.jsonl", [("rain", "snow", 1)])
    with pytest.raises(InputError, match=r"no column 'rating' \(found: sentence1, sentence2, score\)"):
        rated_split("data.pairs", str(path), ["sentence1", "sentence2", "rating"], "text")


def test_pairs_take_the_place_of_validation_and_test(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("one\ntwo\n", encoding="utf-8")
    judge = _write(tmp_path / "dev.jsonl", [("rain", "snow", 1), ("sun", "sun", 2)])
    last = _write(tmp_path / "test.jsonl", [("wind", "storm", 1), ("sky", "sky", 2), ("a", "b", 0)])
    source = _texts(texts, pairs=str(judge), test_pairs=str(last))
    splits = source.load()
    assert (len(splits.train), len(splits.validation)) == (2, 4)
    assert splits.test is not None and len(splits.test) == 6
    assert source.files() == [texts, judge, last]
    alone = _texts(texts, pairs=str(judge)).load()
    assert alone.test is None and any("data.test_pairs is null" in note for note in alone.notes)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pairs": "p.csv", "validation": "v.txt"}, "both would judge"),
        ({"pairs": "p.csv", "retrieval": "beir"}, r"data\.retrieval is 'beir', and data\.pairs is 'p.csv'; both"),
        ({"test_pairs": "p.csv"}, r"data\.pairs is null"),
        ({"pairs": "p.csv", "test_pairs": "p.csv"}, "what has been used cannot judge"),
        ({"pairs": "p.csv", "pair_columns": ["a", "b"]}, "must name three different columns"),
        ({"pairs": "p.csv", "pair_columns": ["a", "b", "a"]}, "must name three different columns"),
        ({"pairs": "p.csv", "pair_columns": "abc"}, "must name three different columns"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        _texts(tmp_path / "texts.txt", **settings)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"data\.pairs.*no such file"):
        _texts(tmp_path / "texts.txt", pairs=str(tmp_path / "nothing.csv")).load()
