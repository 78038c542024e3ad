"""Scores of merges, and the tokenizers that have none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from transformers import GemmaTokenizer

from compress.core.errors import InputError
from compress.runtimes.gguf.sentence_piece import piece_scores, require_sentence_piece

NAMES = {name: number for number, name in enumerate(("a", "b", "c", "ab", "bc", "abc", "<0x61>", "aa"))}
MERGES = [("b", "c"), ("a", "b"), ("a", "bc"), ("ab", "c")]


def test_a_piece_scores_by_its_first_merge() -> None:
    assert piece_scores(NAMES, MERGES, frozenset({"aa"})) == {"bc": 0.0, "ab": -1.0, "abc": -2.0}


@pytest.mark.parametrize(
    ("merges", "told"),
    [
        (MERGES[:3], "no merge of 'ab' and 'c'"),
        ([MERGES[0], MERGES[2], MERGES[1], MERGES[3]], "merges of one piece with others between them"),
        (MERGES, "no merge of 'a' and 'a'"),
    ],
)
def test_what_no_scores_could_say(merges: list[tuple[str, str]], told: str) -> None:
    added = frozenset() if "'a' and 'a'" in told else frozenset({"aa"})
    with pytest.raises(InputError, match=told):
        piece_scores(NAMES, merges, added)


@pytest.mark.parametrize(
    ("part", "value", "told"),
    [
        ("normalizer", {"type": "Lowercase"}, "changes texts in another way than Gemma's"),
        ("normalizer", None, "changes texts in another way than Gemma's"),
        ("pre_tokenizer", {"type": "Whitespace"}, "splits texts by Whitespace before it merges"),
        ("ignore_merges", True, "ignores merges or drops some"),
    ],
)
def test_tokenizers_that_read_otherwise(part: str, value: Any, told: str, pieces: GemmaTokenizer) -> None:
    described = json.loads(pieces.backend_tokenizer.to_str())
    require_sentence_piece(described)
    (described["model"] if part == "ignore_merges" else described)[part] = value
    with pytest.raises(InputError, match=told):
        require_sentence_piece(described)
