"""A tiny sentence encoder through the whole command: texts without labels in, a folder for search out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tokenizers
import torch
from transformers import AutoConfig, BertModel, PreTrainedTokenizerFast

import compress
from compress.cli.commands.run import main

from .quick import BRIEF

WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "pe", "ra") for b in ("s", "t", "n", "m", "r")]
QUICK = (
    *(*BRIEF, "measurement.examples=2", "objective.speedup=null", "order=[distill,fuse,quantize]"),
    *("stages.distill.layers=2", "stages.distill.epochs=1", "stages.distill.imitation.shortest_epoch=2"),
    "gate.on_failure=warn",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_tokenizer: Callable[[], PreTrainedTokenizerFast]) -> Path:
    place = tmp_path_factory.mktemp("search")
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "bert",
        vocab_size=34,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        hidden_act="relu",
    )
    BertModel(config).save_pretrained(place / "encoder")
    make_tokenizer().save_pretrained(place / "encoder")
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, size=draw.integers(2, 9))) for _ in range(60)]
    (place / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    judge = place / "beir"
    (judge / "qrels").mkdir(parents=True)
    (judge / "corpus.jsonl").write_text(
        "\n".join(json.dumps({"_id": f"d{n}", "title": "", "text": text}) for n, text in enumerate(texts[:20]))
    )
    (judge / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": f"q{n}", "text": texts[n].split()[0]}) for n in range(10))
    )
    (judge / "qrels" / "test.tsv").write_text("\n".join(f"q{n}\td{n}\t1" for n in range(10)))
    # As alike as the share of words that two texts have in common.
    pairs = [(one, other, len({*one.split()} & {*other.split()})) for one in texts[:8] for other in texts[8:16]]
    (place / "rated.jsonl").write_text(
        "\n".join(json.dumps({"a": one, "b": other, "alike": number}) for one, other, number in pairs)
    )
    return place


def _run(place: Path, folder: str, *more: str) -> Path:
    told = [f"hydra.run.dir={folder}", f"store={place / 'store'}", "model.path=encoder", "model.pooling=mean"]
    told += ["data.train=texts.txt", "data.max_length=16"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(
            sys,
            "argv",
            [
                "compress",
                "-cn",
                "sentence_embedding",
                "data.train=texts.txt",
                "data.max_length=16",
                *told,
                *QUICK,
                *more,
            ],
        )
        with pytest.raises(SystemExit) as stopped:
            main()
    if stopped.value.code:
        raise stopped.value
    return place / folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    return _run(place, "run")


@pytest.fixture(scope="module")
def summary(run: Path) -> Any:
    return json.loads((run / "summary.json").read_text())


def test_agreement_with_the_teacher_is_what_was_measured(summary: Any) -> None:
    assert summary["teacher"]["validation"] == 1.0
    assert 0 < summary["student"]["validation"] <= 1
    assert any("the teacher's ranking of them is the truth" in note for note in summary["notes"])
    assert summary["student"]["batch_effect"]["rows"] == 12
    assert summary["student"]["proof"]["argmax_agreement"] is None
    assert summary["student"]["proof"]["smallest_cosine"] > 0.99


def test_six_lines_of_the_card_give_the_vectors(run: Path) -> None:
    export = run / "export"
    (lines,) = re.findall(r"```python\n(.*?)```", (export / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert lines.count("\n") == 6
    done = subprocess.run([sys.executable, "-c", lines], cwd=export, capture_output=True, text=True, check=True)
    found = np.array([float(value) for value in re.findall(r"-?\d+\.\d*(?:e-?\d+)?", done.stdout)]).reshape(2, 2)
    tokenizer = tokenizers.Tokenizer.from_file(str(export / "tokenizer.json"))
    session = onnxruntime.InferenceSession(export / "model.onnx")
    vectors = []
    for text in ("Put one text here.", "Put another one here."):
        read = tokenizer.encode(text)
        given = {"input_ids": [read.ids], "attention_mask": [read.attention_mask]}
        vectors.append(session.run(["sentence_embedding"], given)[0][0])
    np.testing.assert_allclose(found, np.stack(vectors) @ np.stack(vectors).T, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_graph_gives_what_a_library_pools_by_itself(run: Path) -> None:
    session = onnxruntime.InferenceSession(run / "export" / "model.onnx")
    given = {"input_ids": [[2, 5, 6, 3]], "attention_mask": [[1, 1, 1, 1]]}
    vector, states = session.run(["sentence_embedding", "last_hidden_state"], given)
    mean = states[0].mean(axis=0)
    np.testing.assert_allclose(vector[0], mean / np.linalg.norm(mean), atol=1e-6)
    assert json.loads((run / "export" / "modules.json").read_text())[1]["path"] == "1_Pooling"


def test_export_is_loaded_again_and_no_file_is_lost(run: Path) -> None:
    model = compress.load(run / "export")
    ids = torch.tensor([[2, 5, 6, 3]])
    with torch.inference_mode():
        assert model(ids, torch.ones_like(ids)).sentence_embedding.shape == (1, 32)
    manifest = json.loads((run / "export" / "manifest.json").read_text())
    assert "1_Pooling/config.json" in manifest["files"]


def test_judgements_judge_queries(place: Path) -> None:
    judged = json.loads((_run(place, "judged", "data.retrieval=beir", "order=[quantize]") / "summary.json").read_text())
    assert judged["metric"] == "ndcg_at_10"
    assert 0 < judged["teacher"]["validation"] < 1
    rows = [json.loads(line) for line in (place / "judged" / "ledger.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in rows] == ["teacher", "quantize"]
    assert rows[1]["ndcg_at_10_difference"] is not None
    assert any(note.startswith("somebody judged") for note in judged["notes"])


def test_rated_pairs_judge(place: Path) -> None:
    given = ("data.pairs=rated.jsonl", "data.pair_columns=[a,b,alike]", "order=[quantize]")
    rated = json.loads((_run(place, "rated", *given) / "summary.json").read_text())
    assert (rated["metric"], rated["metric_unit"]) == ("spearman", "plain")
    # Random vectors are means of words' embeddings: the more words in common, the more alike.
    assert 0.3 < rated["teacher"]["validation"] < 1
    assert rated["examples"]["validation"] == 64
    assert {"pearson_correlation", "spearman_in_teachers_index", "cosine_to_teacher"} <= set(
        rated["student"]["figures"]
    )
    assert any(note.startswith("somebody judged") for note in rated["notes"])


def test_second_run_does_nothing_twice(place: Path, run: Path) -> None:
    again = [json.loads(line) for line in (_run(place, "again") / "ledger.jsonl").read_text().splitlines()]
    assert all(row["reused"] for row in again)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("model.pooling=null", "a plain encoder"),
        ("data.train=nothing.txt", "no such file"),
        ("data.text=body", "data.text is 'body'"),
        ("data.max_length=100", "this model takes at most 40 tokens"),
        ("model=fine_tuned", "model.pooling"),
    ],
)
def test_bad_input_exits_2(place: Path, setting: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        _run(place, "refused", setting)
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err
