"""A tiny sentence encoder through the whole command: texts without labels in, a folder for search out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tokenizers
import torch
from scipy.stats import spearmanr
from sentence_transformers.util import quantize_embeddings
from transformers import AutoConfig, BertModel, PreTrainedTokenizerFast

import compress
from compress.cli.commands.run import main
from compress.core.errors import InputError
from compress.core.manifest import find_damage

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


@pytest.fixture(scope="module")
def kept(place: Path) -> Path:
    """Vectors in fewer bytes, of a model that rated pairs judge; half of its training texts are among the pairs."""
    given = ("data.pairs=rated.jsonl", "data.pair_columns=[a,b,alike]", "order=[quantize]")
    return _run(place, "kept", *given, "export.vectors=[int8,binary]")


def _outputs(export: Path, texts: Sequence[str]) -> list[np.ndarray]:
    """Vectors in float, INT8 and bits, each (texts, ...)."""
    tokenizer = tokenizers.Tokenizer.from_file(str(export / "tokenizer.json"))
    session = onnxruntime.InferenceSession(export / "model.onnx")
    names = ["sentence_embedding", "sentence_embedding_int8", "sentence_embedding_ubinary"]
    found = []
    for text in texts:
        read = tokenizer.encode(text)
        found.append(session.run(names, {"input_ids": [read.ids], "attention_mask": [read.attention_mask]}))
    return [np.concatenate(values) for values in zip(*found, strict=True)]


def test_vectors_in_fewer_bytes_are_what_sentence_transformers_makes(place: Path, kept: Path) -> None:
    texts = (place / "texts.txt").read_text(encoding="utf-8").splitlines()
    vectors, integers, bits = _outputs(kept / "export", texts)
    ranges = np.load(kept / "export" / "int8_ranges.npy")
    # Fixed by the training texts, and by no text that is kept later.
    np.testing.assert_allclose(ranges, [vectors.min(axis=0), vectors.max(axis=0)], atol=1e-6)
    np.testing.assert_array_equal(integers, quantize_embeddings(vectors, precision="int8", ranges=ranges))
    np.testing.assert_array_equal(bits, quantize_embeddings(vectors, precision="ubinary"))
    assert (integers.dtype, bits.dtype, bits.shape) == (np.int8, np.uint8, (60, 4))


def test_each_form_is_scored_as_the_export_gives_it(place: Path, kept: Path) -> None:
    summary = json.loads((kept / "summary.json").read_text())
    pairs = [json.loads(line) for line in (place / "rated.jsonl").read_text().splitlines()]
    queries = _outputs(kept / "export", [pair["a"] for pair in pairs])[0]
    vectors, integers, bits = _outputs(kept / "export", [pair["b"] for pair in pairs])
    low, high = np.load(kept / "export" / "int8_ranges.npy")
    read = {
        "float": vectors,
        "int8": low + (integers + 128.5) * (high - low) / 255,
        "binary": np.unpackbits(bits, axis=1) * 2.0 - 1,
    }
    ratings = [pair["alike"] for pair in pairs]
    assert [form["form"] for form in summary["vectors"]] == list(read)
    for form in summary["vectors"]:
        cosines = [query @ one / np.linalg.norm(one) for query, one in zip(queries, read[form["form"]], strict=True)]
        assert form["value"] == pytest.approx(spearmanr(ratings, cosines).statistic, abs=2e-3)
        assert (form["split"], form["examples"]) == ("validation", 64)
        assert form["interval"][0] <= form["difference"] <= form["interval"][1]
        own = summary["vectors"][0]["value"]
        assert form["own_difference"] == pytest.approx(form["value"] - own, abs=1e-9)
    # 32 numbers of four bytes; of one; of an eighth.
    assert [form["bytes_per_million"] for form in summary["vectors"]] == [128_000_000, 32_000_000, 4_000_000]
    assert summary["vectors"][0]["value"] == summary["student"]["validation"]
    for page in ("report.html", "export/README.md"):
        assert "binary, candidates ranked by the query in float" in (kept / page).read_text(encoding="utf-8")


def test_the_cards_index_is_run_word_for_word(kept: Path) -> None:
    export = kept / "export"
    card = (export / "README.md").read_text(encoding="utf-8")
    _, lines = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", lines], cwd=export, capture_output=True, text=True, check=True)
    texts = ["Put one text here.", "Put another one here.", "Put what is looked for here."]
    vectors, integers, bits = _outputs(export, texts)
    low, high = np.load(export / "int8_ranges.npy")
    # The tokenizer knows none of these words: some numbers lie outside of the ranges, and are kept as their ends.
    read = low + (integers[:2] + 128.5) * (high - low) / 255
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    np.testing.assert_allclose(np.fromstring(told["int8"].strip("[]"), sep=" "), read @ vectors[2], atol=1e-4)
    signs = np.unpackbits(bits[:2], axis=1) * 2.0 - 1
    assert told["binary"] == str(np.argsort(-(signs @ vectors[2]), kind="stable"))


def test_the_predictor_gives_the_form_that_is_asked_for(kept: Path) -> None:
    texts = ["kas kat", "mir nur pes"]
    expected = _outputs(kept / "export", texts)
    for form, vectors in zip(("float", "int8", "binary"), expected, strict=True):
        found = np.stack(compress.Predictor(kept / "export", vectors=form)(texts))
        assert found.dtype == vectors.dtype
        np.testing.assert_array_equal(found, vectors)
    with pytest.raises(InputError, match="vectors is 'int4'; it must be one of binary, float, int8"):
        compress.Predictor(kept / "export", vectors="int4")
    assert find_damage(kept / "export") is None


def test_a_form_that_was_not_exported_is_no_answer(run: Path) -> None:
    told = f"{run / 'export'} gives float. Use one of these, or run again with export.vectors=int8"
    with pytest.raises(InputError, match=re.escape(told)):
        compress.Predictor(run / "export", vectors="int8")


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
        ("export.vectors=int4", "export.vectors is 'int4'; it must be one of binary, float, int8"),
        ("export.vectors=[int8,int8]", "has int8 twice"),
    ],
)
def test_bad_input_exits_2(place: Path, setting: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        _run(place, "refused", setting)
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err
