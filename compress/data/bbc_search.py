"""Searching BBC news: texts to learn from, and headings that are to find the passages of their own articles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset

from compress.core.context import Splits
from compress.core.words import SourceDefaults
from compress.data.bbc import (
    PACKAGE,
    Article,
    corpus_folder,
    distinct,
    passages,
    read_articles,
    require_cut,
    sides_by_topic,
)
from compress.data.retrieval import examples


@dataclass(frozen=True, kw_only=True)
class BbcSearch(SourceDefaults):
    """Articles are split, by topic in equal shares. Those to learn from give their headings and passages as texts.
    Those that judge give headings as queries, for which the passages of their own article, among those of all articles
    of the split, are the relevant ones.

    passages: how many of an article at most. words: the least and the most words of a passage. validation_share,
    test_share: of the articles, 0 to 1. seed: draws which articles go where.
    """

    passages: int
    words: Sequence[int]
    validation_share: float
    test_share: float
    seed: int

    def __post_init__(self) -> None:
        require_cut(self.passages, self.words, self.validation_share, self.test_share, self.seed)

    def files(self) -> list[Path]:
        """The articles' files."""
        return list(corpus_folder().glob("*/*.txt"))

    def load(self) -> Splits:
        """Read, cut and split. Raises InputError where the package is not installed."""
        articles = [article for article in distinct(list(read_articles(corpus_folder()))) if self._cut(article)]
        topics = np.array([article.topic for article in articles])
        cut = f"data.passages is {self.passages} and data.words is {list(self.words)}"
        sides = sides_by_topic(
            topics, np.arange(len(articles)), self.validation_share, self.test_share, self.seed, cut=cut
        )
        parts = {
            side: [article for article, own in zip(articles, sides, strict=True) if own == side]
            for side in ("train", "validation", "test")
        }
        train = [text for article in parts["train"] for text in (article.heading, *self._cut(article, every=True))]
        note = (
            f"{PACKAGE}: {len(articles)} distinct articles; the headings of {len(parts['validation'])} judge on the "
            f"validation split, those of {len(parts['test'])} on the test split, by the passages that they find"
        )
        return Splits(
            Dataset.from_dict({"text": list(dict.fromkeys(train))}),
            self._judged(parts["validation"]),
            self._judged(parts["test"]),
            (note,),
        )

    def _cut(self, article: Article, *, every: bool = False) -> list[str]:
        found = list(passages(article, *self.words))
        return found if every else found[: self.passages]

    def _judged(self, articles: Sequence[Article]) -> Dataset:
        documents: dict[str, str] = {}
        relevant: dict[str, dict[str, float]] = {}
        for number, article in enumerate(articles):
            own = {f"{number}.{place}": text for place, text in enumerate(self._cut(article))}
            documents |= own
            relevant[str(number)] = dict.fromkeys(own, 1.0)
        queries = {str(number): article.heading for number, article in enumerate(articles)}
        return examples(documents, queries, relevant, "text")
