"""Scores through the whole pipeline, tiny: a teacher that is trained here, pruned, fused and in INT8."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import compress
from compress.pipeline.spine import RunResult

from .quick import CUT, FINE_TUNED, RECOVERED, kept

WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "pe", "ra") for b in ("s", "t", "n", "m", "r")]
QUICK = (
    *(*CUT, *RECOVERED, *FINE_TUNED, "data.max_length=16", "task.scale=0.3"),
    *(*kept("prune", "fuse", "quantize"), "order=[prune,fuse,quantize]"),
)


def write(path: Path, count: int, seed: int) -> Path:
    """Sentences of 3 to 12 words; the score is the share of words that end with m or r."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            words = draw.choices(WORDS, k=draw.randint(3, 12))
            score = sum(word[-1] in "mr" for word in words) / len(words)
            file.write(json.dumps({"text": " ".join(words), "score": score}) + "\n")
    return path


@pytest.fixture(scope="module")
def result(
    tmp_path_factory: pytest.TempPathFactory,
    make_any_model: Callable,
    make_tokenizer: Callable,
    all_in_this_process: None,
) -> RunResult:
    folder = tmp_path_factory.mktemp("scores")
    make_any_model("bert", layers=3).save_pretrained(folder / "encoder")
    make_tokenizer().save_pretrained(folder / "encoder")
    given = (
        f"model.path={folder / 'encoder'}",
        f"data.train={write(folder / 'train.jsonl', 240, 0)}",
        f"data.test={write(folder / 'test.jsonl', 40, 1)}",
        f"store={folder / 'store'}",
    )
    return compress.run(compress.recipe("regression", *given, *QUICK), folder / "run")


def test_the_teacher_learned_the_scores(result: RunResult) -> None:
    teacher = json.loads((result.folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert teacher["metric"] == "spearman" and teacher["spearman"] > 0.5
    assert teacher["figures"]["mean_absolute_error"] < 0.2


def test_the_student_imitates_them(result: RunResult) -> None:
    assert result.summary["student"]["test"]["spearman"] > 0.4
    assert result.summary["student"]["proof"]["argmax_agreement"] is None
    config = json.loads((result.export / "config.json").read_text(encoding="utf-8"))
    assert (config["problem_type"], config["id2label"]) == ("regression", {"0": "score"})


def test_the_card_names_no_class_and_its_snippet_runs_word_for_word(result: RunResult) -> None:
    card = (result.export / "README.md").read_text(encoding="utf-8")
    assert "name the same class" not in card and "Spearman correlation" in card
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert snippet is not None
    forbid = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", forbid + snippet.group(1)], cwd=result.export, capture_output=True, text=True, check=True
    )
    assert -1 < float(done.stdout) < 2


def test_an_export_is_measured_on_scores_of_ones_own(result: RunResult, tmp_path: Path) -> None:
    found = compress.evaluate(result.export, write(tmp_path / "own.jsonl", 30, 2))
    assert found.metric == "spearman" and found.value > 0.3
