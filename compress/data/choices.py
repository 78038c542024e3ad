"""Multiple-choice questions from a file, asked of a language model beside the texts that judge it."""

from __future__ import annotations

import dataclasses
from typing import Any

from datasets import Dataset, concatenate_datasets

from compress.core.context import Splits
from compress.core.errors import InputError
from compress.data.formats import read_file, require_file
from compress.tasks.choices import ANSWER, CHARACTERS, CHOICE, CONTINUATIONS, PROMPT

COLUMNS = ("prompt", "options", "answer")
WAY_OUT = 'Write one object per line: {"prompt": "The sky is", "options": ["blue", "loud"], "answer": 0}'


def require_choices(name: str | None, separator: object) -> None:
    """Raise InputError where `data.choices` names no such file, before it is read."""
    if not isinstance(separator, str):
        raise InputError(
            f'data.choices_separator is {separator!r}; it is the text between prompt and option. Use " ", for example.'
        )
    if name is None:
        return
    if not isinstance(name, str) or not name.lower().endswith(".jsonl"):
        raise InputError(f"data.choices is {name!r}; it must be a .jsonl file. {WAY_OUT}.")
    require_file("data.choices", name)


def with_choices(splits: Splits, name: str | None, separator: str) -> Splits:
    """The splits with the questions of a file behind the validation examples, and a note; as they are where name is
    None. Their column CHOICE is None for all other examples. separator: what stands between prompt and option, where
    there is no white space already.

    Raises InputError, by row, for what is no question.
    """
    if name is None:
        return splits
    table = read_file("data.choices", name)
    missing = [column for column in COLUMNS if column not in table.column_names]
    if missing:
        raise InputError(
            f"data.choices is {name!r}, which has no {missing[0]!r} (found: {', '.join(table.column_names)}). "
            f"{WAY_OUT}."
        )
    values = zip(*(table[column] for column in COLUMNS), strict=True)
    questions = [
        _question(row, prompt, options, answer, separator)
        for row, (prompt, options, answer) in enumerate(values, start=1)
    ]
    validation = splits.validation
    columns: dict[str, Any] = {CHOICE: questions}
    if "group" in validation.column_names:
        # Each question is a group of its own.
        first = max(validation["group"]) + 1
        columns["group"] = list(range(first, first + len(questions)))
    asked = concatenate_datasets([validation, Dataset.from_dict(columns)])
    note = f"data.choices: {len(questions)} questions, asked of the teacher and of each model; no gate looks at them"
    return dataclasses.replace(splits, validation=asked, notes=(*splits.notes, note))


def _question(row: int, prompt: Any, options: Any, answer: Any, separator: str) -> dict[str, Any]:
    place = f"data.choices, row {row}"
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(f"{place}: 'prompt' is {prompt!r}; it must be a text. {WAY_OUT}.")
    if not isinstance(options, list) or len(options) < 2:
        raise InputError(f"{place}: 'options' is {options!r}; it must be a list of at least two. {WAY_OUT}.")
    for option in options:
        if not isinstance(option, str) or not option.strip():
            raise InputError(f"{place}: an option is {option!r}; it must be a text. {WAY_OUT}.")
    if len(set(options)) < len(options):
        raise InputError(f"{place}: two of its options are equal, so none of them is the answer. Remove one.")
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(options):
        raise InputError(
            f"{place}: 'answer' is {answer!r}; it must be the number of the right option, from 0 to {len(options) - 1}."
        )
    # White space at the end of a prompt belongs to the token that begins an option.
    start = prompt.rstrip()
    between = prompt[len(start) :]
    return {
        PROMPT: start,
        CONTINUATIONS: [f"{between if between or option[0].isspace() else separator}{option}" for option in options],
        CHARACTERS: [len(option) for option in options],
        ANSWER: answer,
    }
