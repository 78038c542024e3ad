"""The task: what is encoded, what is imitated, how it is judged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import tensor
from transformers import AutoConfig, PreTrainedTokenizerFast

from compress.core.errors import InputError, TooLittleError
from compress.nn.sentence_encoder import FIELD, Readout, SentenceEncoder
from compress.tasks.sentence_embedding import ANSWERS, SentenceEmbedding


def _task(**settings: Any) -> SentenceEmbedding:
    given = {"text": "text", "max_length": 16, "pooling": "mean", "vector_weight": 1.0, "ranking_weight": 0.0}
    return SentenceEmbedding(**{**given, "sharpness": 1.0, "dimensions": [], "pairs": False, "stored": [], **settings})


@pytest.fixture
def config() -> Any:
    config = AutoConfig.for_model(
        "bert", vocab_size=34, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    prompts = {"query": "kas ", "passage": "lot "}
    readout = Readout(pooling="mean", dimensions=0, bias=False, activation="identity", normalize=True, prompts=prompts)
    setattr(config, FIELD, readout.to_json())
    return config


def _judged() -> Dataset:
    return Dataset.from_dict(
        {
            "text": ["min", "nur", "pen", "ras"],
            "role": ["document", "query", "document", "query"],
            "name": ["d1", "q1", "d2", "q2"],
            "relevant": [[], ["d1"], [], ["d2", "d9"]],
            "grades": [[], [1.0], [], [2.0, 1.0]],
        }
    )


def _answered(task: SentenceEmbedding, tokenizer: Any, config: Any, examples: Dataset) -> Dataset:
    tokenizer.model_max_length = 16
    torch.manual_seed(0)
    return task.answered(examples, SentenceEncoder(config).eval(), tokenizer, config, "validation")


def test_queries_come_first_and_get_their_prompt(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    task = _task()
    rows = task.encode(_answered(task, tokenizer, config, _judged()), tokenizer, config, "validation")
    assert [label["name"] for label in rows["labels"]] == ["q1", "q2", "d1", "d2"]
    assert rows["input_ids"][0] == tokenizer("kas nur").input_ids
    assert rows["input_ids"][2] == tokenizer("lot min").input_ids
    assert task.units(rows) == [0, 1, -1, -1]
    assert task.kinds(rows, config) == ["query", "query"]
    assert rows["labels"][1]["relevant"] == ["d2", "d9"]


def test_vector_of_an_example_is_the_teachers_own(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    task, tokenizer.model_max_length = _task(), 16
    torch.manual_seed(0)
    model = SentenceEncoder(config).eval()
    told = task.answered(_judged(), model, tokenizer, config, "validation")
    ids = tensor([tokenizer("kas nur").input_ids])
    with torch.inference_mode():
        expected = model(ids, torch.ones_like(ids)).sentence_embedding[0].numpy()
    np.testing.assert_allclose(told[ANSWERS][1], expected, atol=1e-6)
    assert ANSWERS not in task.answered(_judged(), model, tokenizer, config, "train").column_names


def test_judged_by_what_is_found(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    task = _task(dimensions=[2])
    rows = list(task.encode(_answered(task, tokenizer, config, _judged()), tokenizer, config, "validation"))
    # The first query finds its document first, the second its one second.
    outputs = [np.array(vector) for vector in ([1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [1.0, 0.0, 0.1], [0.0, 1.0, 0.0])]
    found = task.statistics(outputs, rows, config)
    np.testing.assert_allclose(found, [[1.0, 1.0], [1 / math.log2(3), 1.0]])
    figures = task.figures(outputs, rows, config)
    assert figures["mean_reciprocal_rank"] == 0.75
    assert figures["recall_at_10"] == 1.0
    assert figures["ndcg_of_2_dimensions"] == pytest.approx((1 + 1 / math.log2(3)) / 2)
    # Another width than the teacher's: no place in its index.
    assert "ndcg_in_teachers_index" not in figures


def test_teacher_is_perfect_where_nobody_judged(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    task = _task()
    examples = Dataset.from_dict({"text": ["min", "nur lot", "pen", "ras kas mir"]})
    rows = list(task.encode(_answered(task, tokenizer, config, examples), tokenizer, config, "validation"))
    outputs = [np.array(row["labels"]["vector"]) for row in rows]
    np.testing.assert_allclose(task.statistics(outputs, rows, config)[:, 0], 1.0)
    figures = task.figures(outputs, rows, config)
    assert figures["cosine_to_teacher"] == pytest.approx(1.0)
    assert figures["ndcg_in_teachers_index"] == pytest.approx(1.0)
    assert figures["recall_at_10"] == 1.0


def test_imitation_of_vectors_is_their_distance() -> None:
    # Directions (1, 0) and (0.6, 0.8) against (0, 1) and (0.6, 0.8): squared distances 2 and 0.
    found, expected = tensor([[2.0, 0.0], [3.0, 4.0]]), tensor([[0.0, 1.0], [0.6, 0.8]])
    torch.testing.assert_close(_task().imitation_loss(found, expected), tensor(1.0))


def test_imitation_of_the_ranking_is_a_divergence() -> None:
    task = _task(vector_weight=0.0, ranking_weight=2.0, sharpness=1.0)
    # The first text is alike the others by 0 and 1 for the student, by 1 and 0 for the teacher.
    found = tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    expected = tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    high, low = math.e / (1 + math.e), 1 / (1 + math.e)
    first = high * math.log(high / low) + low * math.log(low / high)
    # The second: student 0 and 0, teacher 1 and 0; the third: student 1 and 0, teacher 0 and 0.
    second = high * math.log(high / 0.5) + low * math.log(low / 0.5)
    third = 0.5 * math.log(0.5 / high) + 0.5 * math.log(0.5 / low)
    torch.testing.assert_close(
        task.imitation_loss(found, expected), tensor(2.0 * (first + second + third) / 3), rtol=1e-5, atol=1e-6
    )
    assert task.imitation_loss(expected, expected) == 0


def test_first_dimensions_are_to_rank_too() -> None:
    whole, first = (_task(vector_weight=0.0, ranking_weight=1.0, dimensions=numbers) for numbers in ([], [2]))
    expected = tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.8, 0.6, 0.0]])
    assert first.imitation_loss(expected, expected) == 0
    turned = expected.flip(1)
    assert first.imitation_loss(turned, expected) > whole.imitation_loss(turned, expected)


def test_label_loss_has_a_gradient_at_the_teacher() -> None:
    vectors = tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], requires_grad=True)
    loss = _task(sharpness=5.0).label_loss(vectors, {})
    (gradient,) = torch.autograd.grad(loss, vectors)
    assert gradient.abs().sum() > 0
    assert _task().label_loss(vectors[:1], {}) == 0


def test_too_little_to_rank_is_refused(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    tokenizer.model_max_length = 16
    with pytest.raises(TooLittleError, match="a single text"):
        _task().encode(Dataset.from_dict({"text": ["min", "min"]}), tokenizer, config, "train")
    with pytest.raises(InputError, match="has no text"):
        _task().encode(Dataset.from_dict({"text": ["min", " "]}), tokenizer, config, "train")
    with pytest.raises(InputError, match=r"data\.text is 'text', a column that data\.train does not have"):
        _task().encode(Dataset.from_dict({"body": ["min", "nur"]}), tokenizer, config, "train")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"vector_weight": 0.0}, "both 0"),
        ({"sharpness": 0.0}, "task.sharpness"),
        ({"dimensions": [1]}, "task.dimensions"),
        ({"max_length": 2}, "data.max_length"),
        ({"text": ["a", "b"]}, "one column"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        _task(**settings)
