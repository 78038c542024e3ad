"""Rows of a language model: windows of texts, and options of questions behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compress.tasks.windows import NOT_JUDGED


def encoded_row(row: Mapping[str, Any], group: int, told: Mapping[str, Any]) -> dict[str, Any]:
    """A row as `CausalLanguageModel.encode` gives it. told: what is known of it beside what comes next."""
    nothing = {"tokens": [], "log_probabilities": [], "right": False, "characters": 0, "likelihood": []}
    return {
        "input_ids": row["input_ids"],
        "attention_mask": row["attention_mask"],
        "labels": {"next": row["next"], "counted": row["counted"], "bytes": row["bytes"], **nothing, **told},
        "length": len(row["input_ids"]),
        "group": group,
        "document": row["document"],
        "question": row.get("question", -1),
    }


def fills(processor: Any) -> dict[str, int]:
    """What each column of a batch is padded by."""
    return {"input_ids": int(processor.pad_token_id), "attention_mask": 0}


def of_texts(
    outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]]
) -> tuple[list[np.ndarray], list[Mapping[str, Any]]]:
    """Those of windows of texts: options of questions are no part of the metric."""
    pairs = [(output, row) for output, row in zip(outputs, rows, strict=True) if row["question"] < 0]
    return [output for output, _ in pairs], [row for _, row in pairs]


def judged_of(row: Mapping[str, Any]) -> np.ndarray:
    """Of each position of a window whether the token after it counts, (length,)."""
    return np.array(row["labels"]["next"]) != NOT_JUDGED
