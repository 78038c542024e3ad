"""Bytes of an index, by hand; what is proven of an export's further outputs, with made answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.core.errors import StageError
from compress.core.kept_vectors import BINARY, FLOAT, INT8
from compress.core.signature import BATCH, Port, Signature
from compress.measure import vectors
from compress.measure.processes import Candidate
from compress.measure.vectors import bytes_per_million, prove_forms
from compress.runtimes.onnxruntime.runtime import OnnxRuntime

# A step of the first dimension is 2 / 255, of the second 1 / 255.
RANGES = np.array([[-1.0, 0.0], [1.0, 1.0]], dtype=np.float32)
FLOATS = np.array([[0.28, 0.96], [-1.0, 0.0]], dtype=np.float32)
# 1.28 are 163 whole steps and a fifth, 0.96 are 244 and four fifths; -1 and 0 are none.
INTEGERS, BITS = np.array([[35, 116], [-128, -128]]), np.array([[0b11000000], [0]])


def test_a_million_of_384() -> None:
    assert [bytes_per_million(form, 384) for form in (FLOAT, INT8, BINARY)] == [1_536_000_000, 384_000_000, 48_000_000]
    assert bytes_per_million(BINARY, 9) == 2_000_000


@pytest.fixture
def prove(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def run(**found: Any) -> None:
        answers = {"before": FLOATS, "vector": FLOATS, "vector_int8": INTEGERS, "vector_ubinary": BITS, **found}

        def answer(candidate: Candidate, batches: Path) -> list[np.ndarray]:
            name = "before" if candidate.folder.name == "before" else candidate.signature.output.name
            return [np.asarray(answers[name], dtype=np.float32)]

        monkeypatch.setattr(vectors, "logits_of", answer)
        signature = Signature(inputs=(), output=Port("vector", (BATCH, "dimensions"), "float32"), mask=None)
        before, after = (
            Candidate(runtime=OnnxRuntime(threads=1), folder=tmp_path / name, signature=signature)
            for name in ("before", "after")
        )
        prove_forms(before, after, [INT8, BINARY], RANGES, tmp_path / "probe.npz")

    return run


def test_outputs_that_are_what_they_have_to_be(prove: Any) -> None:
    prove()


def test_other_vectors_in_float_than_before(prove: Any) -> None:
    with pytest.raises(StageError, match=r"the graph gives other vectors, by up to 0\.25"):
        prove(before=FLOATS + np.array([0.25, 0]))


def test_integers_a_step_beside_and_a_bit(prove: Any) -> None:
    with pytest.raises(StageError, match=r"vector_int8 differs .* by up to 1, at 25.0% of the numbers; 1 at 1% is"):
        prove(vector_int8=INTEGERS + np.array([[1, 0], [0, 0]]))
    with pytest.raises(StageError, match=r"vector_int8 differs .* by up to 2"):
        prove(vector_int8=INTEGERS + np.array([[2, 0], [0, 0]]))
    with pytest.raises(StageError, match=r"vector_ubinary differs .* by up to 64, at 50.0% of the numbers; 0 at 0% is"):
        prove(vector_ubinary=[[0b10000000], [0]])
