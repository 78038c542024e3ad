"""Judgements in BEIR's layout, and texts without labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.data.retrieval import judged_splits
from compress.data.texts import Texts

CORPUS = {"d1": ("Rain", "falls."), "d2": ("", "The sun shines."), "d3": ("Snow", "")}


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": key, "title": title, "text": text}) for key, (title, text) in CORPUS.items()]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "weather"}\n{"_id": "q2", "text": "nothing"}')
    judged = ["query-id\tcorpus-id\tscore", "q1\td1\t2", "q1\td3\t1", "q1\td2\t0", "q2\td2\t0"]
    (folder / "qrels" / "dev.tsv").write_text("\n".join(judged))
    (folder / "qrels" / "test.tsv").write_text("q2\t0\td2\t1\n")
    return folder


def test_queries_come_first_with_their_grades(beir: Path) -> None:
    splits, notes = judged_splits(str(beir), "text")
    rows: list[Any] = list(splits["validation"])
    assert rows[0] == {"text": "weather", "role": "query", "name": "q1", "relevant": ["d1", "d3"], "grades": [2.0, 1.0]}
    assert [(row["name"], row["text"]) for row in rows[1:]] == [
        ("d1", "Rain falls."),
        ("d2", "The sun shines."),
        ("d3", "Snow"),
    ]
    assert splits["test"][0]["name"] == "q2"
    assert notes == ("data.retrieval: 1 queries of dev.tsv have no relevant document and are left out",)


def test_only_file_of_judgements_is_the_validation_split(beir: Path) -> None:
    (beir / "qrels" / "dev.tsv").unlink()
    splits, notes = judged_splits(str(beir), "text")
    assert list(splits) == ["validation"]
    assert "test.tsv is the only file" in notes[0]


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("qrels/dev.tsv", "q1\td9\t1\n", "line 1, names the document 'd9', which corpus.jsonl does not have"),
        ("qrels/dev.tsv", "q1\td1\t1\nq7\td1\t1\n", "line 2, names the query 'q7'"),
        ("qrels/dev.tsv", "q1 d1 1\n", "with tabs between"),
        ("qrels/dev.tsv", "q1\td1\tyes\n", "with tabs between"),
        ("qrels/dev.tsv", "q1\td1\t0\n", "no query of"),
        ("corpus.jsonl", '{"id": "d1", "text": "x"}\n', "has no '_id'"),
    ],
)
def test_what_cannot_be_used_is_named(beir: Path, file: str, content: str, told: str) -> None:
    (beir / file).write_text(content)
    with pytest.raises(InputError, match=told):
        judged_splits(str(beir), "text")


def test_folder_without_judgements_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no judgements to read"):
        judged_splits(str(tmp_path), "text")


def _texts(**settings: Any) -> Texts:
    given = {"validation": None, "test": None, "retrieval": None, "group": None, "repeated": "keep"}
    given |= {"pairs": None, "test_pairs": None, "pair_columns": ["sentence1", "sentence2", "score"]}
    return Texts(**{**given, "text": "text", "validation_share": 0.25, "seed": 0, **settings})


def test_lines_of_text_are_split(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(f"text {number}" for number in range(8)))
    splits = _texts(train=str(path)).load()
    assert (len(splits.train), len(splits.validation), splits.test) == (6, 2, None)


def test_judgements_take_the_place_of_both(tmp_path: Path, beir: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("one\ntwo\n")
    splits = _texts(train=str(path), retrieval=str(beir)).load()
    assert splits.train["text"][:] == ["one", "two"]
    assert splits.test is not None and len(splits.test) == 4
    with pytest.raises(InputError, match="both would judge"):
        _texts(train=str(path), retrieval=str(beir), validation=str(path))
    with pytest.raises(InputError, match="no such folder"):
        _texts(train=str(path), retrieval=str(tmp_path / "beri")).load()


def test_repeated_texts_are_told_or_left_out(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("one\ntwo\nthree\nfour\none\n")
    splits = _texts(train=str(path)).load()
    assert len(splits.train) + len(splits.validation) == 5
    # All of a text's copies are on one side.
    assert not set(splits.train["text"]) & set(splits.validation["text"])
    dropped = _texts(train=str(path), repeated="drop").load()
    assert len(dropped.train) + len(dropped.validation) == 4
