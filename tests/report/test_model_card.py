"""The model card: front matter that parses, numbers of the run, usage word for word, tables no text can break."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from compress.core.evaluation import PredictionPowered
from compress.core.fact_table import FactTable
from compress.core.ledger import Row
from compress.report.model_card import model_card, plain_text, usage_of, write_model_card

USAGE = 'import onnxruntime as ort\n\nsession = ort.InferenceSession("model.onnx")\nprint(f"{session=} | `x` {{y}}")\n'


def make_row(stage: str, verdict: str, decision: str, accuracy: float | None, difference: float | None) -> Row:
    measured = accuracy is not None
    return Row(
        stage=stage, artifact="a", verdict=verdict, reasons=(f"reason of {stage}",), decision=decision,
        value=accuracy, difference=difference,
        interval=None if difference is None else (difference - 0.005, difference + 0.005),
        latency_ms_p50=5.0 if measured else None, latency_ms_p90=6.0 if measured else None,
        speedup=4.0 if measured else None, speedup_interval=None, speedup_vs_torch=None,
        size_bytes=25_000_000 if measured else None, parameters=None, nonzero_parameters=None, bytes_by_part=None,
        seconds=1.0, reused=False, notes=(),
    )  # fmt: skip


@pytest.fixture
def rows() -> list[Row]:
    return [
        make_row("teacher", "baseline", "keep", 0.92, None),
        make_row("prune", "failed", "roll_back", 0.89, -0.03),
        make_row("factorize", "error", "roll_back", None, None),
        make_row("quantize", "passed", "keep", 0.917, -0.003),
    ]


@pytest.fixture
def summary() -> dict[str, Any]:
    return {
        "recipe": "text_classification",
        "command": "compress",
        "task": {"name": "text_classification", "pipeline_tag": "text-classification"},
        "metric": "accuracy",
        "runtime": "onnxruntime",
        "runtime_label": "ONNX Runtime",
        "teacher": {
            "artifact": "t", "validation": 0.92, "figures": {"f1_macro": 0.881},
            "test": {"accuracy": 0.918, "examples": 1500},
            "size_bytes": 100_000_000, "parameters": 25_000_000, "latency_ms_p50": 20.0, "latency_ms_p90": 22.0,
            "torch_ratio": 1.5,
        },
        "student": {
            "stage": "quantize", "artifact": "a", "validation": 0.917, "figures": {"f1_macro": 0.874},
            "test": {"accuracy": 0.9145, "difference": -0.0035, "interval": [-0.009, 0.002], "examples": 1500,
                     "confidence": 0.95},
            "size_bytes": 25_000_000, "parameters": 24_000_000, "latency_ms_p50": 5.0, "latency_ms_p90": 6.0,
            "speedup": 4.0, "speedup_interval": [3.9, 4.1], "speedup_vs_torch": 6.0,
        },
        "exported": {"stage": "quantize", "artifact": "a", "folder": "export", "why": "it passed", "proven": True},
        "doubts": [],
        "stopped_at": None,
        "examples": {"train": 9000, "validation": 1000, "test": 1500, "groups": {"validation": 1000}},
        "gates": {
            "quantize": {"max_accuracy_drop": 0.01, "max_recall_drop": 0.2, "min_speedup": None, "confidence": 0.95,
                         "on_failure": "roll_back", "on_inconclusive": "keep"},
        },
        "environment": {"cpu": "a processor", "cpu_flags": ["avx2"], "threads": 1, "platform": "Linux",
                        "versions": {"onnxruntime": "1.23.2"}},
        "seed": 7,
        "settings": {},
        "seconds": 60.0,
        "notes": [],
    }  # fmt: skip


def card(folder: Path, rows: list[Row], summary: dict[str, Any], usage: str = USAGE) -> tuple[dict[str, Any], str]:
    """The front matter as data, and the text after it."""
    write_model_card(folder, rows, summary, usage)
    _, matter, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(matter), text


def cells(line: str) -> int:
    """How many cells a Markdown table's line has."""
    return line.replace("\\\\", "").replace("\\|", "").count("|") - 1


def test_front_matter(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    matter, text = card(tmp_path, rows, summary)
    assert matter == {
        "library_name": "onnxruntime",
        "pipeline_tag": "text-classification",
        "tags": ["onnxruntime", "compress", "model-compression", "cpu"],
        "metrics": ["accuracy"],
    }
    assert "under which licence, is not recorded" in text


def test_a_given_base_model_is_named(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    summary["base_model"] = "Some-Owner/some: model"
    matter, text = card(tmp_path, rows, summary)
    assert matter["base_model"] == "Some-Owner/some: model"
    assert "is not recorded" not in text


def test_usage_is_word_for_word(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    _, text = card(tmp_path, rows, summary)
    assert f"\n```python\n{USAGE}```\n" in text
    _, text = card(tmp_path, rows, summary, 'print("""\n```\n""")')
    assert '\n````python\nprint("""\n```\n""")\n````\n' in text


def test_the_numbers(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    _, text = card(tmp_path, rows, summary)
    for line in (
        "| accuracy, validation (1000 examples) | 92.00% | 91.70% | -0.30 [-0.80, +0.20] points |",
        "| accuracy, test (1500 examples) | 91.80% | 91.45% | -0.35 [-0.90, +0.20] points |",
        "| latency, median, ms | 20.00 | 5.00 | 4.00 [3.90, 4.10] times as fast |",
        "| size of the file, MB | 100.0 | 25.0 | 4.00 times smaller |",
        "| prune | 89.00% | -3.00 [-3.50, -2.50] | 5.00 | 4.00 | 25.0 | failed | roll back |",
        "| factorize | - | - | - | - | - | error | roll back |",
        "- **factorize**\n  - reason of factorize",
    ):
        assert f"{line}\n" in text
    assert "accuracy is proven on the validation split" in text
    assert "limit of -1.00 points" in text
    assert "1 thread, one example at a time" in text


def test_unproven_is_said_plainly(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    summary["exported"]["proven"] = False
    summary["student"]["test"] = None
    _, text = card(tmp_path, rows, summary)
    assert "**Its accuracy is unproven**" in text
    assert "accuracy is proven" not in text
    assert "No test split was used." in text


def test_a_failed_gate_is_said_plainly(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    summary["exported"].update(stage="prune", proven=False)
    summary["student"]["stage"] = "prune"
    _, text = card(tmp_path, rows, summary)
    assert "unproven: it failed its gate**" in text
    assert "accuracy is proven" not in text


def test_the_proof_of_the_export_is_told(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    summary["student"]["proof"] = {
        "torch_exact": True, "max_difference": 0.000012, "tolerance": 0.001, "argmax_agreement": 0.995, "rows": 200,
    }  # fmt: skip
    _, text = card(tmp_path, rows, summary)
    assert "bit for bit. On 200 rows" in text
    assert "at most 1.2e-05 (0.001 was allowed) and name the same class in 99.50%." in text
    summary["student"]["proof"].update(torch_exact=False, torch_difference=3.58e-7)
    _, text = card(tmp_path, rows, summary)
    assert "logits that differ by at most 3.6e-07 from those before saving, which another processor" in text


def test_missing_numbers_are_dashes(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    summary["student"].update(latency_ms_p50=math.nan, speedup_interval=None, speedup_vs_torch=None)
    _, text = card(tmp_path, rows, summary)
    assert "| latency, median, ms | 20.00 | - | 4.00 times as fast |\n" in text
    assert "nan" not in text
    assert "None" not in text


def test_no_text_breaks_a_table_or_begins_a_tag(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    hostile = "a|b `c`\n\n# d <script>\\| [x](http://e) ---"
    summary.update(recipe=hostile, metric_title=hostile, notes=[hostile])
    summary["exported"]["why"] = hostile
    summary["environment"].update(cpu=hostile, versions={hostile: hostile})
    summary["task"]["pipeline_tag"] = hostile
    bad = [dataclasses.replace(row, stage=row.stage + hostile, notes=(hostile,), reasons=(hostile,)) for row in rows]
    write_model_card(tmp_path, bad, summary, USAGE)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    matter, body = text.split("\n---\n", 1)
    assert yaml.safe_load(matter)["pipeline_tag"] == hostile
    assert "<script" not in body
    assert "](http" not in body
    assert "\n# d" not in body
    tables = [line for line in body.splitlines() if line.startswith("|")]
    assert {cells(line) for line in tables} == {4, 8}
    assert len(tables) == 2 + 8 + 2 + 4


def test_plain_text_leaves_ordinary_words_alone() -> None:
    assert plain_text("prune_heads: -0.0030 [-0.0080, +0.0020], 0.4 -> 0.1") == (
        "prune_heads: -0.0030 [-0.0080, +0.0020], 0.4 -> 0.1"
    )
    assert plain_text("> a | b") == "&gt; a \\| b"


def test_what_accuracy_hides_stands_beside_it(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    summary["teacher"]["figures"]["matthews_correlation"] = 0.7521
    summary["student"]["figures"]["matthews_correlation"] = 0.0
    for part in (summary["teacher"], summary["student"]):
        part["test"]["matthews_correlation"] = part["figures"]["matthews_correlation"]
    _, text = card(tmp_path, rows, summary)
    assert "| macro F1, validation | 0.881 | 0.874 | |" in text
    assert "| Matthews' correlation, validation | 0.752 | 0.000 | |" in text
    assert "| Matthews' correlation, test | 0.752 | 0.000 | |" in text
    assert "more than 20 points of its recall" in " ".join(text.split())


def test_a_doubtful_teacher_is_told_first(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    summary["doubts"] = ["the teacher is no better than answering 'neg' every time"]
    summary["exported"]["proven"] = False
    _, text = card(tmp_path, rows, summary)
    told = (
        "**Nothing is proven, because the teacher itself is doubtful**: the teacher is no better than answering 'neg'"
    )
    assert told in text.partition("## Use")[0]
    assert "is proven on" not in text


def test_what_a_stage_did_part_by_part_is_a_table(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    columns = [("matrix", "text"), ("rank", "count"), ("saves", "share"), ("ms", "milliseconds")]
    told = FactTable.of("Ranks | of", columns, [("layer.0<b>|x", 1200, 0.068, None), ("layer.1", 8, -0.17, 0.1654)])
    rows[-1] = dataclasses.replace(rows[-1], tables=(told,))
    write_model_card(tmp_path, rows, summary, USAGE)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert (
        "quantize: Ranks \\| of\n\n"
        "| matrix | rank | saves | ms |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| layer.0&lt;b>\\|x | 1,200 | 6.8% |  |\n"
        "| layer.1 | 8 | -17.0% | 0.165 |\n"
    ) in card
    assert "- **quantize**\n  - reason of quantize\n" in card


def test_what_the_labels_alone_say_stands_beside_it(tmp_path: Path, rows: list[Row], summary: dict[str, Any]) -> None:
    found = PredictionPowered(12000, 500, None, 0.7, (0.5, 0.4), -0.0061, (-0.0191, 0.0111), 640)
    last = rows.index(next(row for row in rows if row.stage == summary["student"]["stage"]))
    told = [*rows[:last], dataclasses.replace(rows[last], prediction_powered=found), *rows[last + 1 :]]
    write_model_card(tmp_path, told, summary, USAGE)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert (
        "| the same by these labels alone, without 12000 texts that have none | | | -0.61 [-1.91, +1.11] points |"
        in text
    )
    assert "12,000 texts without labels make them worth 640" in text
    refused = PredictionPowered(
        12000, 500, refused="they are unlike the labelled examples: mean length 31.2 against 9.0"
    )
    told[last] = dataclasses.replace(rows[last], prediction_powered=refused)
    write_model_card(tmp_path, told, summary, USAGE)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "labels alone, without" not in text and "texts without labels do not judge" in text


def test_labels_of_further_texts_are_told(rows: list[Row], summary: dict[str, Any]) -> None:
    rows[-1] = dataclasses.replace(rows[-1], verdict="inconclusive", interval=(-0.012, 0.006))
    summary["exported"]["proven"] = False
    told = "Labels of further texts, where teacher and student differ: accuracy -0.20 points, by 300 labels."
    unproven = "**Its accuracy is unproven**"

    def card(outcome: str) -> str:
        labelled = {"outcome": outcome, "told": "accuracy -0.20 points, by 300 labels"}
        return model_card(rows, summary | {"labelled": labelled}, USAGE)

    proven = "**Its accuracy is proven by labels of further texts**, and the validation split alone leaves it open."
    assert f"{proven}\n{told}\n\n" in card("passed") and unproven not in card("passed")
    assert f"\n\n{told}\n\n" in card("inconclusive") and unproven in card("inconclusive")
    against = "**Labels of further texts contradict its limit.**"
    assert f"\n\n{against} {told}\n\n" in card("failed") and unproven in card("failed")
    assert told not in model_card(rows, summary | {"labelled": None}, USAGE)


def test_the_usage_of_a_card_is_found_again(rows: list[Row], summary: dict[str, Any]) -> None:
    for usage in (USAGE, 'print("""\n```\n## Use\n""")\n'):
        assert usage_of(model_card(rows, summary, usage)) == usage
    assert usage_of("# Somebody's own\n") is None
