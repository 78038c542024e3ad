"""Multiple-choice questions from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from compress.core.context import Splits
from compress.core.errors import InputError
from compress.data.choices import require_choices, with_choices
from compress.tasks.choices import CHOICE

GOOD = {"prompt": "The sky is", "options": ["blue", "very loud"], "answer": 0}


def splits(**more: Any) -> Splits:
    part = Dataset.from_dict({"text": ["one", "two"], **more})
    return Splits(part, part, None, ("a note",))


def written(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_questions_stand_behind_the_texts_that_judge(tmp_path: Path) -> None:
    name = written(tmp_path / "questions.jsonl", GOOD, {**GOOD, "answer": 1})
    found = with_choices(splits(group=[3, 5]), name, " ")
    assert found.validation["text"][:] == ["one", "two", None, None]
    assert found.validation["group"][:] == [3, 5, 6, 7]
    assert found.validation[CHOICE][:2] == [None, None]
    first, second = found.validation[CHOICE][2:]
    assert first == {
        "prompt": "The sky is",
        "continuations": [" blue", " very loud"],
        "characters": [4, 9],
        "answer": 0,
    }
    assert second["answer"] == 1
    assert found.train.column_names == ["text", "group"]
    assert "2 questions" in found.notes[1]
    assert with_choices(splits(), None, " ").validation.column_names == ["text"]


@pytest.mark.parametrize(
    ("prompt", "option", "separator", "expected"),
    [
        ("A:", "b", " ", ("A:", " b")),
        ("A: ", "b", " ", ("A:", " b")),
        ("A:\n", "b", " ", ("A:", "\nb")),
        ("A:", "\nb", " ", ("A:", "\nb")),
        ("\u5929", "\u84dd", "", ("\u5929", "\u84dd")),
    ],
)
def test_what_stands_between(tmp_path: Path, prompt: str, option: str, separator: str, expected: Any) -> None:
    name = written(tmp_path / "questions.jsonl", {"prompt": prompt, "options": [option, "other"], "answer": 0})
    found = with_choices(splits(), name, separator).validation[CHOICE][2]
    assert (found["prompt"], found["continuations"][0]) == expected
    assert found["characters"][0] == len(option)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"prompt": " "}, "'prompt' is ' '; it must be a text"),
        ({"options": ["blue"]}, "it must be a list of at least two"),
        ({"options": []}, "it must be a list of at least two"),
        ({"options": ["blue", ""]}, "an option is ''; it must be a text"),
        ({"options": ["blue", "blue"]}, "two of its options are equal"),
        ({"answer": 2}, "'answer' is 2; it must be the number of the right option, from 0 to 1"),
        ({"answer": -1}, "'answer' is -1"),
        ({"answer": None}, "'answer' is None"),
    ],
)
def test_what_is_no_question_is_refused_by_its_row(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    name = written(tmp_path / "questions.jsonl", GOOD, {**GOOD, **changes})
    with pytest.raises(InputError, match=r"data\.choices, row 2") as refused:
        with_choices(splits(), name, " ")
    assert told in str(refused.value)


def test_an_answer_in_words_is_refused(tmp_path: Path) -> None:
    name = written(tmp_path / "questions.jsonl", {**GOOD, "answer": "blue"})
    with pytest.raises(InputError, match="'answer' is 'blue'; it must be the number"):
        with_choices(splits(), name, " ")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    lacking = written(tmp_path / "questions.jsonl", {"prompt": "a", "options": ["b", "c"]})
    with pytest.raises(InputError, match=r"has no 'answer' \(found: prompt, options\)"):
        with_choices(splits(), lacking, " ")
    with pytest.raises(InputError, match=r"it must be a \.jsonl file"):
        require_choices("questions.csv", " ")
    with pytest.raises(InputError, match="there is no such file"):
        require_choices(str(tmp_path / "question.jsonl"), " ")
    with pytest.raises(InputError, match="choices_separator is None"):
        require_choices(None, None)
