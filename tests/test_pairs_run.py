"""Pairs through the whole pipeline, tiny: a BERT that tells the two texts apart, trimmed, pruned, fused and in INT8."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

import compress
from compress.pipeline.spine import RunResult

from .quick import CUT, RECOVERED, kept

WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "pe", "ra") for b in ("s", "t", "n", "m", "r")]
QUICK = (
    *(*CUT, *RECOVERED, "data.text=[premise,hypothesis]", "data.max_length=16"),
    *("+stage/prune@stages.vocabulary=vocabulary", "+gate@gates.vocabulary=as_recipe"),
    *(*kept("vocabulary", "prune", "fuse", "quantize"), "order=[vocabulary,prune,fuse,quantize]"),
)


def write(path: Path, count: int, seed: int) -> Path:
    """Two texts of 2 to 12 words: `entailed` where the second has no word that the first does not have."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            first = draw.choices(WORDS[:20], k=draw.randint(2, 12))
            entailed = draw.random() < 0.5
            second = draw.choices(first if entailed else WORDS[:20], k=draw.randint(2, 12))
            label = "warm" if set(second) <= set(first) else "cold"
            row = {"premise": " ".join(first), "hypothesis": " ".join(second), "label": label}
            file.write(json.dumps(row) + "\n")
    return path


def save_teacher(folder: Path, make_model: Callable, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Random weights, but for types that matter; the tokenizer marks the second text, as BERT's do."""
    model = make_model("bert", layers=3)
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
def result(
    tmp_path_factory: pytest.TempPathFactory,
    make_any_model: Callable,
    make_tokenizer: Callable,
    all_in_this_process: None,
) -> RunResult:
    folder = tmp_path_factory.mktemp("pairs")
    given = (
        f"model.path={save_teacher(folder / 'teacher', make_any_model, make_tokenizer())}",
        f"data.train={write(folder / 'train.jsonl', 100, 0)}",
        f"data.test={write(folder / 'test.jsonl', 20, 1)}",
        f"store={folder / 'store'}",
    )
    return compress.run(compress.recipe("text_classification", *given, *QUICK), folder / "run")


def test_every_stage_is_proven(result: RunResult) -> None:
    proof = result.summary["student"]["proof"]
    assert proof["torch_exact"] and proof["max_difference"] <= proof["tolerance"]
    assert [row.decision for row in result.rows] == ["keep"] * 5


def test_the_export_reads_which_text_a_token_is_of(result: RunResult) -> None:
    session = onnxruntime.InferenceSession(result.export / "model.onnx")
    assert [port.name for port in session.get_inputs()] == ["input_ids", "attention_mask", "token_type_ids"]
    pair = Tokenizer.from_file(str(result.export / "tokenizer.json")).encode("kas kat", "los")
    assert pair.type_ids == [0, 0, 0, 0, 1, 1]
    inputs = {"input_ids": [pair.ids], "attention_mask": [pair.attention_mask]}
    told, untold = (
        session.run(None, {**inputs, "token_type_ids": [types]})[0] for types in (pair.type_ids, [0] * len(pair.ids))
    )
    assert not np.array_equal(told, untold)


def test_the_snippet_runs_word_for_word(result: RunResult) -> None:
    card = (result.export / "README.md").read_text(encoding="utf-8")
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert snippet is not None
    forbid = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", forbid + snippet.group(1)], cwd=result.export, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in ("cold", "warm")


def test_an_export_is_measured_on_pairs_of_ones_own(result: RunResult, tmp_path: Path) -> None:
    found = compress.evaluate(result.export, write(tmp_path / "own.jsonl", 10, 2))
    assert (found.metric, len(found.statistics)) == ("accuracy", 10)
