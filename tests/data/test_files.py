from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.core.errors import InputError
from compress.data.files import Files


def _files(**changes: Any) -> Files:
    given_settings: dict[str, Any] = {
        "train": None,
        "validation": None,
        "test": None,
        "unlabelled": None,
        "reads": "text",
        "label": "label",
        "group": None,
        "repeated": "keep",
        "validation_share": 0.2,
        "seed": 0,
    }
    return Files(**{**given_settings, **changes})


def _write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def _rows(first: int, count: int) -> list[dict[str, Any]]:
    return [{"text": f"sentence {n}", "label": "01", "extra": n} for n in range(first, first + count)]


def test_three_files_are_read_as_they_are(tmp_path: Path) -> None:
    paths = {
        n: _write(tmp_path / f"{n}.jsonl", _rows(10 * i, 3)) for i, n in enumerate(("train", "validation", "test"))
    }
    splits = _files(**paths).load()
    assert splits.train.to_dict() == {
        "text": ["sentence 0", "sentence 1", "sentence 2"],
        "label": ["01"] * 3,
        "extra": [0, 1, 2],
    }
    assert splits.validation["extra"][:] == [10, 11, 12]
    assert splits.test is not None and splits.test["extra"][:] == [20, 21, 22]
    assert splits.notes == ()


def test_text_without_labels(tmp_path: Path) -> None:
    train = _write(tmp_path / "a.jsonl", _rows(0, 4))
    assert _files(train=train).load().unlabelled is None
    (tmp_path / "more.txt").write_text("\ufefffirst\n\n  second \r\n", encoding="utf-8")
    splits = _files(train=train, unlabelled=str(tmp_path / "more.txt")).load()
    assert splits.unlabelled is not None and splits.unlabelled.to_dict() == {"text": ["first", "second"]}
    assert len(splits.train) + len(splits.validation) == 4
    for name in ("mroe.txt", "more.doc"):
        with pytest.raises(InputError, match=r"^data\.unlabelled is '.*'; there is no such file .*'more\.txt'\?"):
            _files(train=train, unlabelled=str(tmp_path / name)).load()
    (tmp_path / "more.doc").write_text("x")
    with pytest.raises(InputError, match=r"its suffix is '\.doc'; it must be one of .*\.parquet, .*, \.txt"):
        _files(train=train, unlabelled=str(tmp_path / "more.doc")).load()
    (tmp_path / "more.txt").write_text(" \n\n")
    with pytest.raises(InputError, match=r"^data\.unlabelled is .*it holds no rows"):
        _files(train=train, unlabelled=str(tmp_path / "more.txt")).load()


def test_formats_may_be_mixed(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("text,label\nb,02\n")
    splits = _files(train=_write(tmp_path / "a.jsonl", _rows(0, 2)), validation=str(tmp_path / "b.csv")).load()
    assert splits.validation.to_dict() == {"text": ["b"], "label": ["02"]}


def test_a_missing_validation_split_is_split_off(tmp_path: Path) -> None:
    settings_ = _files(train=_write(tmp_path / "a.jsonl", _rows(0, 10)))
    splits = settings_.load()
    assert (len(splits.train), len(splits.validation), splits.test) == (8, 2, None)
    assert sorted(splits.train["extra"][:] + splits.validation["extra"][:]) == list(range(10))
    assert splits.notes == (
        "data.validation is null: 2 of the 10 examples of data.train were split off for it (seed 0)",
        "data.test is null: there is no test split",
    )
    assert settings_.load().validation.to_dict() == splits.validation.to_dict()


def test_a_missing_train_split_is_split_off(tmp_path: Path) -> None:
    splits = _files(validation=_write(tmp_path / "a.jsonl", _rows(0, 10))).load()
    assert (len(splits.train), len(splits.validation)) == (8, 2)
    assert splits.notes[0].startswith("data.train is null: 8 of the 10 examples of data.validation")


def test_both_missing_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"data\.train is null, and so is data\.validation; at least one.*Set data\.train"
    ):
        _files()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": ""}, r"data\.train is ''; it must be text"),
        ({"train": "a.csv", "test": 3}, r"data\.test is 3; it must be text"),
        ({"train": "a.csv", "unlabelled": ""}, r"data\.unlabelled is ''; it must be text"),
        ({"train": "a.csv", "group": 3}, r"data\.group is 3; it must be text"),
        ({"train": "a.csv", "validation_share": 1.0}, r"data\.validation_share is 1\.0; it must lie in \(0, 1\)"),
        ({"train": "a.csv", "validation": "b/../a.csv"}, r"data\.validation is 'b/\.\./a\.csv', and so is data\.train"),
        ({"train": "a.csv", "validation": "b.csv", "test": "b.csv"}, r"data\.test is 'b\.csv', .* null for data\.test"),
        ({"train": "a.csv", "seed": -1}, r"seed is -1; it must be a whole number"),
    ],
)
def test_settings_are_checked_when_built(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        _files(**changes)


def test_errors_name_the_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^data\.test is '.*nothing\.csv'; there is no such file"):
        _files(train=_write(tmp_path / "a.jsonl", _rows(0, 2)), test=str(tmp_path / "nothing.csv")).load()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=40), st.floats(0.05, 0.95), st.integers(0, 9))
def test_no_group_is_on_both_sides(authors: list[str], share: float, seed: int) -> None:
    if len(set(authors)) < 2:
        return
    rows = [{"text": str(n), "author": author} for n, author in enumerate(authors)]
    with tempfile.TemporaryDirectory() as folder:
        path = _write(Path(folder) / "a.jsonl", rows)
        splits = _files(train=path, group="author", validation_share=share, seed=seed).load()
    assert not set(splits.train["author"]) & set(splits.validation["author"])
    assert not set(splits.train["group"]) & set(splits.validation["group"])
    assert len(splits.train) + len(splits.validation) == len(authors)
    assert not any("groups of data.group occur" in note for note in splits.notes)
