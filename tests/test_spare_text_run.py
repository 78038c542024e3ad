"""A run whose gates judge by texts without labels too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.core.errors import InputError
from compress.core.ledger import Row
from compress.pipeline.spine import RunResult


def texts_of(path: Path, count: int, make_examples: Callable[..., Path], seed: int) -> Path:
    """So many sentences like the labelled ones, a line each."""
    rows = make_examples(path.with_suffix(".jsonl"), count, seed).read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(json.loads(row)["text"] for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def run_with(
    checkpoint: Path, examples: Path, tmp_path: Path, in_this_process: None
) -> Callable[[str, Path | None], RunResult]:
    """`run_with(name, texts)`: the tiny model quantized, on a store that all runs share."""

    def run(name: str, texts: Path | None) -> RunResult:
        given = () if texts is None else (f"data.unlabelled_validation={texts}",)
        recipe = compress.recipe(
            "text_classification",
            f"model.path={checkpoint}",
            f"data.train={examples}",
            "data.max_length=16",
            f"store={tmp_path / 'store'}",
            "order=[quantize]",
            "gates.quantize.on_failure=warn",
            "device=cpu",
            "runtime.threads=1",
            "measurement.launches=1",
            "measurement.rounds=1",
            *given,
        )
        return compress.run(recipe, tmp_path / name)

    return run


def powered_in(result: RunResult) -> dict[str, Any]:
    """What the last line of the ledger says."""
    line = (result.folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    told: dict[str, Any] = json.loads(line)["prediction_powered"]
    assert Row.from_json(json.loads(line)) == result.rows[-1]
    return told


def test_a_gate_judges_by_texts_too_and_other_texts_make_nothing_again(
    run_with: Callable[..., RunResult], tmp_path: Path, make_examples: Callable[..., Path]
) -> None:
    alone = run_with("alone", None)
    assert powered_in(alone) is None
    first = run_with("first", texts_of(tmp_path / "texts.txt", 300, make_examples, seed=5))
    told = powered_in(first)
    assert (told["labels"], told["refused"]) == (32, None)
    assert 290 <= told["texts"] <= 300
    assert tuple(told["labels_interval"]) == alone.rows[-1].interval
    assert told["labels_difference"] == alone.rows[-1].difference
    other = run_with("other", texts_of(tmp_path / "other.txt", 200, make_examples, seed=6))
    # The artifact is found, whatever judges.
    assert (
        [row.artifact for row in alone.rows]
        == [row.artifact for row in first.rows]
        == [row.artifact for row in other.rows]
    )
    assert all(row.reused for row in (*first.rows, *other.rows))
    # Whatever took the time, each second counts once, in its stage and in all.
    quantize = first.rows[-1]
    assert quantize.seconds == pytest.approx(sum(quantize.spent.values()), abs=0.1)
    assert first.summary["seconds"] == pytest.approx(sum(first.summary["spent"].values()), abs=0.1)
    assert first.summary["spent"]["answers that are judged"] >= quantize.spent["answers that are judged"] > 0
    assert first.summary["spent"]["reading data and teacher"] > 0 and "reading data and teacher" not in quantize.spent
    page, card = (first.folder / "report.html", first.export / "README.md")
    for path in (page, card):
        text = path.read_text(encoding="utf-8")
        assert "labels alone" in text and "texts" in text, path.name


def test_texts_of_another_kind_are_refused_and_the_ledger_says_so(
    run_with: Callable[..., RunResult], tmp_path: Path
) -> None:
    (tmp_path / "short.txt").write_text("\n".join(f"kas los{' mit' * (n % 2)}" for n in range(120)), encoding="utf-8")
    result = run_with("refused", tmp_path / "short.txt")
    told = powered_in(result)
    assert told["refused"].startswith("they are unlike the labelled examples: mean ")
    assert told["worth"] is None and result.rows[-1].interval == run_with("alone", None).rows[-1].interval
    assert "do not judge" in (result.folder / "report.html").read_text(encoding="utf-8")


def test_what_scores_are_not_predicted_for_is_refused_by_name(checkpoint: Path, tmp_path: Path) -> None:
    rows = [{"text": f"kas los {word}", "label": ["cold", "warm"][: 1 + word.count("t")]} for word in ("kas", "kat")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 8), encoding="utf-8")
    (tmp_path / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "more.txt").write_text("kas los mit\n", encoding="utf-8")
    settings = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    settings |= {"problem_type": "multi_label_classification"}
    (checkpoint / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    recipe = compress.recipe(
        "multi_label_classification",
        f"model.path={checkpoint}",
        "data.label=label",
        "data.max_length=16",
        "data.validation=" + str(tmp_path / "validation.jsonl"),
        f"data.train={tmp_path / 'rows.jsonl'}",
        f"data.unlabelled_validation={tmp_path / 'more.txt'}",
        f"store={tmp_path / 'store'}",
        "order=[quantize]",
    )
    with pytest.raises(InputError, match=r"^data\.unlabelled_validation is .*; scores can be predicted where accuracy"):
        compress.run(recipe, tmp_path / "run")
