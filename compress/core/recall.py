"""What is lost of single classes: facts for the gate, and how they are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# So many names of classes are told, and how many there are more.
NAMED = 8


@dataclass(frozen=True)
class Recall:
    """The recall of one class, candidate against teacher, in pairs.

    name: with what it is, such as `class spam`. count: how many of it there are. teacher, candidate: the shares of them
    that each finds. interval: of the difference, two-sided, each end a bound at the gate's confidence corrected for the
    number of classes; None where there are too few to tell: then not even a candidate that finds none would be shown to
    lose more than the gate allows.
    """

    name: str
    count: int
    teacher: float
    candidate: float
    interval: tuple[float, float] | None

    @property
    def difference(self) -> float:
        """Candidate minus teacher."""
        return self.candidate - self.teacher

    def told(self, limit: float) -> str:
        """As a reason in a ledger. limit: how much may be lost, 0 or more."""
        ends = "" if self.interval is None else f" [{', '.join(f'{end:+.4f}' for end in self.interval)}]"
        return f"recall of {self.name} {self.difference:+.4f}{ends}, limit {-limit:+.4f}"


def collapsed(recalls: Sequence[Recall], limit: float) -> tuple[Recall, ...]:
    """Those that are shown to have lost more than `limit`."""
    return tuple(recall for recall in recalls if recall.interval is not None and recall.interval[1] < -limit)


def not_judged(recalls: Sequence[Recall]) -> tuple[str, ...]:
    """A sentence that names the classes that have too few examples to tell, where there are any."""
    names = [f"{recall.name} ({recall.count})" for recall in recalls if recall.interval is None]
    if not names:
        return ()
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (f"recall is not judged where too few examples could show a loss: {', '.join(names[:NAMED])}{more}",)
