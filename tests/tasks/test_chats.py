"""Chats: what a template makes of them, and which tokens of it count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.data.documents import Documents
from compress.tasks.causal_lm import CausalLanguageModel
from compress.tasks.windows import NOT_JUDGED, Passage, documents_of, windows

PLAIN = (
    "{% for turn in messages %}{{ turn.role + ' ' + turn.content + ' <end>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)
# As Qwen 3 has it: of the last answer alone it is written that nothing was thought.
THINKING = (
    "{% for turn in messages %}{{ turn.role + ' ' }}"
    "{% if loop.last and turn.role == 'assistant' %}{{ 'hm ' }}{% endif %}"
    "{{ turn.content + ' <end>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)
WORDS = ("<end>", "<unk>", "user", "assistant", "hm", "a", "bb", "ccc", "\u00e9\u00e9")
END, UNKNOWN, USER, ASSISTANT, HM, A, BB, CCC, EE = range(9)
CONFIG = AutoConfig.for_model("llama", vocab_size=len(WORDS), max_position_embeddings=32)


def tokenizer(template: str | None = PLAIN) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<end>", pad_token="<end>")
    made.chat_template = template
    return made


def turns(*said: str) -> list[dict[str, str]]:
    """What the user and the assistant say, by turns."""
    return [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(said)]


def rows(chats: list[Any], template: str | None = PLAIN, max_length: int = 16) -> Any:
    task = CausalLanguageModel(text="text", max_length=max_length, prompt_tokens=2, new_tokens=3)
    return task.encode(Dataset.from_dict({"text": chats}), tokenizer(template), CONFIG, "train")


def test_only_what_the_assistant_says_counts_and_that_it_ends() -> None:
    (row,) = rows([turns("a bb", "ccc a", "bb", "\u00e9\u00e9")])
    assert row["input_ids"] == [USER, A, BB, END, ASSISTANT, CCC, A, END, USER, BB, END, ASSISTANT, EE, END]
    none = [NOT_JUDGED]
    assert row["labels"]["next"] == [*none * 4, CCC, A, END, *none * 4, EE, END, *none]
    # " ccc a <end>", and " \u00e9\u00e9 <end>" in bytes.
    assert row["labels"]["bytes"] == 12 + 11


def test_thoughts_are_what_the_template_writes_of_the_last_answer_alone() -> None:
    (row,) = rows([turns("a", "ccc", "bb", "a bb")], THINKING)
    assert row["input_ids"] == [USER, A, END, ASSISTANT, CCC, END, USER, BB, END, ASSISTANT, HM, A, BB, END]
    judged = [token for token in row["labels"]["next"] if token != NOT_JUDGED]
    assert judged == [CCC, END, HM, A, BB, END]


def test_what_is_said_by_the_user_too_is_not_taken_for_the_answer() -> None:
    (row,) = rows([turns("a bb", "a bb")])
    assert [place for place, token in enumerate(row["labels"]["next"]) if token != NOT_JUDGED] == [4, 5, 6]


def test_windows_without_an_answer_are_left_out() -> None:
    found = rows([turns("a a a a a", "bb")], max_length=4)
    # user a a a | a a <end> assistant | bb <end>: of the last, bb is a first token, which nobody is asked.
    assert [row["input_ids"] for row in found] == [[BB, END]]
    assert found[0]["labels"]["next"] == [END, NOT_JUDGED]


def test_a_chat_that_the_assistant_begins() -> None:
    (row,) = rows([[{"role": "assistant", "content": "ccc"}, *turns("a", "bb")]])
    assert row["input_ids"][:3] == [ASSISTANT, CCC, END]
    assert row["labels"]["next"][:2] == [CCC, END]


def test_statistics_are_of_what_counts() -> None:
    task = CausalLanguageModel(text="text", max_length=16, prompt_tokens=2, new_tokens=3)
    row = {
        "labels": {
            "next": [NOT_JUDGED, 4, 5, NOT_JUDGED],
            "counted": 2,
            "bytes": 2,
            "tokens": [],
            "log_probabilities": [],
        },
        "question": -1,
    }
    output = np.log(np.array([[0.9, 0.9], [0.5, 0.5], [0.25, 0.5], [0.9, 0.9]]))
    assert task.statistics([output], [row], None) == pytest.approx(np.array([[np.log(0.125), 2]]))
    # 3 bits for 2 bytes.
    assert task.figures([output], [row], None) == {"bits_per_byte": pytest.approx(1.5)}


def test_how_far_a_teacher_is_away_is_told_of_what_counts_alone() -> None:
    task = CausalLanguageModel(text="text", max_length=16, prompt_tokens=2, new_tokens=3)
    (row,) = rows([turns("a", "ccc")])
    # user a <end> assistant ccc <end>: after `assistant` and after `ccc` something is said.
    assert [place for place, token in enumerate(row["labels"]["next"]) if token != NOT_JUDGED] == [3, 4]
    told = {"tokens": [A, BB] * 6, "log_probabilities": np.log([0.5, 0.5] * 6).tolist()}
    judged = {**row, "labels": {**row["labels"], **told}}
    # Far away wherever nobody asks; the same after `assistant`, and after `ccc` three of four for what has one of two.
    far, same, near = [0.1, 0.01, 0.9, 0.9], [0.5, 0.5, 0.5, 0.5], [0.1, 0.25, 0.75, 0.75]
    output = np.log(np.array([far, far, far, same, near, far]))
    figures = task.figures([output], [judged], None)
    assert figures["kl_divergence"] == pytest.approx((0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)) / 2)
    assert figures["same_top_token"] == 0.5
    batch = task.collate([judged], tokenizer())
    assert task.imitated(batch).tolist() == [[False, False, False, True, True, False]]


@pytest.mark.parametrize(
    ("chat", "told"),
    [
        ([{"role": "user", "content": "a"}], r"example 2 of data\.train has no turn of the assistant's"),
        ([{"role": "assistant", "content": " "}], "has no turn of the assistant's"),
        ([{"role": "user", "content": None}, {"role": "assistant", "content": "a"}], "its number 1, without a role"),
        ([], "has no turn of the assistant's"),
    ],
)
def test_a_chat_without_an_answer_is_refused_by_its_line(chat: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        rows([turns("a", "bb"), chat])


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (None, "has no chat template"),
        (
            "{{ raise_exception('roles must take turns') }}",
            "refused by the model's chat template .roles must take turns",
        ),
        ("{% for turn in messages %}{{ loop.length ~ ' ' ~ turn.content ~ ' ' }}{% endfor %}", "Split the chat after"),
    ],
)
def test_templates_that_do_not_fit(template: str | None, told: str) -> None:
    with pytest.raises(InputError, match=told):
        rows([turns("a", "bb", "a", "bb")], template)


@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_a_column_of_chats_stands_for_the_text(column: str, tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    chats = [turns("a", word) for word in WORDS]
    Dataset.from_dict({column: chats}).to_json(path)
    splits = Documents(
        train=str(path),
        validation=None,
        test=None,
        unlabelled=None,
        unlabelled_validation=None,
        group=None,
        label=None,
        reads="text",
        separator="\n\n",
        choices=None,
        choices_separator=" ",
        repeated="keep",
        validation_share=0.5,
        seed=0,
    ).load()
    found = [chat[1]["content"] for chat in [*splits.train["text"], *splits.validation["text"]]]
    assert sorted(found) == sorted(WORDS)


def test_a_text_counts_from_its_second_token() -> None:
    (found,) = windows(documents_of([Passage("a bb \u00e9\u00e9")], tokenizer()), 4)
    assert (found["next"], found["bytes"]) == ([BB, EE, NOT_JUDGED], 8)
