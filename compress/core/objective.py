"""What the user asks for: how much faster, at how little loss."""

from __future__ import annotations

from dataclasses import dataclass

from compress.core.checks import require_positive
from compress.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Objective:
    """speedup: times the FP32 teacher's speed on the same runtime, or None where the stages' own settings decide.

    max_accuracy_drop: as a gate's, but below 1, which would be 100 points; 0.01 is one point; None where each gate has
    its own. Stages and gates take these up through their own settings.
    """

    speedup: float | None
    max_accuracy_drop: float | None

    def __post_init__(self) -> None:
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
