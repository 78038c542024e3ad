"""Any number of classes through the whole pipeline, tiny: a teacher that is trained here, pruned, fused, in INT8."""

from __future__ import annotations

import ast
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
    *(*CUT, *RECOVERED, *FINE_TUNED, "data.max_length=16"),
    *(*kept("prune", "fuse", "quantize"), "order=[prune,fuse,quantize]"),
)


def write(path: Path, count: int, seed: int) -> Path:
    """Sentences of 3 to 12 words; for some endings of words that occur there is a class."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            words = draw.choices(WORDS, k=draw.randint(3, 12))
            labels = [ending for ending in "mr" if any(word.endswith(ending) for word in words)]
            file.write(json.dumps({"text": " ".join(words), "labels": labels}) + "\n")
    return path


@pytest.fixture(scope="module")
def result(
    tmp_path_factory: pytest.TempPathFactory,
    make_any_model: Callable,
    make_tokenizer: Callable,
    all_in_this_process: None,
) -> RunResult:
    folder = tmp_path_factory.mktemp("classes")
    make_any_model("bert", layers=3).save_pretrained(folder / "encoder")
    make_tokenizer().save_pretrained(folder / "encoder")
    given = (
        f"model.path={folder / 'encoder'}",
        f"data.train={write(folder / 'train.jsonl', 240, 0)}",
        f"data.test={write(folder / 'test.jsonl', 40, 1)}",
        f"store={folder / 'store'}",
    )
    return compress.run(compress.recipe("multi_label_classification", *given, *QUICK), folder / "run")


def test_every_class_is_judged_by_itself(result: RunResult) -> None:
    teacher = json.loads((result.folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert teacher["metric"] == "micro_f1" and teacher["micro_f1"] > 0.7
    rows = [json.loads(line) for line in (result.folder.parent / "test.jsonl").read_text("utf-8").splitlines()]
    assert result.summary["student"]["test"]["examples"] == len(rows)
    assert set(result.summary["teacher"]["by_class"]) == {"m", "r"}
    config = json.loads((result.export / "config.json").read_text(encoding="utf-8"))
    assert config["problem_type"] == "multi_label_classification"


def test_the_snippet_runs_word_for_word(result: RunResult) -> None:
    card = (result.export / "README.md").read_text(encoding="utf-8")
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert snippet is not None
    forbid = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", forbid + snippet.group(1)], cwd=result.export, capture_output=True, text=True, check=True
    )
    assert set(ast.literal_eval(done.stdout)) <= {"m", "r"}


def test_an_export_is_measured_on_classes_of_ones_own(result: RunResult, tmp_path: Path) -> None:
    found = compress.evaluate(result.export, write(tmp_path / "own.jsonl", 30, 2))
    assert found.metric == "micro_f1" and found.value > 0.5
