"""A cross-encoder through the whole pipeline, tiny: without labels, by its own order; and with them, trained here."""

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
from tokenizers import Tokenizer, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

import compress
from compress.core.errors import InputError
from compress.pipeline.spine import RunResult

from .quick import CUT, kept

WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "pe", "ra") for b in ("s", "t", "n", "m", "r")]
QUICK = (
    *(*CUT, "data.max_length=24", "stages.prune.recovery_epochs=0", "stages.quantize.calibration.examples=16"),
    *("stages.distill.layers=2", "stages.distill.activation=null", "stages.distill.epochs=1"),
    *("stages.distill.imitation.optimization.batch_size=16", "stages.distill.imitation.shortest_epoch=4"),
    *(*kept("distill", "prune", "fuse", "quantize"), "order=[distill,prune,fuse,quantize]"),
)


def write(path: Path, count: int, seed: int, *, labels: bool) -> Path:
    """Queries of one word, and four passages, one of which has it."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            word = WORDS[number % len(WORDS)]
            others = [draw.choices([other for other in WORDS if other != word], k=draw.randint(3, 8)) for _ in range(4)]
            others[1][0] = word
            row = {"query": f"{word} {draw.choice(WORDS)}", "passage": [" ".join(words) for words in others]}
            file.write(json.dumps({**row, **({"label": [0, 1, 0, 0]} if labels else {})}) + "\n")
    return path


def save_scorer(folder: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Random weights; the tokenizer marks the passage, as BERT's do."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    config = AutoConfig.for_model(
        "bert", vocab_size=34, max_position_embeddings=40, pad_token_id=0, num_labels=1, **sizes
    )
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        model.bert.embeddings.token_type_embeddings.weight.mul_(30)
        model.classifier.weight.mul_(20)
    model.save_pretrained(folder)
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_tokenizer: Callable) -> Path:
    folder = tmp_path_factory.mktemp("scorer")
    save_scorer(folder / "teacher", make_tokenizer())
    return folder


@pytest.fixture(scope="module")
def free(folder: Path, all_in_this_process: None) -> RunResult:
    """By the teacher's own order."""
    given = (
        f"model.path={folder / 'teacher'}",
        f"data.train={write(folder / 'free.jsonl', 60, 0, labels=False)}",
        f"data.test={write(folder / 'free-test.jsonl', 20, 1, labels=False)}",
        f"store={folder / 'store'}",
    )
    return compress.run(compress.recipe("reranker", *given, *QUICK, "data.label=null"), folder / "free")


def test_the_teacher_agrees_with_itself(free: RunResult) -> None:
    teacher = json.loads((free.folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert (teacher["metric"], teacher["ndcg_at_10"], teacher["figures"]["mean_reciprocal_rank"]) == (
        "ndcg_at_10",
        1.0,
        1.0,
    )
    assert any("the teacher's order of a query's passages" in note for note in free.summary["notes"])
    assert free.summary["student"]["test"]["examples"] == 20
    assert free.summary["examples"]["groups"]["validation"] == free.summary["examples"]["validation"]


def test_the_student_learned_the_order(free: RunResult) -> None:
    assert 0.5 < free.summary["student"]["validation"] <= 1.0


def test_the_snippet_runs_word_for_word(free: RunResult) -> None:
    card = (free.export / "README.md").read_text(encoding="utf-8")
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert snippet is not None and "pipeline_tag: text-ranking" in card
    forbid = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", forbid + snippet.group(1)], cwd=free.export, capture_output=True, text=True, check=True
    )
    assert 0 < float(done.stdout) < 1


def test_an_export_is_measured_on_judgements_of_ones_own(free: RunResult, tmp_path: Path) -> None:
    own = write(tmp_path / "own.jsonl", 10, 2, labels=True)
    found = compress.evaluate(free.export, own, label="label")
    assert (found.metric, len(found.statistics)) == ("ndcg_at_10", 10)
    with pytest.raises(InputError, match="was judged by the teacher's answers"):
        compress.evaluate(free.export, own)


def test_a_teacher_that_is_trained_on_judgements(folder: Path, all_in_this_process: None) -> None:
    given = (
        *("model=fine_tuned", f"model.path={folder / 'teacher'}", "model.epochs=1", "order=[quantize]"),
        f"data.train={write(folder / 'judged.jsonl', 60, 0, labels=True)}",
        f"store={folder / 'store'}",
    )
    result = compress.run(compress.recipe("reranker", *given[:3], *QUICK, *given[3:]), folder / "judged")
    config = json.loads((result.export / "config.json").read_text(encoding="utf-8"))
    assert (config["problem_type"], config["id2label"]) == ("multi_label_classification", {"0": "label"})
    assert 0 < result.summary["teacher"]["figures"]["mean_reciprocal_rank"] <= 1
