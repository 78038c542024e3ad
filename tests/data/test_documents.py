"""Documents from files, and whole articles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.data.bbc_articles import BbcArticles
from compress.data.documents import Documents
from compress.data.texts import Texts


def source(train: Path, **more: Any) -> Documents:
    given: dict[str, Any] = {
        "validation": None,
        "test": None,
        "unlabelled": None,
        "unlabelled_validation": None,
        "group": None,
        "label": None,
    }
    given |= {"reads": "text", "separator": "\n\n", "choices": None, "choices_separator": " "}
    return Documents(**{**given, "train": str(train), "repeated": "keep", "validation_share": 0.5, "seed": 0, **more})


def test_an_empty_line_stands_between_documents_of_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"one\r\nstill one\r\n\r\n\r\n\r\ntwo\n\n  \n\nthree\n")
    splits = source(path).load()
    assert sorted([*splits.train["text"], *splits.validation["text"]]) == ["one\nstill one", "three", "two"]


def test_another_separator(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("one\n\nstill one<|end|>two", encoding="utf-8")
    splits = source(path, separator="<|end|>").load()
    assert sorted([*splits.train["text"], *splits.validation["text"]]) == ["one\n\nstill one", "two"]


def test_a_row_is_a_document_in_other_files(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in ("a\n\nb", "c")), encoding="utf-8")
    splits = source(path).load()
    assert sorted([*splits.train["text"], *splits.validation["text"]]) == ["a\n\nb", "c"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("corpus.txt", b" \n\n ", "holds no text"),
        ("corpus.txt", b"\xff\xfe", "not UTF-8"),
        ("corpus.txt", b"\x1f\x8b\x08", "packed by gzip"),
        ("corpus.doc", b"text", "suffix is '.doc'"),
    ],
)
def test_files_that_hold_no_documents(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told):
        source(tmp_path / name).load()


def test_what_was_learned_does_not_judge(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("one\n\ntwo\n\nthree", encoding="utf-8")
    with pytest.raises(InputError, match=r"and so is data\.train; what has been used cannot judge"):
        source(path, validation=str(tmp_path / "." / "corpus.txt"))
    texts = {"train": str(path), "validation": str(path), "test": None, "retrieval": None, "text": "text"}
    texts |= {"pairs": None, "test_pairs": None, "pair_columns": ["a", "b", "c"]}
    with pytest.raises(InputError, match=r"and so is data\.train; what has been used cannot judge"):
        Texts(**texts, group=None, repeated="keep", validation_share=0.5, seed=0)


def test_unlabelled_documents_are_documents(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("one\n\ntwo", encoding="utf-8")
    (tmp_path / "more.txt").write_text("a\nb\n\nc", encoding="utf-8")
    found = source(tmp_path / "corpus.txt", unlabelled=str(tmp_path / "more.txt")).load().unlabelled
    assert found is not None and found["text"][:] == ["a\nb", "c"]


def test_a_file_that_is_not_there_is_told_with_the_one_meant(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("one\n\ntwo", encoding="utf-8")
    with pytest.raises(InputError, match=r"there is no such file in .* Did you mean 'corpus\.txt'"):
        source(tmp_path / "corpsu.txt").load()


def test_an_empty_separator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.separator is ''"):
        source(tmp_path / "corpus.txt", separator="")


def test_articles_are_whole_and_on_one_side() -> None:
    splits = BbcArticles(
        articles=60, validation_share=0.2, test_share=0.2, choices=None, choices_separator=" ", seed=0
    ).load()
    assert splits.test is not None
    sides = [set(part["text"]) for part in (splits.train, splits.validation, splits.test)]
    assert sum(map(len, sides)) == 60 == len(set.union(*sides))
    assert min(map(len, sides)) > 5
    # A heading, then paragraphs.
    assert all(text.count("\n\n") >= 1 for side in sides for text in side)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"articles": 3}, "data.articles is 3"),
        ({"validation_share": 0.6, "test_share": 0.5}, "together they must stay below 1"),
    ],
)
def test_settings_that_leave_no_articles(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        BbcArticles(
            **{"articles": None, "validation_share": 0.1, "test_share": 0.1, "seed": 0, **settings},
            choices=None,
            choices_separator=" ",
        )
