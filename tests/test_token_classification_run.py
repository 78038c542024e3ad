"""A tagger through the whole pipeline, tiny: its metric is entity F1, its long texts are read in windows."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForTokenClassification, PreTrainedTokenizerFast

import compress
from compress.pipeline.spine import RunResult

from .quick import CUT, kept

LABELS = ("O", "B-END", "I-END")
WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "pe", "ra") for b in ("s", "t", "n", "m", "r")]
QUICK = (
    *(*CUT, "data.max_length=16", "data.stride=4", "stages.prune.recovery_epochs=0"),
    *(*kept("prune", "quantize"), "order=[prune,quantize]"),
)


def write(path: Path, count: int, seed: int) -> Path:
    """Sentences of 3 to 30 words, half of which do not fit into a window; words that end with m or r are entities."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            words = draw.choices(WORDS, k=draw.randint(3, 30))
            tags, inside = [], False
            for word in words:
                found = word[-1] in "mr"
                tags.append(("I-END" if inside else "B-END") if found else "O")
                inside = found
            file.write(json.dumps({"tokens": words, "tags": tags}) + "\n")
    return path


def save_tagger(folder: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Random weights, but for a head of which no label is beaten everywhere."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
    config = AutoConfig.for_model("bert", vocab_size=34, max_position_embeddings=40, pad_token_id=0, **sizes, **labels)
    model = AutoModelForTokenClassification.from_config(config).eval()
    with torch.no_grad():
        model.classifier.weight *= 20
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, make_tokenizer: Callable) -> RunResult:
    folder = tmp_path_factory.mktemp("tagger")
    given = (
        f"model.path={save_tagger(folder / 'teacher', make_tokenizer())}",
        f"data.train={write(folder / 'train.jsonl', 80, 0)}",
        f"data.test={write(folder / 'test.jsonl', 20, 1)}",
        f"store={folder / 'store'}",
    )
    return compress.run(compress.recipe("token_classification", *given, *QUICK, "data.tags=null"), folder / "run")


def test_without_labels_the_teacher_is_the_truth(result: RunResult) -> None:
    teacher = json.loads((result.folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert (teacher["metric"], teacher["entity_f1"]) == ("entity_f1", 1.0)
    assert any("agreement with the teacher" in note for note in result.summary["notes"])


def test_entities_are_counted_by_type(result: RunResult) -> None:
    found, predicted, actual = result.summary["teacher"]["by_class"]["END"]
    assert found == predicted == actual > 0


def test_the_snippet_runs_word_for_word(result: RunResult) -> None:
    card = (result.export / "README.md").read_text(encoding="utf-8")
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert snippet is not None
    forbid = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", forbid + snippet.group(1)], cwd=result.export, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"\[\('Put', '(O|B-END|I-END)'\), .*\('\.', '.*'\)\]", done.stdout.strip())


def test_long_texts_are_one_example_each(result: RunResult) -> None:
    assert result.summary["teacher"]["test"]["examples"] == 20


def test_an_export_is_measured_on_tags_of_ones_own(result: RunResult, tmp_path: Path) -> None:
    found = compress.evaluate(result.export, write(tmp_path / "own.jsonl", 10, 2), tags="tags")
    assert (found.metric, len(found.statistics)) == ("entity_f1", 10)
    # 10 sentences hold so many runs of words that end with m or r.
    rows = [json.loads(line) for line in (tmp_path / "own.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum(actual for _, _, actual in found.statistics) == sum(row["tags"].count("B-END") for row in rows)


def test_the_export_is_served_as_it_was_measured(result: RunResult) -> None:
    assert result.export is not None
    facts = json.loads((result.export / "manifest.json").read_text(encoding="utf-8"))["facts"]
    assert facts["serving"]["pipeline_tag"] == "token-classification"
    assert facts["serving"]["batch_effect"] == result.summary["student"]["batch_effect"]
    predictor = compress.Predictor(result.export)
    effect = facts["serving"]["batch_effect"]
    holds = effect["changed"] == 0 and effect["largest_difference"] <= 1e-3
    assert predictor.settings.batching.batch_size == (32 if holds else 1)
    words = WORDS * 2
    (answer,) = predictor([words])
    assert [word.word for word in answer] == words
    assert {word.tag for word in answer} <= set(LABELS)
