"""A plan in sentences and rows, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.deploy.placement.files import gpu_layers
from compress.deploy.placement.place import Outcome, size, without_times
from compress.deploy.placement.problem import Needs, Placement, alone, busy_ms, bytes_on, fits, period_ms, total_ms
from compress.deploy.placement.search import best
from compress.report.wording import three_digits

if TYPE_CHECKING:
    from rich.console import Console

# Another plan for prompts is named where it takes less than this share of the time.
WORTH_SAYING = 0.95
COLUMNS = ("device", "holds", "needs", "of", "a token, ms", "a prompt, ms")


def headline(outcome: Outcome) -> str:
    """What the plan is worth, in a sentence."""
    plan, problem = outcome.plan, outcome.problem
    where = "all of it on" if len(plan.devices) == 1 else "split over"
    speed = three_digits(1000 / total_ms(problem, plan, "token"))
    return f"{where[0].upper()}{where[1:]} {', '.join(plan.devices)}: {speed} tokens per second predicted."


def rows(outcome: Outcome) -> list[tuple[str, ...]]:
    """A row for each device: what it holds, needs, may use, and how long it computes."""
    problem, plan = outcome.problem, outcome.plan
    needed = bytes_on(problem.needs, plan)
    token, prompt = busy_ms(problem, plan, "token"), busy_ms(problem, plan, "prompt")
    return [
        (
            name,
            held(plan, name),
            size(needed[name]) if name in needed else "-",
            size(memory),
            three_digits(token[name]) if name in token else "-",
            three_digits(prompt[name]) if name in prompt else "-",
        )
        for name, memory in problem.memory.items()
    ]


def held(plan: Placement, name: str) -> str:
    """What a device holds: `embeddings, blocks 0 to 11`."""
    parts = ["embeddings"] if plan.embeddings == name else []
    for run in plan.runs:
        if run.device == name:
            last = run.end - 1
            parts.append(f"block {last}" if run.start == last else f"blocks {run.start} to {last}")
    return ", ".join([*parts, *(["head"] if plan.head == name else [])]) or "nothing"


def compared(outcome: Outcome) -> list[tuple[str, ...]]:
    """A row for the plan, and for each of the placements that need no search."""
    problem = outcome.problem
    found = {"the plan": outcome.plan, **outcome.others()}

    def together(placement: Placement) -> str:
        if not fits(problem, placement, requests=2):
            return "two do not fit"
        return three_digits(1000 / period_ms(problem, placement))

    return [
        (name, "does not fit", "", "")
        if placement is None
        else (
            name,
            three_digits(1000 / total_ms(problem, placement, "token")),
            three_digits(total_ms(problem, placement, "prompt")),
            together(placement),
        )
        for name, placement in found.items()
    ]


def bits_rows(outcome: Outcome) -> list[tuple[str, ...]]:
    """What compressing would change: a row for each number of bits."""
    return [(str(bits), size(needs.total), where_it_fits(needs, outcome)) for bits, needs in outcome.in_bits.items()]


def where_it_fits(needs: Needs, outcome: Outcome) -> str:
    """On which devices all of it fits, so that there is no need to split it."""
    problem = without_times(needs, outcome.problem.memory)
    single = [name for name in problem.memory if fits(problem, alone(name, problem.blocks))]
    if single:
        return f"fits on {' or '.join(single)} alone"
    return "must be split" if best(problem, "token") is not None else "does not fit"


def notes(outcome: Outcome) -> list[str]:
    """What to know before believing it."""
    problem, plan, costs = outcome.problem, outcome.plan, outcome.costs
    told = [
        f"Times: a prompt of {problem.prompt_tokens} tokens and those after it, in {costs.bits} bits by torch"
        f"{f', measured on {costs.about}' if costs.about else ''}. Memory: a context of {outcome.asked.context}."
    ]
    if outcome.ran is not None:
        told.append(
            "Measured: here, with random weights of the same shapes, which take as long; one request, then two."
        )
    if outcome.bits < costs.bits:
        told.append(
            f"Weights take {outcome.bits} bits of memory, but were timed in {costs.bits}: a program with kernels for "
            f"{outcome.bits} bits, such as llama.cpp, is faster. Give its times: --costs FILE."
        )
    if costs.disturbed:
        told.append("Others used the processors while pieces were timed: measure again before believing it.")
    prompt, fastest = (total_ms(problem, one, "prompt") for one in (plan, outcome.for_prompts))
    if fastest < WORTH_SAYING * prompt:
        told.append(
            f"For prompts alone another plan is faster, {three_digits(fastest)} instead of {three_digits(prompt)} ms: "
            + "; ".join(f"{name}: {held(outcome.for_prompts, name)}" for name in outcome.for_prompts.devices)
            + "."
        )
    if outcome.gpus:
        count = gpu_layers(problem, plan, outcome.gpus)
        told.append(f"llama.cpp: --n-gpu-layers {count} (it counts from the end, the head first).")
    if not outcome.plain:
        told.append("Its layers are not those of its config.json: load it by compress.load, then dispatch_model.")
    return told


def measured(outcome: Outcome) -> list[tuple[str, ...]]:
    """Prediction beside what running it took: a row each."""
    assert outcome.ran is not None
    problem, plan, ran = outcome.problem, outcome.plan, outcome.ran
    two = "" if fits(problem, plan, requests=2) else ", whose caches do not fit"
    pairs = (
        ("tokens per second, one request", 1000 / total_ms(problem, plan, "token"), 1000 / ran.token),
        (f"tokens per second, two in flight{two}", 1000 / period_ms(problem, plan), 1000 / ran.period),
        ("a prompt, ms", total_ms(problem, plan, "prompt"), ran.prompt),
    )
    return [(name, three_digits(one), three_digits(other), f"{one / other - 1:+.0%}") for name, one, other in pairs]


def print_outcome(outcome: Outcome, console: Console) -> None:
    """The plan, what else there would be, what fewer bits would change, and what was measured."""
    console.print(headline(outcome), style="bold")
    _table(console, COLUMNS, rows(outcome))
    _table(console, ("", "tokens/s", "a prompt, ms", "tokens/s, two requests"), compared(outcome))
    _table(console, ("bits", "all of it needs", ""), bits_rows(outcome))
    if outcome.ran is not None:
        _table(console, ("", "predicted", "measured", "difference"), measured(outcome))
    for note in notes(outcome):
        console.print(note, soft_wrap=True)


def _table(console: Console, columns: tuple[str, ...], lines: list[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name)
    for line in lines:
        table.add_row(*line)
    console.print(table)
    console.print()
