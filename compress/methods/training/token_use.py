"""How often texts use each token."""

from __future__ import annotations

import numpy as np

from compress.core.context import Context
from compress.nn.ops.vocabulary import token_counts


def unlabelled_token_counts(context: Context, size: int) -> np.ndarray:
    """How often each of `size` tokens occurs in the unlabelled text, 0 where there is none. Returns (size,), int64."""
    if context.unlabelled is None:
        return np.zeros(size, dtype=np.int64)
    return token_counts(context.task.tokens(context.unlabelled), size)
