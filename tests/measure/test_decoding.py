"""A runtime that loses, shifts or mixes what it kept is found out; so is a request's time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from compress.core.errors import InputError, StageError
from compress.core.evaluation import Latency
from compress.core.signature import Decoding, Port, Signature
from compress.measure.decoding import PADDING, STEPS, continued
from compress.measure.evaluate import request_figures, timed_examples
from compress.measure.prove import _require_same_decoding
from compress.measure.worker import RequestUse, greedy

VOCABULARY = 7
DECODING = Decoding(state="past", present="present", prompt_tokens=2, new_tokens=5)


def signature(decoding: Decoding | None = DECODING) -> Signature:
    return Signature(
        inputs=(Port("input_ids", ("batch", "sequence"), "int64"),),
        output=Port("logits", ("batch", "sequence", "vocabulary"), "float32"),
        mask="attention_mask",
        decoding=decoding,
    )


class Counting:
    """Says the sum of all tokens that are no padding, modulo the vocabulary. fault: what it does wrong."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        sums = (inputs["input_ids"] * inputs["attention_mask"]).cumsum(axis=1)
        return np.stack([np.eye(VOCABULARY, dtype=np.float32)[row % VOCABULARY] for row in sums])

    def reader(self) -> Any:
        return Reading(self, self.fault)


class Reading:
    def __init__(self, session: Counting, fault: str) -> None:
        self.session, self.fault = session, fault
        self.kept = np.zeros((1, 0), dtype=np.int64)

    def read(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if self.fault != "forgets":
            tokens = np.concatenate([self.kept, tokens], axis=1)
        self.kept = tokens
        shown = np.ones_like(tokens) if self.fault == "reads padding" else mask[:, -tokens.shape[1] :]
        return self.session.run({"input_ids": tokens, "attention_mask": shown})[:, -1]


def test_greedy_goes_on_from_its_own_tokens() -> None:
    told = greedy(Counting(), np.array([[1, 2]]))
    # 1 + 2 = 3; + 3 = 6; + 6 = 12, which is 5; + 5 = 17, which is 3.
    assert [int(next(told)[0][0, 0]) for _ in range(4)] == [3, 6, 5, 3]


def test_a_session_that_is_right_is_right_in_every_way() -> None:
    found = continued(Counting(), Counting(), [1, 2, 3], pad=4)
    assert found.tokens.shape == (STEPS,) and found.same_tokens == 1.0
    for logits in (found.runtime, found.whole, found.padded):
        assert (logits == found.torch).all()


@pytest.mark.parametrize(
    ("fault", "told"), [("forgets", "differ from torch's"), ("reads padding", "differ from its own behind padding")]
)
def test_a_session_that_is_wrong_is_found_out(fault: str, told: str) -> None:
    batches = [{"input_ids": np.array([[1, 2, 3]])}]
    assert _require_same_decoding(Counting(), Counting(), batches, rounded=False) == 1.0
    with pytest.raises(StageError, match=told):
        _require_same_decoding(Counting(), Counting(fault), batches, rounded=False)


def test_padding_hides_something() -> None:
    # Or a session that reads it would not be told from one that does not.
    assert PADDING * 1 % VOCABULARY


def test_a_request_is_the_prompt_and_the_tokens_after_it() -> None:
    class Seen(Counting):
        def __init__(self) -> None:
            super().__init__()
            self.shapes: list[tuple[int, ...]] = []

        def reader(self) -> Any:
            seen, reading = self.shapes, Reading(self, "")

            class Told:
                def read(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
                    seen.append(tokens.shape)
                    return reading.read(tokens, mask)

            return Told()

    session = Seen()
    whole, first = RequestUse(session, DECODING)({"input_ids": np.array([[1, 2, 3, 4]])})
    assert session.shapes == [(1, 2), (1, 1), (1, 1), (1, 1), (1, 1)]
    assert whole >= first > 0


def test_only_examples_as_long_as_the_prompt_are_timed() -> None:
    assert timed_examples([1, 2, 1, 9], signature(), 4) == [1, 3]
    assert timed_examples([1, 2, 1, 9], signature(None), 4) == [0, 2, 1, 3]
    with pytest.raises(InputError, match=r"workload\.prompt_tokens is 2; the longest validation example has 1 tokens"):
        timed_examples([1, 1], signature(), 4)


def test_the_figures_of_a_request_by_hand() -> None:
    # 10 ms, 2 until the first of 5 tokens: 2 ms for each of the 4 others. The teacher: 30 ms and 6.
    latency = Latency(
        rounds=((10.0,),),
        baseline_rounds=((30.0,),),
        first_rounds=((2.0,),),
        baseline_first_rounds=((6.0,),),
        peak_bytes=50_000_000,
        baseline_peak_bytes=200_000_000,
    )
    assert request_figures(latency, signature(), compared=True) == {
        "first_token_ms": 2.0,
        "token_ms": 2.0,
        "tokens_per_second": 500.0,
        "peak_megabytes": 50.0,
        "first_token_speedup": 3.0,
        "token_speedup": 3.0,
        "peak_share": 0.25,
    }
    assert "token_speedup" not in request_figures(latency, signature(), compared=False)
    assert request_figures(latency, signature(None), compared=True) == {}
