"""A run in which one stage changes the tokenizer: later artifacts read as that one does, the teacher as ever."""

from __future__ import annotations

import dataclasses
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
import torch

import compress
from compress.core.errors import InputError
from compress.pipeline.loaded_recipe import load
from compress.pipeline.made.artifacts import stage_artifact, teacher_artifact
from compress.pipeline.make_or_find import make_or_find
from compress.pipeline.spine import RunResult
from compress.tasks.text_classification import TextClassification

SETTINGS = (
    "+stage/prune@stages.vocabulary=vocabulary",
    "+gate@gates.vocabulary=non_inferiority",
    "stages.vocabulary.min_count=66",
    "order=[vocabulary,distill,fuse,quantize]",
    "data.max_length=32",
    "stages.distill.layers=2",
    "stages.distill.epochs=1",
    "stages.distill.imitation.spliced=0",
    "measurement.launches=1",
    "measurement.rounds=1",
    "measurement.examples=4",
    "runtime.threads=1",
    "device=cpu",
    *(f"gates.{name}.on_failure=warn" for name in ("vocabulary", "distill", "fuse", "quantize")),
)


def recipe_of(folder: Path, *overrides: str) -> Any:
    return compress.recipe("text_classification", *given(folder), *SETTINGS, *overrides)


def given(folder: Path) -> list[str]:
    """What the user has, and where the work goes."""
    names = {"model.path": "teacher", "data.train": "examples.jsonl", "data.unlabelled": "more.txt", "store": "store"}
    return [f"{setting}={folder}/{name}" for setting, name in names.items()]


@pytest.fixture
def place(checkpoint: Path, examples: Path, make_examples: Callable) -> Path:
    """The folder with the teacher and the data: 160 labelled sentences, 160 more without labels."""
    assert checkpoint.parent == examples.parent
    more = make_examples(checkpoint.parent / "more.jsonl", 160, seed=5).read_text(encoding="utf-8").splitlines()
    texts = "\n".join(json.loads(line)["text"] for line in more)
    (checkpoint.parent / "more.txt").write_text(texts, encoding="utf-8")
    return checkpoint.parent


@pytest.fixture
def result(place: Path) -> RunResult:
    return compress.run(recipe_of(place), place / "run")


def test_made_up_texts_are_read_by_both_tokenizers(place: Path) -> None:
    spliced = recipe_of(place, "order=[vocabulary,distill]", "stages.distill.imitation.spliced=2")
    rows = {row.stage: row for row in compress.run(spliced, place / "run").rows}
    assert "the 256 examples made of two training examples each are imitated too" in rows["distill"].notes
    changed = [note for note in rows["distill"].notes if "other tokens than the teacher's" in note]
    # Of 128 labelled sentences, 160 others and 256 made up: more than those that nobody made up could be.
    assert 288 < int(changed[0].split()[0]) < 544


def test_the_whole_run(result: RunResult, place: Path, make_examples: Callable) -> None:
    rows = {row.stage: row for row in result.rows}
    kept = int(re.match(r"(\d+) of 34 tokens kept", rows["vocabulary"].notes[0]).group(1))  # type: ignore[union-attr]
    assert 4 < kept < 34
    assert rows["teacher"].parameters - rows["vocabulary"].parameters == (34 - kept) * 32
    changed = [note for note in rows["distill"].notes if "other tokens than the teacher's" in note]
    assert len(changed) == 1
    # Of 128 labelled sentences and 160 others: more than the labelled ones alone could be.
    assert 128 < int(changed[0].split()[0]) < 288

    task = TextClassification(text="text", label="label", max_length=32)
    tokenizer = task.load_processor(result.export)
    assert len(tokenizer) == kept
    assert compress.load(result.export).config.vocab_size == kept

    own = make_examples(place / "own.jsonl", 40, seed=3)
    evaluation = compress.evaluate(result.export, own, threads=1)
    session = onnxruntime.InferenceSession(result.export / "model.onnx")
    lines = [json.loads(line) for line in own.read_text(encoding="utf-8").splitlines()]
    for score, line in zip(evaluation.scores, lines, strict=True):
        encoded = tokenizer(line["text"], return_token_type_ids=False)
        found = session.run(None, {name: np.array([values]) for name, values in encoded.items()})[0]
        assert score == float(("cold", "warm")[int(found.argmax())] == line["label"])

    padded = tokenizer([line["text"] for line in lines[:5]], padding=True, return_tensors="np")
    inputs = {name: padded[name] for name in ("input_ids", "attention_mask")}
    assert (inputs["attention_mask"] == 0).any()
    with torch.no_grad():
        model = compress.load(result.export)
        expected = model(**{name: torch.from_numpy(value) for name, value in inputs.items()}).logits.numpy()
    np.testing.assert_allclose(session.run(None, inputs)[0], expected, atol=0.02 * np.abs(expected).max())

    _another_process_finds_everything_and_reads_the_same(result, place)


def _another_process_finds_everything_and_reads_the_same(result: RunResult, place: Path) -> None:
    command = (
        "import sys, json, compress\n"
        "recipe = compress.recipe('text_classification', *json.loads(sys.argv[1]))\n"
        "run = compress.run(recipe, sys.argv[2])\n"
        "print(json.dumps([[row.stage, row.artifact, row.accuracy, row.reused] for row in run.rows]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", command, json.dumps([*given(place), *SETTINGS]), str(place / "again")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    expected = [[row.stage, row.artifact, row.accuracy, True] for row in result.rows]
    assert json.loads(done.stdout.strip().splitlines()[-1]) == expected


def test_each_artifact_is_shown_what_its_own_tokenizer_reads(place: Path) -> None:
    recipe = recipe_of(place)
    loaded, store = load(recipe, warn=print, check=lambda *given: None)
    teacher = make_or_find(store, teacher_artifact(loaded))
    trimmed = make_or_find(store, stage_artifact(loaded, "vocabulary", teacher, teacher))
    assert teacher.facts["processor"] is None
    assert trimmed.facts["processor"] == trimmed.key
    # As a later run does it: nothing in memory, the tokenizer comes from the artifact's folder.
    later, _ = load(recipe, warn=print, check=lambda *given: None)
    fresh, kept = later.encoded(trimmed), loaded.encoded(trimmed)
    assert fresh.fingerprint("validation") == kept.fingerprint("validation")
    assert fresh.fingerprint("train") == kept.fingerprint("train")
    assert kept.fingerprint("train") != loaded.encoded(teacher).fingerprint("train")
    assert kept.split("train")["labels"][:] == loaded.encoded(teacher).split("train")["labels"][:]
    quantized = make_or_find(store, stage_artifact(later, "quantize", trimmed, teacher))
    assert quantized.facts["processor"] == trimmed.key


def test_a_student_from_a_folder_must_read_the_same_tokens(place: Path) -> None:
    recipe = recipe_of(place, f"student.path={place}/teacher")
    loaded, store = load(recipe, warn=print, check=lambda *given: None)
    teacher = make_or_find(store, teacher_artifact(loaded))
    trimmed = make_or_find(store, stage_artifact(loaded, "vocabulary", teacher, teacher))
    with pytest.raises(InputError, match=r"vocabulary has 34 entries .*trim the vocabulary after distilling"):
        make_or_find(store, stage_artifact(loaded, "distill", trimmed, teacher))


def test_what_cannot_be_trimmed_is_refused_before_any_work(place: Path) -> None:
    recipe = recipe_of(place, "stages.vocabulary.min_count=1", "stages.vocabulary.most_tokens=2")
    with pytest.raises(InputError, match=r"most_tokens is 2; .* are 4 tokens already"):
        compress.run(recipe, place / "run")
    assert not (place / "run").exists()
    after = dataclasses.replace(recipe, order=("quantize", "vocabulary"))
    with pytest.raises(InputError, match="trim before quantizing"):
        compress.run(after, place / "run")
    after = dataclasses.replace(recipe, order=("fuse", "vocabulary"))
    with pytest.raises(InputError, match=r"puts vocabulary after fuse: .* trim before fusing"):
        compress.run(after, place / "run")
