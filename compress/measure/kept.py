"""What is kept of an output: all of it, or log-probabilities of a few places where it is too large."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compress.core.signature import Signature


def kept(signature: Signature, output: np.ndarray, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """The output itself, or, where the signature says what is asked of it, log-probabilities in its place.

    output: (rows, positions, places), logits. The array that is asked for, in the batch: (rows, positions, k), places.
    Returns then (rows, positions, k + 1) in float32: the log-softmax at each place asked for, and the largest of all.
    """
    if signature.asked is None:
        return output
    asked = batch[signature.asked]
    found = np.empty((*asked.shape[:-1], asked.shape[-1] + 1), dtype=np.float32)
    # Row by row: a copy of all of it would take as much memory again.
    for row, (logits, places) in enumerate(zip(output, asked, strict=True)):
        largest = logits.max(axis=-1, keepdims=True)
        total = np.log(np.exp(logits - largest).sum(axis=-1, keepdims=True, dtype=np.float64)).astype(np.float32)
        found[row, :, :-1] = np.take_along_axis(logits, places, axis=-1) - largest - total
        found[row, :, -1:] = -total
    return found
