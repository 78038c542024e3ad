from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from compress.core.errors import InputError
from compress.data.files import Files
from compress.data.hub import Hub
from compress.data.splits import fingerprint

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})


def _hub(**changes: Any) -> Hub:
    given: dict[str, Any] = {
        "name": "nothing",
        "config": None,
        "train": "train",
        "validation": "validation",
        "test": None,
        "unlabelled": None,
        "unlabelled_validation": None,
        "reads": ["text", ["image"]],
        "label": "label",
        "group": None,
        "repeated": "keep",
        "validation_share": 0.5,
        "seed": 0,
    }
    return Hub(**{**given, **changes})


def _save(folder: Path) -> str:
    parts = {
        name: Dataset.from_dict({"text": [f"{name} {n}" for n in range(4)], "label": [0, 1, 1, 0]}, features=FEATURES)
        for name in ("train", "validation", "held_out")
    }
    DatasetDict(parts).save_to_disk(folder / "a folder [1]")
    return str(folder / "a folder [1]")


def test_a_saved_folder_is_read(tmp_path: Path) -> None:
    splits = _hub(name=_save(tmp_path), test="held_out").load()
    assert splits.train.to_dict() == {"text": [f"train {n}" for n in range(4)], "label": ["no", "yes", "yes", "no"]}
    assert splits.test is not None and splits.test["text"][0] == "held_out 0"
    assert splits.notes == ()


def test_a_single_saved_data_set_is_the_train_split(tmp_path: Path) -> None:
    Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=FEATURES).save_to_disk(tmp_path / "one")
    splits = _hub(name=str(tmp_path / "one"), validation=None).load()
    assert (len(splits.train), len(splits.validation)) == (1, 1)


def test_the_content_is_that_of_a_file(tmp_path: Path) -> None:
    from_hub = _hub(name=_save(tmp_path), group="label").load()
    for name in ("a", "b"):
        from_hub.train.to_json(tmp_path / f"{name}.jsonl")
    files = Files(
        train=str(tmp_path / "a.jsonl"),
        validation=str(tmp_path / "b.jsonl"),
        test=None,
        unlabelled=None,
        unlabelled_validation=None,
        reads="text",
        label="label",
        group="label",
        repeated="keep",
        validation_share=0.5,
        seed=0,
    )
    assert fingerprint(files.load().train) == fingerprint(from_hub.train)


def test_splits_are_split_off_alike(tmp_path: Path) -> None:
    splits = _hub(name=_save(tmp_path), validation=None, group="label").load()
    assert not set(splits.train["label"]) & set(splits.validation["label"])


def test_a_name_is_loaded_by_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    part = Dataset.from_dict({"text": ["a"], "label": [1]}, features=FEATURES)

    def load(name: str, config: str | None) -> DatasetDict:
        asked.append((name, config))
        return DatasetDict(train=part, validation=part)

    monkeypatch.setattr("compress.data.hub.load_dataset", load)
    assert _hub(name="some/thing", config="mild").load().train["label"][:] == ["yes"]
    assert asked == [("some/thing", "mild")]


def test_an_unknown_split_is_offered_the_known(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"data\.test is 'heldout'; .* but train, validation, held_out\. .*'held_out'\?"
    ):
        _hub(name=_save(tmp_path), test="heldout").load()


def test_an_empty_split_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Dataset.from_dict({"text": ["a"], "label": [1]}, features=FEATURES)
    found = DatasetDict(train=part, validation=part, empty=part.select([]))
    monkeypatch.setattr("compress.data.hub.load_dataset", lambda name, config: found)
    with pytest.raises(InputError, match=r"data\.test is 'empty'; that split of .* is empty"):
        _hub(test="empty").load()


def test_a_data_set_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        InputError, match=r"data\.name is 'no/thing' \(data\.config None\); it cannot be loaded \(.*save_to_disk"
    ):
        _hub(name="no/thing").load()


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    folder = Path(_save(tmp_path))
    (folder / "train" / "state.json").write_text("{}")
    with pytest.raises(InputError, match=r"data\.name is '.*' .*it cannot be loaded \(KeyError"):
        _hub(name=str(folder)).load()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a.jsonl": b""}, r"cannot be loaded \((StopIteration|\w+Error)"),
        ({"a.csv": b"text,label\na,b\n", "b.csv": b"texts,label\na,b\n"}, r"cannot be loaded \(.*texts"),
        ({"a.csv": b"text,label\ncaf\xe9,b\n"}, r"cannot be loaded \(UnicodeDecodeError: .*0xe9"),
    ],
)
def test_what_is_wrong_with_a_folders_files_is_told(tmp_path: Path, files: dict[str, bytes], told: str) -> None:
    folder = tmp_path / "loose"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"(?s){told}"):
        _hub(name=str(folder)).load()


def test_a_folder_without_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=r"data\.name is '.*bare' .*it cannot be loaded \("):
        _hub(name=str(tmp_path / "bare")).load()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, r"data\.name is ''; it must name a data set"),
        ({"train": None, "validation": None}, r"data\.train is null"),
        ({"validation_share": 0}, r"data\.validation_share is 0"),
    ],
)
def test_settings_are_checked_when_built(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        _hub(**changes)
