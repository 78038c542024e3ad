"""The one place that calls a model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import compress
from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.nn.forward import forward, output_mask, position_mask, positions_of
from compress.tasks.text_task import SIGNATURE


def test_nobody_else_calls_a_model() -> None:
    root = Path(compress.__file__).parent
    # In quotes it is shown to users, not called.
    calls = re.compile(r'^[^"\n]*\b\w*(model|student|teacher|network)\(\*\*', re.MULTILINE)
    found = [path.relative_to(root).as_posix() for path in root.rglob("*.py") if calls.search(path.read_text("utf-8"))]
    assert found == ["nn/forward.py"]


@torch.no_grad()
def test_it_passes_what_the_signature_names_and_nothing_else(
    make_model: Callable, batch: dict[str, torch.Tensor]
) -> None:
    model = make_model(layers=2)
    answer = forward(model, SIGNATURE, {**batch, "labels": torch.zeros(3, dtype=torch.long)}, hidden_states=True)
    assert torch.equal(answer.output, model(**batch).logits)
    assert [tuple(state.shape) for state in answer.hidden_states] == [(3, 9, 32)] * 3
    assert forward(model, SIGNATURE, batch).hidden_states == ()
    assert positions_of(model, SIGNATURE, batch) == 9


def test_masks() -> None:
    batch, tagging = {"attention_mask": torch.tensor([[1, 0]])}, with_output(BATCH, SEQUENCE, "tags")
    mask = position_mask(SIGNATURE, batch)
    assert mask is not None and mask.tolist() == [[True, False]]
    assert output_mask(SIGNATURE, batch) is None
    found = output_mask(tagging, batch)
    assert found is not None and found.tolist() == [[True, False]]
    with pytest.raises(ValueError, match="no mask is known"):
        output_mask(with_output(BATCH, "tags", SEQUENCE), batch)


def with_output(*axes: str) -> Signature:
    return Signature(inputs=SIGNATURE.inputs, output=Port("logits", axes, "float32"), mask=SIGNATURE.mask)
