"""How far along something is at each of several steps."""

from __future__ import annotations


def cubic_progress(step: int, steps: int) -> float:
    """How much of a cut is done after `step` of `steps` steps, from 0 (nothing) to 1 (all): 1 - (1 - step/steps)³.

    Much at first, while there is much to spare, and ever less towards the end. Source: Zhu & Gupta 2017, To prune, or
    not to prune, section 3. Raises ValueError unless 0 <= step <= steps and steps is at least 1.
    """
    if not 0 <= step <= steps or steps < 1:
        raise ValueError(f"step {step} of {steps} is none")
    return 1 - (1 - step / steps) ** 3


def share_left(share: float, progress: float) -> float:
    """The share that is kept when `progress` (0 to 1) of the cut from all of it down to `share` is done."""
    return 1 - (1 - share) * progress
