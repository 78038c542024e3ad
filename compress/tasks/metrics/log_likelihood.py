"""The mean log-likelihood of a token, shown as a perplexity."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from compress.core.metric import PERPLEXITY, Unit
from compress.tasks.metrics.ratio import Ratio

# What a token costs that was sure and becomes as unlikely as one of 20,000.
NATS = 10.0


class LogLikelihood(Ratio):
    """log_likelihood: summed over the example's tokens, in nats. tokens: how many."""

    name: ClassVar[str] = "log_likelihood"
    title: ClassVar[str] = "perplexity"
    unit: ClassVar[Unit] = PERPLEXITY
    columns: ClassVar[tuple[str, ...]] = ("log_likelihood", "tokens")
    proportion: ClassVar[bool] = False
    thing: ClassVar[str] = "token"

    def one_lost(self, statistics: np.ndarray) -> float:
        """A token that was sure and becomes very unlikely."""
        return NATS / max(1.0, float(statistics[:, 1].sum()))
