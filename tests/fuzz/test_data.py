"""Thousands of damaged files of data, of every format and task: read and encoded, or refused by an error of ours."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from transformers import AutoConfig

from compress.core.context import Splits
from compress.core.task import Task
from compress.data.documents import Documents
from compress.data.files import Files
from compress.data.rated_pairs import rated_split
from compress.data.texts import Texts
from compress.nn.sentence_encoder import Readout
from compress.tasks.causal_lm import CausalLanguageModel
from compress.tasks.multi_label_classification import MultiLabelClassification
from compress.tasks.regression import Regression
from compress.tasks.reranker import Reranker
from compress.tasks.sentence_embedding import SentenceEmbedding
from compress.tasks.text_classification import TextClassification
from compress.tasks.token_classification import TokenClassification

from .harness import RefusedError, as_before, counted, damaged, draws, fuzz
from .mutations import mutated_data

TEXTS = (
    "kas kat kan",
    "los lot lon kar",
    "mis mit",
    "nus nut kam, lor",
    "pes \u00e9 kas",
    "ras rat \u6c49",
    "kan kas",
    "lom",
)
ROWS = [
    {"text": text, "label": ("cold", "warm")[number % 2], "article": number // 2} for number, text in enumerate(TEXTS)
]
TEMPLATE = "{% for turn in messages %}{{ turn.role + ' ' + turn.content + ' ' }}{% endfor %}"
SHARED: Mapping[str, Any] = {
    "validation": None, "test": None, "unlabelled": None, "group": None, "repeated": "keep", "validation_share": 0.5,
    "seed": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A file of data, by its name, what reads it, and the task that encodes what was read."""

    name: str
    content: bytes
    load: Callable[[Path], Splits]
    task: Task


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _table(separator: str) -> bytes:
    lines = ["text,label,article", *(f'"{row["text"]}",{row["label"]},{row["article"]}' for row in ROWS)]
    if separator != ",":
        lines = [separator.join(part.strip('"') for part in line.rsplit(",", 2)) for line in lines]
    return "\n".join(lines).encode()


def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    return sink.getvalue().to_pybytes()


def _files(reads: Any = "text", label: str | None = "label", **others: Any) -> Callable[[Path], Splits]:
    settings = {"label": label, "unlabelled_validation": None, **SHARED, **others}
    return lambda path: Files(train=str(path), reads=reads, **settings).load()


def _documents(path: Path) -> Splits:
    more = {"unlabelled_validation": None, "choices": None, "choices_separator": " "}
    return Documents(train=str(path), reads="text", label=None, separator="\n\n", **more, **SHARED).load()


def _texts(path: Path) -> Splits:
    """Of a folder as BEIR has them, beside a file of texts."""
    others = {"pairs": None, "test_pairs": None, "pair_columns": ("a", "b", "score"), "text": "text"}
    told = {name: value for name, value in SHARED.items() if name != "unlabelled"}
    return Texts(train=str(path / "texts.txt"), retrieval=str(path), **{**told, **others}).load()


def _rated(path: Path) -> Splits:
    rated = rated_split("data.pairs", str(path), ("a", "b", "score"), "text")
    return Splits(rated, rated, None)


ONE = TextClassification(text="text", label="label", max_length=8)
TAGS = TokenClassification(
    words="tokens", tags="tags", text="text", spans="spans", scheme="auto", max_length=8, stride=2
)
SEVERAL = MultiLabelClassification(text="text", label="labels", separator=",", threshold=0.5, max_length=8)
NUMBERS = Regression(text="text", label="label", scale=1.0, max_length=8)
ORDER = Reranker(
    text=("query", "passage"), label="label", labels="relevance", max_length=12, score_weight=1.0, margin_weight=1.0,
    ranking_weight=1.0, scale=1.0,
)  # fmt: skip
ALIKE = SentenceEmbedding(
    text="text", max_length=8, pooling=None, vector_weight=1.0, ranking_weight=1.0, sharpness=20.0, dimensions=(),
    pairs=True, stored=(),
)  # fmt: skip
READOUT = Readout(pooling="mean", dimensions=0, bias=False, activation="identity", normalize=True, prompts={})
LANGUAGE = CausalLanguageModel(text="text", max_length=8, prompt_tokens=2, new_tokens=3)
TAGGED = "\n\n".join(f"{text.split()[0]} O\nkat B-x\nlos I-x\n-DOCSTART- O\nmis O" for text in TEXTS).encode()
CONLLU = "\n\n".join(
    "# newdoc\n" + "\n".join(
        f"{i}\t{word}\t_\t{tag}" + "\t_" * 6
        for i, (word, tag) in enumerate(((text.split()[0], "O"), ("kat", "B-x"), ("los", "I-x")), start=1)
    )
    for text in TEXTS
).encode()  # fmt: skip
CHATS = _jsonl(
    [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "lon kan"}]} for text in TEXTS]
)
SPANS = _jsonl([{"text": text, "spans": [{"start": 0, "end": 3, "label": "x"}]} for text in TEXTS])
PASSAGES = _jsonl([{"query": text, "passage": [text, "mit los"], "label": [1, 0]} for text in TEXTS])
KINDS = _jsonl(
    [{"text": text, "labels": ["cold"] if number % 2 else ["cold", "warm"]} for number, text in enumerate(TEXTS)]
)
RATED = _jsonl([{"text": text, "label": number / 3} for number, text in enumerate(TEXTS)])

CASES = {
    "jsonl": Case("data.jsonl", _jsonl(ROWS), _files(group="article"), ONE),
    "jsonl, repeats dropped": Case("data.jsonl", _jsonl(ROWS), _files(repeated="drop"), ONE),
    "csv": Case("data.csv", _table(","), _files(group="article"), ONE),
    "tsv": Case("data.tsv", _table("\t"), _files(), ONE),
    "parquet": Case("data.parquet", _parquet(), _files(group="article"), ONE),
    "gzip": Case("data.jsonl", gzip.compress(_jsonl(ROWS)), _files(), ONE),
    "conll": Case("data.conll", TAGGED, _files("tokens", "tags"), TAGS),
    "conllu": Case("data.conllu", CONLLU, _files("tokens", "tags"), TAGS),
    "spans": Case("data.jsonl", SPANS, _files("text", None), TAGS),
    "chats": Case("data.jsonl", CHATS, _documents, LANGUAGE),
    "documents": Case("data.txt", "\n\n".join(TEXTS).encode(), _documents, LANGUAGE),
    "passages": Case("data.jsonl", PASSAGES, _files(("query", "passage"), "label"), ORDER),
    "several labels": Case("data.jsonl", KINDS, _files("text", "labels"), SEVERAL),
    "numbers": Case("data.jsonl", RATED, _files(), NUMBERS),
    "rated pairs": Case("data.csv", b"a,b,score\nkas,kat,1\nlos,lot,0.5\nmis,mit,0\n", _rated, ALIKE),
}


@pytest.fixture(scope="module")
def configs() -> dict[str, Any]:
    """Of each task a model's configuration."""
    labels = {"Regression": ["LABEL_0"], "Reranker": ["LABEL_0"], "TokenClassification": ["O", "B-x", "I-x"]}
    found = {}
    for task in {case.task.name: case.task for case in CASES.values()}.values():
        names = labels.get(type(task).__name__, ["cold", "warm"])
        config = AutoConfig.for_model(
            "llama" if task is LANGUAGE else "bert", vocab_size=40, max_position_embeddings=40
        )
        config.id2label, config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
        config.sentence_encoder = READOUT.to_json()
        config.pad_token_id, config.num_attention_heads, config.hidden_size = 0, 4, 32
        found[task.name] = config
    return found


@pytest.fixture(scope="module")
def tokenizer_of(make_tokenizer: Callable[[], Any]) -> Any:
    """A tokenizer with an end and a template for chats."""
    tokenizer = make_tokenizer()
    tokenizer.eos_token, tokenizer.chat_template, tokenizer.model_max_length = "[SEP]", TEMPLATE, 8
    return tokenizer


def encoded(case: Case, path: Path, tokenizer: Any, config: Any) -> dict[str, int]:
    """How many rows each split has once it was read and encoded."""
    splits = case.load(path)
    parts = {"train": splits.train, "validation": splits.validation}
    rows = {name: case.task.encode(part, tokenizer, config, name) for name, part in parts.items()}
    for part in rows.values():
        case.task.collate([part[row] for row in range(min(4, len(part)))], tokenizer)
    return {name: len(part) for name, part in rows.items()}


@pytest.mark.parametrize("kind", CASES)
@fuzz
@given(draws)
def test_a_file_of_data_is_read_or_refused(
    kind: str, tmp_path: Path, tokenizer_of: Any, configs: dict[str, Any], draw: Any
) -> None:
    case = CASES[kind]
    path = tmp_path / case.name
    path.write_bytes(mutated_data(case.content, draw, text=case.name.endswith(".jsonl")))
    try:
        with counted(f"data: {kind}"):
            rows = encoded(case, path, tokenizer_of, configs[case.task.name])
    except RefusedError as error:
        # A refusal says what to do.
        with as_before(f"data: {kind}"):
            assert len(str(error)) > 20, error
        return
    with as_before(f"data: {kind}"):
        assert all(rows.values())


@pytest.mark.parametrize("kind", sorted(set(CASES) - {"gzip"}))
def test_each_file_is_read_while_it_is_whole(kind: str, tmp_path: Path, tokenizer_of: Any, configs: Any) -> None:
    case = CASES[kind]
    (tmp_path / case.name).write_bytes(case.content)
    assert all(encoded(case, tmp_path / case.name, tokenizer_of, configs[case.task.name]).values())


@pytest.fixture(scope="module")
def beir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Judged retrieval, and texts to learn from."""
    folder = tmp_path_factory.mktemp("beir")
    (folder / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    names = [f"{number}" for number in range(len(TEXTS))]
    entries = [{"_id": name, "title": "kas", "text": text} for name, text in zip(names, TEXTS, strict=True)]
    (folder / "corpus.jsonl").write_bytes(_jsonl(entries))
    (folder / "queries.jsonl").write_bytes(_jsonl(entries[:3]))
    (folder / "qrels").mkdir()
    for name in ("dev", "test"):
        lines = ["query-id\tcorpus-id\tscore", *(f"{number}\t{number}\t1" for number in names[:3])]
        (folder / "qrels" / f"{name}.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@fuzz
@given(draws)
def test_a_folder_of_judgements_is_read_or_refused(
    beir: Path, tmp_path: Path, tokenizer_of: Any, configs: dict[str, Any], draw: Any
) -> None:
    folder = damaged(beir, draw, tmp_path / "folder", mutate=mutated_data)
    case = Case("", b"", _texts, ALIKE)
    with suppress(RefusedError), counted("data: folders of judgements"):
        encoded(case, folder, tokenizer_of, configs[ALIKE.name])
