"""Whether a runtime goes on with a text as torch does: with what it kept of it, without, and behind padding."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from compress.core.runtime import Session
from compress.measure.worker import greedy

PROMPT, STEPS = 16, 32
PADDING = 3


@dataclasses.dataclass(frozen=True)
class Continuation:
    """tokens: (STEPS,), what torch says after a prompt, always the likeliest. Each of the others (STEPS, vocabulary):
    logits that every one of those tokens is chosen by. torch, runtime: with keys and values kept. whole: of the runtime
    in one call, nothing kept. padded: of the runtime behind a padded prompt."""

    tokens: np.ndarray
    torch: np.ndarray
    runtime: np.ndarray
    whole: np.ndarray
    padded: np.ndarray

    @property
    def same_tokens(self) -> float:
        """The share of steps at which the runtime would choose the same token, given the same text."""
        return float((self.runtime.argmax(axis=1) == self.tokens).mean())


def continued(torch: Session, runtime: Session, prompt: Sequence[int], pad: int) -> Continuation:
    """Both go on with the first tokens of `prompt`, and both are told what torch said. pad: a token's number."""
    start = np.asarray([prompt[:PROMPT]], dtype=np.int64)
    said = [(tokens[0, 0], logits[0]) for _, (tokens, logits) in zip(range(STEPS), greedy(torch, start), strict=False)]
    tokens = np.array([token for token, _ in said])
    padding = np.full((1, PADDING), pad, dtype=np.int64)
    text = np.concatenate([start, tokens[None, :-1]], axis=1)
    whole = runtime.run({"input_ids": text, "attention_mask": np.ones_like(text)})
    return Continuation(
        tokens=tokens,
        torch=np.stack([logits for _, logits in said]),
        runtime=_told(runtime, start, tokens, 0),
        whole=whole[0, start.shape[1] - 1 :],
        padded=_told(runtime, np.concatenate([padding, start], axis=1), tokens, PADDING),
    )


def _told(session: Session, start: np.ndarray, tokens: np.ndarray, hidden: int) -> np.ndarray:
    """The logits before each of `tokens`, which are read one by one. hidden: how many tokens of `start` are padding."""
    reader, found, new = session.reader(), [], start
    mask = np.ones_like(start)
    mask[:, :hidden] = 0
    for token in tokens:
        found.append(reader.read(new, mask)[0])
        new = np.array([[token]], dtype=np.int64)
        mask = np.concatenate([mask, np.ones((1, 1), dtype=np.int64)], axis=1)
    return np.stack(found)
