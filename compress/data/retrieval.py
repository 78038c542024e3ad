"""Judged retrieval in a folder as BEIR lays it out: `corpus.jsonl`, `queries.jsonl` and `qrels/NAME.tsv`.

Thakur et al. 2021, BEIR: A Heterogenous Benchmark for Zero-shot Evaluation of Information Retrieval Models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from compress.core.errors import InputError
from compress.data.formats import read_file
from compress.tasks.ranking import DOCUMENT, GRADES, NAME, QUERY, RELEVANT, ROLE

# Which file of judgements each split takes: the first that is there.
QRELS: Mapping[str, Sequence[str]] = {"validation": ("dev", "validation", "val"), "test": ("test",)}
WAY_OUT = "Lay it out as BEIR does: corpus.jsonl, queries.jsonl, and qrels/dev.tsv, qrels/test.tsv or both"


def judged_splits(name: str, text: str) -> tuple[dict[str, Dataset], tuple[str, ...]]:
    """The splits that `data.retrieval=name` has judgements for, and what is to be told of them.

    text: what the column of texts is called. The other columns: `role` (query or document), `name`, and of a query
    names of `relevant` documents with their `grades`. Where only one of the two files is there, it is the validation
    split. Raises InputError where the folder cannot be used.
    """
    folder = Path(name).expanduser()
    found = {
        split: folder / "qrels" / f"{file}.tsv"
        for split, files in QRELS.items()
        for file in reversed(files)
        if (folder / "qrels" / f"{file}.tsv").is_file()
    }
    if not found:
        raise InputError(f"data.retrieval is {name!r}, which has no judgements to read. {WAY_OUT}.")
    corpus = _entries(folder / "corpus.jsonl")
    queries = _entries(folder / "queries.jsonl")
    only = next(iter(found.values())).name
    notes = [] if len(found) > 1 else [f"data.retrieval: {only} is the only file of judgements"]
    if "validation" not in found:
        found = {"validation": found["test"]}
    splits = {}
    for split, path in found.items():
        judged, unanswered = _judged(path, corpus, queries)
        if unanswered:
            notes.append(
                f"data.retrieval: {unanswered} queries of {path.name} have no relevant document and are left out"
            )
        splits[split] = examples(corpus, {key: queries[key] for key in judged}, judged, text)
    return splits, tuple(notes)


def examples(
    documents: Mapping[str, str], queries: Mapping[str, str], relevant: Mapping[str, Mapping[str, float]], text: str
) -> Dataset:
    """Rows for queries, then for documents. All are texts by name; relevant: for each query grades by document."""
    rows: list[dict[str, Any]] = [
        {text: query, ROLE: QUERY, NAME: name, RELEVANT: list(relevant[name]), GRADES: list(relevant[name].values())}
        for name, query in queries.items()
    ]
    rows += [
        {text: document, ROLE: DOCUMENT, NAME: name, RELEVANT: [], GRADES: []} for name, document in documents.items()
    ]
    return Dataset.from_list(rows)


def _entries(path: Path) -> dict[str, str]:
    """Texts by `_id`: a title, where there is one, comes first."""
    if not path.is_file():
        raise InputError(f"data.retrieval: there is no file {str(path)!r}. {WAY_OUT}.")
    table = read_file("data.retrieval", str(path))
    for column in ("_id", "text"):
        if column not in table.column_names:
            raise InputError(
                f"data.retrieval: {path} has no {column!r} (found: {', '.join(table.column_names)}). {WAY_OUT}."
            )
    titles = table["title"] if "title" in table.column_names else [""] * len(table)
    return {
        str(key): f"{title or ''} {text or ''}".strip()
        for key, title, text in zip(table["_id"], titles, table["text"], strict=True)
    }


def _judged(
    path: Path, corpus: Mapping[str, str], queries: Mapping[str, str]
) -> tuple[dict[str, dict[str, float]], int]:
    """For each query the grades above 0 of documents, and how many queries have none."""
    judged: dict[str, dict[str, float]] = {}
    for number, query, document, grade in _lines(path):
        for what, key, known in (("query", query, queries), ("document", document, corpus)):
            if key not in known:
                file = "queries.jsonl" if what == "query" else "corpus.jsonl"
                raise InputError(
                    f"data.retrieval: {path}, line {number}, names the {what} {key!r}, which {file} does not have. "
                    "Add it there, or remove the line."
                )
        grades = judged.setdefault(query, {})
        if grade > 0:
            grades[document] = grade
    answered = {query: grades for query, grades in judged.items() if grades}
    if not answered:
        raise InputError(f"data.retrieval: no query of {path} has a relevant document. {WAY_OUT}.")
    return answered, len(judged) - len(answered)


def _lines(path: Path) -> Iterator[tuple[int, str, str, float]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"data.retrieval: {path} cannot be read ({error}). Save it as UTF-8.") from error
    for number, line in enumerate(lines, start=1):
        values = line.rstrip("\r").split("\t")
        # A first line with names is usual, and not everywhere.
        if not line.strip() or (number == 1 and values[0] == "query-id"):
            continue
        # As TREC writes them, with an unused column after the query.
        if len(values) == 4:
            values = [values[0], *values[2:]]
        try:
            query, document, grade = values
            yield number, query, document, float(grade)
        except ValueError:
            raise InputError(
                f"data.retrieval: {path}, line {number}, is {line[:80]!r}; it must be a query's name, a document's and "
                "a grade, with tabs between."
            ) from None
