"""The mean log-likelihood of a token, shown as a perplexity."""

from __future__ import annotations

from typing import ClassVar

from compress.core.metric import PERPLEXITY, Unit
from compress.tasks.metrics.ratio import Ratio


class LogLikelihood(Ratio):
    """log_likelihood: summed over the example's tokens, in nats. tokens: how many."""

    name: ClassVar[str] = "log_likelihood"
    title: ClassVar[str] = "perplexity"
    unit: ClassVar[Unit] = PERPLEXITY
    columns: ClassVar[tuple[str, ...]] = ("log_likelihood", "tokens")
    proportion: ClassVar[bool] = False
    thing: ClassVar[str] = "token"
