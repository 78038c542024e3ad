"""Setting after setting: each is tried with the best of those before. Knows nothing of processes and clocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.deploy.settings import Settings
from compress.deploy.tuning.aim import Aim, Compared, Measured, choose
from compress.deploy.tuning.coordinates import Coordinate

# In the search, so much of the latency may be used up: the best of many looks a little better than it is.
HEADROOM = 0.95

# Times several settings in turns, on the same examples.
Measure = Callable[[Sequence[Settings]], Sequence[Measured]]


@dataclass(frozen=True)
class Step:
    """One coordinate: what there was, each alternative compared with it, and what was taken."""

    coordinate: str
    before: Measured
    compared: tuple[Compared, ...]
    taken: Measured

    @property
    def changed(self) -> bool:
        """Whether an alternative was taken."""
        return self.taken.settings != self.before.settings


def search(
    start: Settings, coordinates: Sequence[Coordinate], aim: Aim, measure: Measure, begin: Callable[[str], None]
) -> list[Step]:
    """The steps in order; the last one's `taken` is the choice. begin: is told each coordinate that is measured."""
    steps: list[Step] = []
    now = start
    for coordinate in coordinates:
        begin(coordinate.name)
        others = coordinate.others(now)
        if not others:
            continue
        before, *measured = measure([now, *others])
        taken, compared = choose(before, measured, aim, HEADROOM)
        steps.append(Step(coordinate.name, before, compared, taken))
        now = taken.settings
    return steps
