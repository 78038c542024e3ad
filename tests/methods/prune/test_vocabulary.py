from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from compress.core.context import Context
from compress.core.errors import InputError
from compress.methods.prune.vocabulary import PruneVocabulary
from compress.nn.vocabulary import word_embeddings


def stage(**changes: Any) -> PruneVocabulary:
    return PruneVocabulary(**({"min_count": 1, "most_tokens": None, "keep_characters": True} | changes))


@pytest.fixture
def processors() -> list[Any]:
    """What the stage handed over as the new processor."""
    return []


@pytest.fixture
def context(make_model: Callable, make_context: Callable, processors: list[Any]) -> Context:
    """Ten sentences: not every word occurs."""
    return make_context(make_model(), count=6, use_processor=processors.append)


def counts_of(context: Context) -> Counter[int]:
    return Counter(number for row in context.train["input_ids"] for number in row)


@torch.no_grad()
def test_training_texts_read_and_answer_as_before(context: Context, processors: list[Any]) -> None:
    model = stage().apply(copy.deepcopy(context.teacher), context)
    (trimmed,) = processors
    seen = sorted({*counts_of(context), 0, 1, 2, 3})
    assert trimmed.convert_ids_to_tokens(list(range(len(trimmed)))) == context.processor.convert_ids_to_tokens(seen)
    assert len(seen) == model.config.vocab_size == word_embeddings(model).num_embeddings < 34
    for row in context.train:
        text = context.processor.decode(row["input_ids"], skip_special_tokens=True)
        encoded = trimmed(text, return_tensors="pt", return_token_type_ids=False)
        expected = context.teacher(input_ids=torch.tensor([row["input_ids"]])).logits
        assert torch.equal(model(**encoded).logits, expected)


def test_rare_tokens_leave(context: Context, processors: list[Any]) -> None:
    stage(min_count=3).apply(copy.deepcopy(context.teacher), context)
    frequent = {number for number, count in counts_of(context).items() if count >= 3}
    assert len(processors[0]) == len(frequent | {0, 1, 2, 3})


def test_unlabelled_text_counts(context: Context, processors: list[Any], make_context: Callable) -> None:
    more = make_context(context.teacher, count=40).train
    stage().apply(copy.deepcopy(context.teacher), dataclasses.replace(context, unlabelled=more))
    seen = {number for rows in (context.train, more) for row in rows["input_ids"] for number in row}
    assert len(seen) > len(counts_of(context))
    assert len(processors[0]) == len(seen | {0, 1, 2, 3})


def test_the_most_frequent_stay(context: Context, processors: list[Any]) -> None:
    stage(most_tokens=7).apply(copy.deepcopy(context.teacher), context)
    words = sorted((-count, number) for number, count in counts_of(context).items() if number > 3)[:3]
    expected = context.processor.convert_ids_to_tokens(sorted({0, 1, 2, 3, *(number for _, number in words)}))
    assert processors[0].convert_ids_to_tokens(list(range(7))) == expected


def test_the_notes_say_what_was_kept_and_what_to_expect(context: Context, notes: list[str]) -> None:
    stage(most_tokens=7).apply(copy.deepcopy(context.teacher), context)
    # 27 rows of 32 floats.
    assert notes[0] == "7 of 34 tokens kept: 0.00 MB less in FP32"
    assert notes[1].startswith("of training texts held out from the choice, 100.0% change their tokens (")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_count": 0}, r"min_count is 0; it must be a whole number of at least 1"),
        ({"most_tokens": 0}, r"most_tokens is 0; .*Use null for no limit"),
        ({"keep_characters": "yes"}, r"keep_characters is 'yes'; it must be true or false"),
    ],
)
def test_settings_are_checked_when_built(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        stage(**change)


def test_a_limit_below_what_must_stay_is_refused(context: Context) -> None:
    with pytest.raises(InputError, match=r"most_tokens is 3; .* are 4 tokens already\. Use more or set keep_char"):
        stage(most_tokens=3).check_processor(context.task, context.processor)
    with pytest.raises(InputError, match=r"most_tokens is 3; .* are 4 tokens already\. Use more\.$"):
        stage(most_tokens=3, keep_characters=False).check_processor(context.task, context.processor)
    stage(most_tokens=4).check_processor(context.task, context.processor)
