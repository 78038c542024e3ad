"""A score for a query and a passage: rows, losses, and what is judged, by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.reranker import ANSWERS, Reranker

GIVEN: dict[str, Any] = {
    "text": ["query", "passage"],
    "label": "label",
    "labels": "relevance",
    "max_length": 12,
    "score_weight": 1.0,
    "margin_weight": 1.0,
    "ranking_weight": 1.0,
    "scale": 1.0,
}
TASK = Reranker(**GIVEN)
LISTS = {
    "query": ["kas", "los", "mis"],
    "passage": [["kat", "kan"], ["lon", "lom"], ["mit", "min"]],
    "label": [[0, 1], [0, 0], [1, 0]],
}


def task(**changes: Any) -> Reranker:
    return Reranker(**{**GIVEN, **changes})


@pytest.fixture
def config(make_model: Callable) -> Any:
    return TASK.fit_config(make_model().config, Dataset.from_dict(LISTS))


def test_what_a_plan_foresees_of_scores(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    """As many queries judge as will: of passages that are all the same no order is better."""
    free, asked = task(label=None), {"query": ["kas", "los"], "passage": [["kat", "kan", "kat"], ["lon", "lon"]]}
    foreseen = free.foresee_answers(Dataset.from_dict(asked), "validation")
    assert foreseen is not None and foreseen[ANSWERS][:] == [[0.0, 1.0, 0.0], [2.0, 2.0]]
    assert free.encode(foreseen, tokenizer, config, "validation")["document"][:] == [0, 0, 0]
    assert ANSWERS not in free.foresee_answers(Dataset.from_dict(asked), "train").column_names


def test_a_row_for_each_passage(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    rows = TASK.encode(Dataset.from_dict(LISTS), tokenizer, config, "train")
    assert rows["labels"] == [0.0, 1.0, 0.0, 0.0, 1.0, 0.0] and rows["document"] == [0, 0, 1, 1, 2, 2]
    assert rows["input_ids"][0] == [2, 4, 3, 5, 3] and "token_type_ids" in rows.column_names
    first, second, third = rows["together"][::2]
    assert rows["together"] == [first, first, second, second, third, third] and len({first, second, third}) == 3
    assert TASK.units(rows) == [0, 0, 1, 1, 2, 2]
    batch = TASK.collate(list(rows), tokenizer)
    assert batch["labels"].shape == (6, 1) and batch["together"].tolist() == rows["together"][:]
    unlabelled = TASK.encode_unlabelled(Dataset.from_dict(LISTS), tokenizer, config)
    assert unlabelled.features == rows.features and all(map(math.isnan, unlabelled["labels"]))
    assert TASK.units(unlabelled) == [0, 0, 1, 1, 2, 2]


def test_pairs_of_one_query_are_one_example_wherever_they_stand(
    tokenizer: PreTrainedTokenizerFast, config: Any
) -> None:
    pairs = {"query": ["los", "kas", "los", "kas"], "passage": ["a", "b", "c", "d"], "label": [1, 0, 0, 1]}
    rows = TASK.encode(Dataset.from_dict(pairs), tokenizer, config, "validation")
    assert TASK.units(rows) == [0, 1, 0, 1] and rows["group"] == [0, 1, 0, 1]


def test_a_query_without_a_relevant_passage_cannot_judge(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    rows = TASK.encode(Dataset.from_dict(LISTS), tokenizer, config, "validation")
    assert rows["document"] == [0, 0, 2, 2]
    with pytest.raises(InputError, match=r"data\.test has no query with a relevant passage and another one"):
        TASK.encode(Dataset.from_dict({**LISTS, "label": [[0, 0]] * 3}), tokenizer, config, "test")


def test_relevance_lies_between_0_and_1(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    graded = Dataset.from_dict({**LISTS, "label": [[0, 1], [0, 3], [1, 0]]})
    with pytest.raises(InputError, match=r"example 2 of data\.train has the relevance 3; .*Use task\.labels=scores"):
        TASK.encode(graded, tokenizer, config, "train")
    assert task(labels="scores").encode(graded, tokenizer, config, "train")["labels"][3] == 3.0


def test_what_is_judged_by_hand() -> None:
    rows = [{"together": 5, "labels": label} for label in (1.0, 0.0, 0.0)]
    rows += [{"together": 4, "labels": label} for label in (0.0, 1.0)]
    outputs = [np.array([score]) for score in (2.0, 3.0, 1.0, 0.0, 9.0)]
    # The relevant passage comes second of the first query: 1 / log2(3), and first of the second.
    statistics = TASK.statistics(outputs, rows, None)
    assert statistics.tolist() == [[pytest.approx(1 / math.log2(3)), 1.0], [1.0, 1.0]]
    found = TASK.figures(outputs, rows, None)
    assert found["mean_reciprocal_rank"] == pytest.approx(0.75)
    # Of three passages and of two, one is relevant: anywhere.
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    assert found["ndcg_of_any_order"] == pytest.approx(((1 + second + third) / 3 + (1 + second) / 2) / 2)
    assert "ndcg_of_any_order" not in dataclasses.replace(TASK, label=None).figures(outputs, rows, None)


def test_equal_scores_order_nothing() -> None:
    rows = [{"together": 5, "labels": label} for label in (1.0, 0.0, 0.0)]
    same = [np.array([0.5])] * 3
    # As if the relevant passage came last, though it stands first in the data.
    assert TASK.statistics(same, rows, None).tolist() == [[pytest.approx(1 / math.log2(4)), 1.0]]
    assert TASK.figures(same, rows, None)["mean_reciprocal_rank"] == pytest.approx(1 / 3)


def test_without_labels_the_teachers_order_is_the_truth(
    tokenizer: PreTrainedTokenizerFast, make_model: Callable, config: Any
) -> None:
    free, examples = task(label=None), Dataset.from_dict({name: LISTS[name] for name in ("query", "passage")})
    assert "the teacher's order" in free.about_answers(Dataset.from_dict({})) and free.asks_teacher
    assert not TASK.asks_teacher
    model = make_model()
    model.classifier = torch.nn.Linear(32, 1)
    model.config = config
    assert free.answered(examples, model, tokenizer, config, "train").column_names == examples.column_names
    answered = free.answered(examples, model, tokenizer, config, "validation")
    rows = free.encode(answered, tokenizer, config, "validation")
    assert rows["labels"] == [score for scores in answered[ANSWERS] for score in scores]
    batch = free.collate(list(rows), tokenizer)
    read = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        scores = model.bert(**read).pooler_output @ model.classifier.weight.T + model.classifier.bias
    np.testing.assert_allclose(np.array(rows["labels"]), scores[:, 0].numpy(), rtol=1e-4, atol=1e-6)
    outputs = [np.array([score]) for score in rows["labels"]]
    assert free.statistics(outputs, list(rows), config).tolist() == [[1.0, 1.0]] * 3
    assert free.statistics([-output for output in outputs], list(rows), config)[0, 0] < 1.0
    with pytest.raises(InputError, match=r"model=fine_tuned learns from labels, and data\.label is null"):
        free.fit_config(config, examples)


def test_label_losses_by_hand() -> None:
    output = torch.tensor([[0.0], [0.0], [0.0]], requires_grad=True)
    batch = {"labels": torch.tensor([[1.0], [0.0], [math.nan]])}
    assert float(TASK.label_loss(output, batch).detach()) == pytest.approx(math.log(2))
    assert int(TASK.labelled(batch)) == 2
    assert float(task(labels="scores").label_loss(output, batch).detach()) == pytest.approx(0.5)
    free = task(label=None)
    loss = free.label_loss(output, batch) * free.labelled(batch)
    loss.backward()
    # The derivative of (s - (s ± 1))² is -2 and 2 by turns.
    assert output.grad is not None and output.grad.reshape(-1).tolist() == [-2.0, 2.0, -2.0]


def test_what_is_imitated_by_hand() -> None:
    output, target = torch.tensor([[2.0], [0.0], [1.0]]), torch.tensor([[0.0], [0.0], [1.0]])
    batch = {"together": torch.tensor([7, 7, 8])}
    distance, margin = 4 / 3, 4.0
    divergence = math.log(0.5) - (2 - 2 * math.log(1 + math.exp(2))) / 2
    weights = {"score_weight": 2.0, "margin_weight": 3.0, "ranking_weight": 5.0}
    found = float(task(**weights).imitation_loss(output, target, batch))
    assert found == pytest.approx(2 * distance + 3 * margin + 5 * divergence, rel=1e-5)
    # A row by itself has no query to be compared in.
    assert float(task(**weights).imitation_loss(output, target)) == pytest.approx(distance)
    assert float(task(score_weight=0, ranking_weight=0, scale=2.0).imitation_loss(output, target, batch)) == 1.0


def test_the_snippet_gives_what_sentence_transformers_gives(config: Any) -> None:
    runtime = OnnxRuntime(threads=1)
    squashed = TASK.usage(runtime, config)
    compile(squashed, "usage", "exec")
    assert "print(1 / (1 + math.exp(-score)))" in squashed and len(squashed.splitlines()) == 6
    scores = task(labels="scores").fit_config(config, Dataset.from_dict(LISTS))
    assert scores.problem_type == "regression" and config.problem_type == "multi_label_classification"
    assert "print(score)" in TASK.usage(runtime, scores)
    old = SimpleNamespace(
        to_dict=lambda: {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        **{name: getattr(config, name) for name in ("model_type", "type_vocab_size")},
    )
    assert "print(score)" in TASK.usage(runtime, old)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"text": ["query"]}, r"data\.query and data\.passage each name a column"),
        ({"score_weight": -1}, r"task\.score_weight is -1; it must be at least 0"),
        (dict.fromkeys(("score_weight", "margin_weight", "ranking_weight"), 0), "are all 0; one must be greater"),
        ({"labels": "grades"}, r"task\.labels is 'grades'; it must be one of relevance, scores"),
        ({"scale": 0}, r"task\.scale is 0; it must be greater than 0"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        task(**changes)


def test_made_up_pairs_have_a_passage_each(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    made = TASK.splice(Dataset.from_dict(LISTS), 4, 0, apart_from=[])
    assert made.column_names == ["query", "passage"] and 0 < len(made) <= 4
    rows = TASK.encode_unlabelled(made, tokenizer, config)
    assert len(rows) == len(made)
