"""A plan in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from compress.report.terminal import terminal

if TYPE_CHECKING:
    from compress.cli.commands.planned_job import Job
    from compress.pipeline.plan.plan import Piece, Plan, Total

GIGABYTE = 1e9
NEEDS = {"nothing": "in the store", "measuring": "in the store; measure", "all": "make, prove, measure"}
DECISIONS = {"keep": "kept", "roll_back": "rolled back", "stop": "the run stops there"}


class PlanTable:
    """Prints plans: `title` before each where there are several, `plan` for each, `total` after the last."""

    def __init__(self) -> None:
        self._console = terminal(highlight=False)

    def title(self, words: str) -> None:
        """The line above one of several plans."""
        self._console.print(Text(f"\n{words}", style="bold"))

    def flush(self) -> None:
        """What was printed is seen before what comes on another stream."""
        self._console.file.flush()

    def plan(self, plan: Plan, job: Job) -> None:
        """One job: what was checked, the stages, time and disk."""
        examples = ", ".join(f"{name} {count:,}" for name, count in plan.examples.items())
        self._say(f"{job.recipe.name} into {job.folder}; store {job.recipe.store}")
        self._say(f"teacher: {plan.model}, {_count(plan.parameters)} values; labels {', '.join(plan.labels)}")
        self._say(f"examples: {examples}; on {job.recipe.runtime.label}, {job.recipe.runtime.threads} threads")
        for note in plan.notes:
            self._say(f"note: {note}")
        self._console.print(self._stages(plan, job))
        for piece in plan.pieces:
            if piece.waits_for is not None:
                self._say(
                    f"whether the store has {piece.stage} is unknown until {piece.waits_for} has made its tokenizer"
                )
        if plan.skipped:
            self._say(f"not reached: {', '.join(plan.skipped)}")
        self._say(self._left(plan))
        if any(piece.need != "nothing" for piece in plan.pieces):
            self._say(_disk(plan))

    def total(self, total: Total, jobs: int, refused: int, free: int) -> None:
        """All jobs together."""
        self._console.print(Text("\nall jobs together", style="bold"))
        ended = f", {refused} refused" if refused else ""
        self._say(
            f"{jobs} jobs{ended}; {total.stages} stages (teachers included), {total.distinct} of them distinct: "
            f"{total.to_make} to make, {total.to_measure} to measure, {total.stored} finished in the store."
        )
        if total.to_make or total.to_measure:
            self._say(_time(total.seconds, total.unknown, total.to_make + total.to_measure, total.training_seconds))
            self._say(f"Disk: at most {_gigabytes(total.bytes)} stay in the store; {_gigabytes(free)} are free.")
        if total.bytes > free:
            self._say("That does not fit. Free some, or name another folder: store=DIR.")

    def _stages(self, plan: Plan, job: Job) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for title in ("stage", "from", "to do", "time", "settings that are not the method's defaults"):
            table.add_column(title, overflow="fold")
        for piece in plan.pieces:
            changed = {**job.changed.get(f"stages.{piece.stage}", {}), **_gate(job, piece.stage)}
            told = ", ".join(f"{name}={_value(now)} ({_value(default)})" for name, (now, default) in changed.items())
            start = "" if piece.parent is None else piece.parent
            table.add_row(*map(Text, (piece.stage, start, _to_do(piece), _expected(piece), told)))
        return table

    def _left(self, plan: Plan) -> str:
        left = [piece for piece in plan.pieces if piece.need != "nothing"]
        if not left:
            tested = {True: " but the test split's scores", False: "", None: ""}[plan.test]
            return f"Nothing to do{tested}: all of it is in the store. The run reads it and writes the report."
        unknown = sum(piece.seconds is None for piece in left)
        seconds = sum(piece.seconds.seconds for piece in left if piece.seconds is not None)
        told = _time(seconds, unknown, len(left), sum(piece.training_seconds or 0 for piece in left))
        if any("x" in _expected(piece) for piece in left):
            told += " (x2: twice the work of the earlier stage whose time it is taken from.)"
        if any(piece.parent is not None for piece in left):
            told += " Stages without a verdict yet are taken to pass their gates."
        return told

    def _say(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


def _gate(job: Job, stage: str) -> dict[str, tuple[Any, Any]]:
    """What differs from the files that gates are chosen from: of the stage's own, and of the recipe's where it
    holds."""
    held = job.recipe.settings["gates"].get(stage, {})
    of_recipe = {name: value for name, value in job.changed.get("gate", {}).items() if held.get(name) == value[0]}
    own = job.changed.get(f"gates.{stage}", {})
    return {f"gate.{name}": value for name, value in {**of_recipe, **own}.items()}


def _to_do(piece: Piece) -> str:
    if piece.verdict is not None:
        return f"{NEEDS[piece.need]} ({piece.verdict}, {DECISIONS[piece.decision]})"
    return NEEDS[piece.need]


def _expected(piece: Piece) -> str:
    if piece.need == "nothing":
        return "-"
    if piece.seconds is None:
        bound = piece.training_seconds
        return "unknown" if bound is None else f"unknown; training at most {duration(bound)}"
    scaled = "" if 0.95 < piece.seconds.times < 1.05 else f" (x{piece.seconds.times:.2g})"
    return duration(piece.seconds.seconds) + scaled


def _time(seconds: float, unknown: int, left: int, training_seconds: float) -> str:
    told = [] if unknown == left else [f"about {duration(seconds)}"]
    if unknown:
        told.append(f"{unknown} of {left} unknown, because the store has no earlier work of their kind, done here")
    if training_seconds:
        told.append(f"their training takes at most {duration(training_seconds)}, at the pace of a few steps timed now")
    return f"Time: {'; '.join(told)}."


def _disk(plan: Plan) -> str:
    parts = [f"at most {_gigabytes(sum(piece.bytes for piece in plan.pieces))} stay in the store"]
    if plan.training_bytes:
        parts.append(f"{_gigabytes(plan.training_bytes)} more while it trains")
    if plan.teacher_vectors_bytes:
        kept = plan.teacher_vectors_bytes <= plan.free / 2
        fate = "kept beside it" if kept else "too much to keep, so the teacher runs again for each batch"
        parts.append(f"up to {_gigabytes(plan.teacher_vectors_bytes)} of what the teacher says inside ({fate})")
    return f"Disk: {', '.join(parts)}; {_gigabytes(plan.free)} are free."


def duration(seconds: float) -> str:
    """Seconds in words that a person plans with: `8 s`, `4 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _gigabytes(count: int) -> str:
    return f"{count / GIGABYTE:.2f} GB" if count >= GIGABYTE / 100 else f"{count / 1e6:.1f} MB"


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} million" if number >= 1e6 else f"{number:,}"


def _value(value: Any) -> str:
    if value is None:
        return "null"
    # A default that is another setting's value is best named by it.
    return str(value).removeprefix("${").removesuffix("}") if str(value).startswith("${") else str(value)
