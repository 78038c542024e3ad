"""Chats: turns of several speakers, written as the model's own template has them; the assistant's are what counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compress.core.errors import ExampleError, InputError
from compress.tasks.windows import Passage, Place

ASSISTANT = "assistant"
WAY_OUT = 'Write turns as {"role": "user", "content": "..."}.'


def is_chat(value: object) -> bool:
    """Whether an example is turns, and no text."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def passages_of(chats: Sequence[Any], processor: Any, column: str, split: str) -> list[Passage]:
    """Each chat as its template writes it, with what the assistant says as what is judged. column, split: where they
    were found. Raises ExampleError for one without such a turn, and InputError where the tokenizer has no template."""
    if not processor.chat_template:
        raise InputError(
            f"data.{split} holds chats, and the tokenizer of the model has no chat template to write them by. Give "
            "texts, or set tokenizer.chat_template and save it again."
        )
    found = []
    for row, chat in enumerate(chats):
        try:
            found.append(_passage(_turns(chat), processor))
        except ValueError as error:
            raise ExampleError(f"data.text={column}: ", split, row, str(error)) from error
    return found


def _turns(chat: Any) -> list[dict[str, Any]]:
    """The turns, each without what it does not say: in a table every row has all columns."""
    if not is_chat(chat):
        raise ValueError(f"is no chat ({str(chat)[:40]!r}), as others are. {WAY_OUT}")
    turns = []
    for number, turn in enumerate(chat, start=1):
        said = {name: value for name, value in turn.items() if value is not None} if isinstance(turn, Mapping) else {}
        if not isinstance(said.get("role"), str) or not isinstance(said.get("content"), str):
            raise ValueError(f"has a turn, its number {number}, without a role or a content that is text. {WAY_OUT}")
        turns.append(said)
    if not any(turn["role"] == ASSISTANT and turn["content"].strip() for turn in turns):
        raise ValueError(f"has no turn of the {ASSISTANT}'s, so nothing in it could be learned or judged. Remove it.")
    return turns


def _passage(turns: list[dict[str, Any]], processor: Any) -> Passage:
    whole = written(turns, processor)
    judged: list[Place] = []
    for number, turn in enumerate(turns):
        if turn["role"] != ASSISTANT or not turn["content"].strip():
            continue
        # A template may leave out of earlier turns what it writes of the last, such as thoughts: never what a user
        # said, so that what comes before a turn is the beginning of the whole.
        before = written(turns[:number], processor, add_generation_prompt=True) if number else ""
        content = turn["content"].strip()
        start = len(before) if whole.startswith(before) else -1
        at = whole.find(content, start) if start >= 0 else -1
        if at < 0:
            raise ValueError(
                f"has a turn, its number {number + 1}, that the model's chat template does not write after what came "
                "before it, so what the assistant says cannot be told. Split the chat after each answer."
            )
        judged.append((start if number else at, at + len(content)))
    return Passage(whole, judged, marked=True)


def written(turns: Sequence[Mapping[str, Any]], processor: Any, *, add_generation_prompt: bool = False) -> str:
    """Turns as the template writes them. Raises ValueError where it refuses."""
    try:
        return str(
            processor.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=add_generation_prompt)
        )
    except Exception as error:
        # A template is a program of the model's maker, and may refuse anything.
        told = str(error).strip().split("\n")[0]
        raise ValueError(f"is refused by the model's chat template ({told}). Mend the chat.") from error
