"""What the user asks for: how much faster, at how little loss."""

from __future__ import annotations

from dataclasses import dataclass

from compress.core.checks import require_choice, require_positive
from compress.core.errors import InputError

# How many examples a call has, by workload: as a server answers, and as an index is made.
AT_ONCE = {"one": 1, "bulk": 32}


@dataclass(frozen=True, kw_only=True)
class Objective:
    """speedup: times the FP32 teacher's speed on the same runtime, or None where the stages' own settings decide.

    max_accuracy_drop: as a gate's, but below 1, which would be 100 points; 0.01 is one point; None where each gate has
    its own. Stages and gates take these up through their own settings. workload: what is timed, `one` example at a time
    or `bulk`: batches of 32 whose lengths are alike.
    """

    speedup: float | None
    max_accuracy_drop: float | None
    workload: str = "one"

    @property
    def at_once(self) -> int:
        """How many examples a timed call has."""
        return AT_ONCE[self.workload]

    def __post_init__(self) -> None:
        require_choice("objective.workload", self.workload, AT_ONCE)
        drop = self.max_accuracy_drop
        if drop is not None and (isinstance(drop, bool) or not isinstance(drop, int | float) or not 0 <= drop < 1):
            raise InputError(
                f"objective.max_accuracy_drop is {drop}; it is a fraction in [0, 1), and 1 would be 100 points. "
                "Use 0.01 for one point."
            )
        if self.speedup is None:
            return
        require_positive("objective.speedup", self.speedup, "Use 10 for ten times as fast.")
        if self.speedup <= 1:
            raise InputError(
                f"objective.speedup is {self.speedup}; it must be greater than 1, the teacher's own speed. Use 10 for "
                "ten times as fast."
            )
