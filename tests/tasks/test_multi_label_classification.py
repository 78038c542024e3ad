"""Any number of classes for a text: how they are written, judged and imitated, by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.multi_label_classification import MultiLabelClassification

GIVEN: dict[str, Any] = {"text": "text", "label": "labels", "max_length": 8, "separator": ",", "threshold": 0.5}
TASK = MultiLabelClassification(**GIVEN)
TEXTS = ["kas", "lon", "kat"]
LISTS = [["b", "a"], [], ["c"]]


@pytest.fixture
def config(make_model: Callable) -> Any:
    """Of a model whose labels are 0 = a, 1 = b and 2 = c."""
    return TASK.fit_config(make_model().config, data(LISTS))


def data(labels: Any, **columns: Any) -> Dataset:
    return Dataset.from_dict({"text": TEXTS[: len(labels)], "labels": labels, **columns})


def task(**changes: Any) -> MultiLabelClassification:
    return MultiLabelClassification(**{**GIVEN, **changes})


def encoded(task: MultiLabelClassification, examples: Dataset, tokenizer: Any, config: Any) -> list[list[int]]:
    return list(task.encode(examples, tokenizer, config, "train")["labels"])


def test_a_head_for_every_class(config: Any) -> None:
    assert config.id2label == {0: "a", 1: "b", 2: "c"} and config.problem_type == "multi_label_classification"


@pytest.mark.parametrize("labels", [LISTS, ["b, a", "", "c"], [[1, 0], [], [2]], ["1,0", "", "2"]])
def test_classes_are_written_as_lists_texts_names_or_numbers(
    labels: Any, tokenizer: PreTrainedTokenizerFast, config: Any
) -> None:
    assert encoded(TASK, data(labels), tokenizer, config) == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_a_column_for_each_class(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    columns = {"a": [1, 0, 0], "b": ["1", "0", "0.0"], "c": [False, False, True]}
    examples = Dataset.from_dict({"text": TEXTS, **columns})
    wide = task(label=["a", "b", "c"])
    assert encoded(wide, examples, tokenizer, config) == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert wide.fit_config(config, examples).id2label == {0: "a", 1: "b", 2: "c"}
    with pytest.raises(InputError, match=r"data\.label=\[a,b,c\]: example 2 of data\.train has 7 in the column 'c'"):
        wrong = examples.remove_columns("c").add_column("c", [0, 7, 1])
        encoded(wide, wrong, tokenizer, config)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([["a"], ["bb"]], r"data\.label=labels: example 2 of data\.train has the class 'bb', which the model does not"),
        ([["a"], None], r"example 2 of data\.train has None for its classes; it must be a list"),
        (["a", "b,,c"], r"example 2 of data\.train has a class without a name"),
        ([["a"], ["a"]], r"all examples of data\.train have the same classes"),
    ],
)
def test_what_cannot_be_used_is_named(labels: Any, told: str, tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    with pytest.raises(InputError, match=told):
        encoded(TASK, data(labels), tokenizer, config)


def test_a_near_name_is_offered(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    config.id2label = {0: "toxic", 1: "insult", 2: "threat"}
    with pytest.raises(InputError, match=r"Did you mean 'insult'\?"):
        encoded(TASK, data([["toxic"], ["insul"]]), tokenizer, config)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"threshold": 1.0}, r"task\.threshold is 1\.0; it must lie between 0 and 1"),
        ({"threshold": [0.5, "x"]}, r"it must lie between 0 and 1"),
        ({"separator": ""}, r"task\.separator is ''"),
        ({"label": []}, r"data\.label is \[\]"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        task(**changes)


def test_a_threshold_for_each_label_or_one_for_all(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    with pytest.raises(InputError, match=r"task\.threshold has 2 numbers and the model 3 labels \(a, b, c\)"):
        encoded(task(threshold=[0.5, 0.5]), data(LISTS), tokenizer, config)
    own = task(threshold=[0.5, 0.2, 0.9])
    # Sigmoids of 0.1 are 0.52: above 0.5 and 0.2, below 0.9.
    statistics = own.statistics([np.array([0.1, 0.1, 0.1])], [{"labels": [1, 0, 1]}], config)
    assert statistics.tolist() == [[1.0, 2.0, 2.0]]
    assert f"logit > [0.0, {math.log(0.25):.6f}, {math.log(9):.6f}][number]" in own.usage(
        OnnxRuntime(threads=1), config
    )


ROWS = [{"labels": [1, 1, 0]}, {"labels": [0, 0, 0]}, {"labels": [0, 0, 1]}]
OUTPUTS = [np.array(logits) for logits in ([2.0, -1.0, 1.0], [-1.0, -1.0, -1.0], [-3.0, -2.0, 0.5])]


def test_what_is_judged_by_hand(config: Any) -> None:
    statistics = TASK.statistics(OUTPUTS, ROWS, config)
    # Named: a and c, nothing, c. Found: a, nothing, c.
    assert statistics.tolist() == [[1, 2, 2], [0, 0, 0], [1, 1, 1]]
    assert TASK.metric(config).value(statistics) == pytest.approx(2 * 2 / (3 + 3))
    # F1 of a is 1, of b 0, of c 2 / 3.
    figures = TASK.figures(OUTPUTS, ROWS, config)
    assert figures == {"f1_macro": pytest.approx(5 / 9), "all_classes_right": pytest.approx(2 / 3)}
    assert TASK.by_class(OUTPUTS, ROWS, config) == {
        "a": [(0, 1, 1, 1)],
        "b": [(0, 0, 0, 1)],
        "c": [(0, 0, 1, 0), (2, 1, 1, 1)],
    }
    assert TASK.changed(OUTPUTS, [OUTPUTS[0], OUTPUTS[1] + 2, OUTPUTS[2] + 0.1]) == 1
    assert TASK.kinds(Dataset.from_list(ROWS), config) == ["several classes", "no class", "one class"]


def test_losses_by_sigmoids() -> None:
    zeros = torch.zeros(2, 2)
    labels = torch.tensor([[1.0, 0.0], [-100.0, -100.0]])
    # ln 2 for each of two classes; the second row has no labels.
    assert float(TASK.label_loss(zeros, {"labels": labels})) == pytest.approx(2 * math.log(2))
    assert int(TASK.labelled({"labels": labels})) == 1
    assert float(TASK.label_loss(zeros, {"labels": labels[1:].repeat(2, 1)})) == 0.0
    # Of the teacher's 3/4 and 1/4 against 1/2 and 1/2: 3/4 ln (3/2) + 1/4 ln (1/2), twice, over two rows.
    teacher = torch.tensor([[math.log(3), -math.log(3)], [0.0, 0.0]])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(TASK.imitation_loss(zeros, teacher)) == pytest.approx(expected)
    assert float(TASK.imitation_loss(teacher, teacher)) == pytest.approx(0.0, abs=1e-7)


def test_batches_and_examples_without_labels(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    rows = TASK.encode(data(LISTS), tokenizer, config, "train")
    assert TASK.collate(list(rows), tokenizer)["labels"].tolist() == [[1.0, 1.0, 0.0], [0.0] * 3, [0.0, 0.0, 1.0]]
    unlabelled = TASK.encode_unlabelled(data(LISTS).remove_columns("labels"), tokenizer, config)
    assert unlabelled.features == rows.features and unlabelled["labels"] == [[-100] * 3] * 3


def test_a_model_that_does_not_say_that_it_is_one(checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r'use -cn text_classification.*"problem_type": "multi_label_classification"'):
        TASK.load_model(checkpoint)
    path = checkpoint / "config.json"
    said = {"problem_type": "multi_label_classification"}
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **said}), encoding="utf-8")
    assert TASK.load_model(checkpoint).config.num_labels == 2


def test_usage_runs_without_torch(config: Any) -> None:
    usage = TASK.usage(OnnxRuntime(threads=1), config)
    compile(usage, "usage", "exec")
    assert len(usage.splitlines()) == 6 and "torch" not in usage and "logit > 0]" in usage
