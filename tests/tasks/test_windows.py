"""Documents in windows: what is judged of each, and of how much text that is."""

from __future__ import annotations

from compress.tasks.windows import NOT_JUDGED, Document, windows


def test_a_mark_behind_a_text_is_no_text() -> None:
    """A tokenizer that adds marks before and behind a text says (0, 0) for the place of either."""
    document = Document("aä b", [1, 5, 6, 7, 2], [(0, 0), (0, 1), (1, 2), (2, 4), (0, 0)], [True] * 5)
    (window,) = windows([document], 8)
    assert (window["next"], window["counted"]) == ([5, 6, 7, 2, NOT_JUDGED], 4)
    # "a", "ä" in two bytes, " b".
    assert window["bytes"] == 5


def test_a_mark_alone_is_no_text_either() -> None:
    """Of the second window its first token is asked of nobody, and what is judged is the mark behind it."""
    document = Document("ab cd", [5, 6, 2], [(0, 2), (2, 5), (0, 0)], [True] * 3)
    found = windows([document], 2)
    assert [(window["next"], window["bytes"]) for window in found] == [([6, NOT_JUDGED], 3)]
    (window,) = windows([Document("ab", [5, 2], [(0, 2), (0, 0)], [True] * 2)], 2)
    assert (window["next"], window["counted"], window["bytes"]) == ([2, NOT_JUDGED], 1, 0)
