"""A difference of two models, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

from compress.core.evaluation import Interval


@dataclass(frozen=True)
class Estimate:
    """A difference of two values, candidate minus baseline, as it is judged by Student's t.

    centre: the difference itself but for proportions, see `paired_interval`. error: its standard error as seen. one:
    what one thing lost more costs; see `jackknife`. freedom: degrees of freedom.
    """

    difference: float
    centre: float
    error: float
    one: float
    freedom: float

    def interval(self, confidence: float) -> Interval:
        """Two-sided; each end is a one-sided bound at `confidence`."""
        quantile = float(stdtrit(self.freedom, confidence))
        # The half width h with h = quantile * sqrt(error² + h * one).
        linear = quantile**2 * self.one / 2
        half = linear + math.sqrt(linear**2 + (quantile * self.error) ** 2)
        return self.centre - half, self.centre + half

    def chance_of_no_loss(self) -> float:
        """The p-value of a difference of 0 or more, one-sided: small where the candidate is shown to be worse. Below
        1 - confidence where the interval's upper end is below 0."""
        if self.centre == 0:
            return 0.5
        return float(stdtr(self.freedom, self.centre / math.sqrt(self.error**2 + abs(self.centre) * self.one)))
