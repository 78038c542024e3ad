"""Whether batches change answers, on the user's sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compress.core.evaluation import BatchEffect
from compress.deploy.answers import same_answers
from compress.deploy.predictor import Predictor
from compress.deploy.tuning.sample import Example


def measure_effect(alone: Predictor, together: Predictor, examples: Sequence[Example], batch: int) -> BatchEffect:
    """Each example by itself, and among others that it happens to stand beside. together: with batches of `batch`."""
    single = [answer for example in examples for answer in alone([example])]
    readings = alone.read(examples)
    outputs = [alone.outputs([reading])[0] for reading in readings]
    joint, joint_outputs = [], []
    for start in range(0, len(examples), batch):
        joint += together(examples[start : start + batch])
        joint_outputs += together.outputs(readings[start : start + batch])
    pairs = [(a, b) for one, other in zip(outputs, joint_outputs, strict=True) for a, b in zip(one, other, strict=True)]
    return BatchEffect(
        rows=len(examples),
        batch=batch,
        largest_difference=max((float(np.abs(a - b).max()) for a, b in pairs), default=0.0),
        changed=len(examples) - same_answers(single, joint),
    )
