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
        "unlabelled_validation": None,
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


def test_texts_that_judge_without_labels(tmp_path: Path) -> None:
    train, more = _write(tmp_path / "a.jsonl", _rows(0, 4)), tmp_path / "more.txt"
    assert _files(train=train).load().unlabelled_validation is None
    more.write_text("first\nsecond\nfirst\n", encoding="utf-8")
    source = _files(train=train, unlabelled_validation=str(more))
    splits = source.load()
    assert splits.unlabelled is None
    assert splits.unlabelled_validation is not None
    # What is frequent stays frequent, as among the labelled examples; dropped there, it is dropped here too.
    assert splits.unlabelled_validation["text"][:] == ["first", "second", "first"]
    once = _files(train=train, unlabelled_validation=str(more), repeated="drop").load().unlabelled_validation
    assert once is not None and once["text"][:] == ["first", "second"]
    assert more in source.files()
    with pytest.raises(InputError, match=r"^data\.unlabelled_validation is '.*mroe\.txt'; there is no such file"):
        _files(train=train, unlabelled_validation=str(tmp_path / "mroe.txt")).check_files()


def test_a_share_of_the_unlabelled_texts_is_kept_from_training(tmp_path: Path) -> None:
    train, more = _write(tmp_path / "a.jsonl", _rows(0, 4)), tmp_path / "more.txt"
    texts = [f"text {number % 40}" for number in range(50)]
    more.write_text("\n".join(texts), encoding="utf-8")
    splits = _files(train=train, unlabelled=str(more), unlabelled_validation=0.3).load()
    assert splits.unlabelled is not None and splits.unlabelled_validation is not None
    learned, judging = splits.unlabelled["text"][:], splits.unlabelled_validation["text"][:]
    assert sorted(learned + judging) == sorted(texts)
    # Ten texts are there twice, each on one side: 15, or one more or less.
    assert not set(learned) & set(judging) and 14 <= len(judging) <= 16
    assert splits.notes[-1].startswith(
        f"data.unlabelled_validation is 0.3: {len(judging)} of the 50 examples of data.un"
    )
    again = _files(train=train, unlabelled=str(more), unlabelled_validation=0.3, seed=1).load().unlabelled_validation
    assert again is not None and again["text"][:] != judging


@pytest.mark.parametrize(
    ("given_value", "message"),
    [
        (0.0, r"is 0\.0; it must be the path of a file, or a share .* Use 0\.3 "),
        (1.5, r"is 1\.5; it must be the path of a file"),
        (True, r"is True; it must be the path of a file"),
        ("", r"is ''; it must be the path of a file"),
        (0.3, r"is 0\.3, a share of data\.unlabelled, which is null\. Set data\.unlabelled"),
    ],
)
def test_what_cannot_be_a_share(given_value: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"^data\.unlabelled_validation {message}"):
        _files(train="a.jsonl", unlabelled_validation=given_value)


def test_groups_of_texts_that_judge_are_numbered_with_the_labelled_ones(tmp_path: Path) -> None:
    rows = [{"text": f"sentence {n}", "label": "01", "article": f"a{n // 2}"} for n in range(8)]
    texts = [{"text": "one", "article": "a1"}, {"text": "two", "article": "b"}]
    train, more = _write(tmp_path / "a.jsonl", rows), _write(tmp_path / "more.jsonl", texts)
    splits = _files(train=train, group="article", unlabelled_validation=more).load()
    numbers = dict(zip(splits.train["article"], splits.train["group"], strict=True))
    numbers |= dict(zip(splits.validation["article"], splits.validation["group"], strict=True))
    assert splits.unlabelled_validation is not None
    assert splits.unlabelled_validation["group"][:] == [numbers["a1"], 4]
    plain = _write(tmp_path / "plain.jsonl", [{"text": "one"}])
    with pytest.raises(InputError, match=r"data\.group is 'article'; data\.unlabelled_validation has no such column"):
        _files(train=train, group="article", unlabelled_validation=plain).load()


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
