"""Ratings to labels and splits, on sentences made up here. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "movie_reviews.py"


@pytest.fixture(scope="module")
def reviews() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("movie_reviews", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_line_is_a_rating_and_a_sentence(reviews: ModuleType) -> None:
    assert reviews.parse("3\t-0.6\tEffective but  too tepid\tbiopic ") == (-0.6, "Effective but too tepid biopic")


def test_the_sign_is_the_label_and_what_contradicts_itself_goes(reviews: ModuleType) -> None:
    rated = [(2.5, "A joy."), (-0.1, "Too long."), (0.0, "It exists."), (1.0, "a JOY."), (-1.0, "Odd."), (1.0, "odd.")]
    assert reviews.labelled(rated) == [
        {"text": "A joy.", "label": "positive", "rating": 2.5},
        {"text": "Too long.", "label": "negative", "rating": -0.1},
    ]


def test_every_sentence_is_in_one_split(reviews: ModuleType) -> None:
    rows = [{"text": f"sentence {i}", "label": "positive"} for i in range(50)]
    parts = reviews.split(rows, 0.2, seed=0)
    assert {name: len(part) for name, part in parts.items()} == {"train": 30, "validation": 10, "test": 10}
    assert sorted(row["text"] for part in parts.values() for row in part) == sorted(row["text"] for row in rows)
    assert reviews.split(rows, 0.2, seed=1) != parts == reviews.split(rows, 0.2, seed=0)


def test_unlabelled_text_repeats_nothing(reviews: ModuleType) -> None:
    assert reviews.distinct(["New.", "seen", "NEW.", "", "Other"], {"seen"}) == ["New.", "Other"]


def test_another_archive_is_refused(reviews: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "other.tar.gz"
    path.write_bytes(b"other")
    with pytest.raises(
        SystemExit, match="has the sha256 d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"
    ):
        reviews.read_sources(path)
